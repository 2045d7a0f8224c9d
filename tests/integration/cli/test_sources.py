"""Sources beside supervised workers, and the commands that show them and the messages that did not fit."""

import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.integration.cli.test_doctor import checks, the

pytestmark = pytest.mark.timeout(150)  # many processes start and end in each; machines of CI are slow

ORDERS = """
import os
from headrace import Message, kafka, rabbitmq
from headrace.testing import MemoryBroker

broker = MemoryBroker()
hr.broker("rabbitmq", broker)
hr.broker("kafka", broker)
broker.queue("orders")
broker.topic("payments")
if os.environ.get("FILL"):  # in the one process that takes
    for number in range(50):
        broker.put("payments", str(number).encode())
        broker.put("orders", str(number).encode(), id=f"m{number % 40}")
    broker.put("orders", b"x\\x00\\xff", id="bad", headers={"h": "1"}, content_type="text/plain")


def numeral(message: Message) -> int:
    return 7 if message.body.startswith(b"x") and Path("mended").exists() else int(message.body)


@hr.on(rabbitmq("orders"), decode=numeral)
@hr.task(cpu=True)
def crunch(number: int) -> int:
    return number


@hr.on(kafka("payments", group="g"))
@hr.task(queue="slow")
async def pay(ctx: JobContext, number: int, message: Message | None = None) -> str:
    return message.place
"""


@pytest.fixture
def orders(shop: Any) -> Any:
    """A shop with two sources."""
    with (shop.path / "shop.py").open("a") as file:
        file.write(ORDERS)
    shop.out("migrate")
    return shop


def one(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(source for source in found if source["name"] == name)


def test_a_worker_takes_what_its_queues_are_for_and_the_commands_tell(orders: Any) -> None:
    worker = orders.start("worker", "shop:app", "--queues", "default", FILL="yes")
    orders.until(lambda: len(orders.json("jobs", "list", "--state", "succeeded")["jobs"]) == 40, "all are run")
    (bad,) = orders.until(
        lambda: orders.json("jobs", "list", "--tag", "letter", "--state", "failed")["jobs"], "a letter"
    )
    assert bad["error"]["cause"] == "arguments"
    assert bad["args"]["headrace.letter"]["why"].startswith("numeral raised ValueError")
    found = orders.until(
        lambda: (
            (seen := orders.json("sources", "--app", "shop:app")["sources"])
            and one(seen, "rabbitmq:orders")["taken"] == 41
            and seen
        ),
        "the worker has reported",
    )
    taken = one(found, "rabbitmq:orders")
    assert (taken["task"], taken["state"], taken["processes"]) == ("crunch", "consuming", 1)
    assert (taken["repeated"], taken["letters"], taken["without_id"]) == (10, 1, 0)
    assert one(found, "kafka:payments:g")["state"] == "unattended", "its queue is not served"
    assert "rabbitmq:orders" in orders.out("sources")
    raw = subprocess.run(
        [sys.executable, "-m", "headrace", "jobs", "message", bad["id"]],
        cwd=orders.path,
        env=orders.env,
        capture_output=True,
        check=True,
    )
    assert raw.stdout == b"x\x00\xff"
    assert "3 bytes from rabbitmq:orders, content type text/plain" in raw.stderr.decode()
    (orders.path / "mended").touch()
    orders.out("jobs", "retry", bad["id"])
    mended = orders.until(lambda: (job := orders.job(bad["id"]))["state"] == "succeeded" and job, "it is read again")
    assert mended["result"] == 7
    said = checks(orders, "--app", "shop:app")
    assert the(said, "sources", "nobody takes from kafka:payments:g")["mend"].startswith("start a worker that serves")
    assert the(said, "sources", "1 messages of rabbitmq:orders did not fit")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    assert one(orders.json("sources", "--app", "shop:app")["sources"], "rabbitmq:orders")["state"] == "unattended"


def test_a_bookmark_is_shown_and_set_back(orders: Any) -> None:
    worker = orders.start("worker", "shop:app", "--queues", "slow", FILL="yes")
    orders.until(lambda: len(orders.json("jobs", "list", "--state", "succeeded")["jobs"]) == 50, "all are run")
    assert one(orders.json("sources")["sources"], "kafka:payments:g")["bookmarks"] == {"0": 50}
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    for wrong, why in (
        (("kafka:payments:g", "--to", "yesterday"), "earliest, start, or a place"),
        (("kafka:payments:g", "--to", "5"), "name it with --part"),
        (("kafka:payments:g", "--to", "5", "--part", "7"), "no bookmark of part 7"),
        (("rabbitmq:orders", "--to", "earliest"), "there are bookmarks of kafka:payments:g"),
    ):
        refused = orders.run("sources", "reset", *wrong)
        assert refused.returncode != 0
        assert why in refused.stderr
    assert orders.out("sources", "reset", "kafka:payments:g", "--to", "45", "--part", "0").strip() == (
        "kafka:payments:g part 0: 45"
    )
    orders.start("worker", "shop:app", "--queues", "slow", FILL="yes")
    orders.until(lambda: len(orders.json("jobs", "list", "--limit", "99")["jobs"]) == 55, "five are read again")


def test_a_worker_whose_broker_has_no_url_says_so(shop: Any) -> None:
    with (shop.path / "shop.py").open("a") as file:
        file.write("from headrace import kafka\n\n@hr.on(kafka('orders', group='g'))\nasync def take(n: int): ...\n")
    done = shop.run("worker", "shop:app")
    assert done.returncode == 1
    assert "HEADRACE_KAFKA_SERVERS is not set, so there is no broker 'kafka'" in done.stderr
    assert "HEADRACE_SOURCES=off" in done.stderr
    shop.start("worker", "shop:app", "--queues", "slow")
    shop.until(lambda: (shop.path / "shop.db").exists() and shop.has_worker(), "one for other queues needs it not")
