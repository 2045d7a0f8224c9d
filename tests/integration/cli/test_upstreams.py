"""`headrace upstreams`, on what a script of the user's has called; and what the doctor and the metrics say of it."""

import signal
from typing import Any

import pytest

from tests.integration.cli.test_doctor import checks, the
from tests.integration.cli.test_metrics import values

pytestmark = pytest.mark.timeout(150)  # many processes start and end in each; machines of CI are slow

BANK = """
from headrace import Breaker

bank = hr.upstream(
    "bank", breaker=Breaker(sliding_window_size=4, minimum_number_of_calls=4, wait_duration_in_open_state=600)
)


@hr.task(needs=[bank])
async def pay(ctx: JobContext) -> None:
    async with bank:
        pass


async def use(calls, well):
    await hr.open()
    guard = hr.services.upstreams.guards["bank"]
    for _ in range(calls):
        try:
            async with bank:
                if not well:
                    raise RuntimeError("down")
        except RuntimeError:
            pass
    await hr.services.upstreams.say(guard)
"""


@pytest.fixture
def bank_shop(shop: Any) -> Any:
    with (shop.path / "shop.py").open("a") as file:
        file.write(BANK)
    return shop


def one(shop: Any) -> dict[str, Any]:
    (found,) = shop.json("upstreams")["upstreams"]
    assert isinstance(found, dict)
    return found


def row(shop: Any) -> dict[str, str]:
    """What the list says of the one upstream, by column."""
    head, line = shop.out("upstreams").splitlines()
    heads = head.replace("NEXT TRY", "NEXT_TRY").split()
    return dict(zip(heads, line.split(), strict=True))


def test_the_list_and_what_is_set_by_hand(bank_shop: Any) -> None:
    shop = bank_shop
    shop.out("migrate")
    assert shop.out("upstreams").split("\n")[1:] == [""]
    strange = shop.run("upstreams", "open", "bank")
    assert (strange.returncode, strange.stderr) == (
        1,
        "headrace: there is no upstream 'bank'; no process has had one yet\n",
    )
    shop.run_script("await shop.use(3, True)")
    seen = row(shop)  # what a process has counted goes with it
    assert {name: seen[name] for name in ("UPSTREAM", "STATE", "CALLS", "FAILED", "NEXT_TRY", "HOLDS")} == {
        "UPSTREAM": "bank", "STATE": "closed", "CALLS": "0", "FAILED": "0", "NEXT_TRY": "-", "HOLDS": "0",
    }  # fmt: skip
    assert the(checks(shop), "upstreams", "1, all closed")["grade"] == "ok"

    assert shop.out("upstreams", "open", "bank") == "bank: forced_open\n"
    listed = shop.run("upstreams")
    assert listed.stderr == "headrace: bank is forced_open: by hand\n"
    assert (row(shop)["STATE"], row(shop)["HOLDS"], row(shop)["NEXT_TRY"]) == ("forced_open", "1", "-")
    job = shop.enqueue("pay.enqueue()")
    assert "'bank'" in shop.out("jobs", "show", job)
    assert [hold["kind"] for hold in shop.job(job)["holds"]] == ["upstream", "no-worker"]
    check = the(checks(shop), "upstreams", "bank is open by hand")
    assert (check["grade"], check["mend"]) == ("warn", "`headrace upstreams close bank`")
    assert "pay" in check["saw"]

    assert shop.out("upstreams", "disable", "bank") == "bank: disabled\n"
    assert "disabled" in the(checks(shop), "upstreams", "bank")["saw"]
    assert shop.out("upstreams", "close", "bank") == "bank: closed\n"
    strange = shop.run("upstreams", "close", "bank", "tank")
    assert (strange.returncode, strange.stderr) == (1, "headrace: there is no upstream 'tank'; there are bank\n")


def test_one_that_fails(bank_shop: Any) -> None:
    shop = bank_shop
    shop.run_script("await shop.use(4, False)")
    seen = one(shop)
    assert (seen["state"], seen["tasks"]) == ("open", ["pay"])
    assert row(shop)["NEXT_TRY"].endswith("Z")
    check = the(checks(shop), "upstreams", "bank is open")
    assert check["mend"] == "`headrace upstreams close bank`, if it is known to work again"
    assert "pay" in check["saw"]
    assert "in 9m" in check["saw"] or "in 10m" in check["saw"]


def test_a_supervisor_tells_the_calls_of_its_workers(bank_shop: Any) -> None:
    shop = bank_shop
    shop.out("migrate")
    key = shop.json("keys", "create", "prometheus", "--scope", "read")["key"]
    worker = shop.start("worker", "shop:app", "--processes", "2", "--metrics-port", "0")
    shop.until(shop.has_worker, "a worker is up")
    shop.run_script("await shop.hr.enqueue_many([shop.pay.call() for _ in range(20)])")
    calls = "headrace_upstream_calls_total"
    counted = {("bank", "succeeded"): 20.0}
    shop.until(lambda: values(shop, key, calls, "upstream", "outcome") == counted, "every call is counted")
    assert values(shop, key, "headrace_upstream_call_seconds_count", "upstream") == {("bank",): 20}
    assert values(shop, key, "headrace_upstream_state", "upstream", "state") == {("bank", "closed"): 1}
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
