"""The orders example as a whole: three services, both brokers killed twice, and no order charged twice or never."""

import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from servers.kafka import Kafka
from servers.rabbitmq import RabbitMQ
from tests.e2e.kit import Program, free_port, until

ROOT = Path(__file__).parents[2]
ORDERS = 10_000
ONE_BY_ONE = 300
IMPORT = 100
KILLS = 2
WITHIN_S = 240.0

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def kafka() -> Iterator[Kafka]:
    with Kafka() as server:
        yield server


@pytest.fixture
def rabbitmq() -> Iterator[RabbitMQ]:
    with RabbitMQ() as server:
        yield server


def counted(folder: Path, service: str, query: str) -> Counter[str]:
    """The first column of each row, counted."""
    with closing(sqlite3.connect(f"file:{folder / service}.db?mode=ro", uri=True, timeout=30)) as connection:
        return Counter(row[0] for row in connection.execute(query))


def number_of(folder: Path, service: str, table: str) -> int:
    with closing(sqlite3.connect(f"file:{folder / service}.db?mode=ro", uri=True, timeout=30)) as connection:
        (found,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(found)


def order(number: int) -> dict[str, str | int]:
    return {"id": f"A-{number}", "customer": f"c{number % 97}", "cents": 100 + number}


def test_each_order_is_charged_once(tmp_path: Path, kafka: Kafka, rabbitmq: RabbitMQ) -> None:
    port = free_port()
    env = {
        "HEADRACE_KAFKA_SERVERS": kafka.bootstrap,
        "HEADRACE_RABBITMQ_URL": rabbitmq.url(),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    program = Path(sys.executable)
    args = ("-m", "examples.orders", "--port", str(port), "--dir", str(tmp_path))
    with (
        Program(*args, cwd=tmp_path, env=env, program=program),
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as shop,
    ):
        until(lambda: _answers(shop), "the shop answers", within=60)
        placed = 0
        faults = threading.Thread(target=_kill_both_twice, args=(kafka, rabbitmq))
        faults.start()
        for number in range(ONE_BY_ONE):
            placed += shop.post("/orders", json=order(number), timeout=30).raise_for_status().json()["placed"]
        for start in range(ONE_BY_ONE, ORDERS, IMPORT):
            many = [order(number) for number in range(start, min(start + IMPORT, ORDERS))]
            placed += shop.post("/orders/import", json=many, timeout=30).raise_for_status().json()["placed"]
            time.sleep(0.1)
        assert shop.post("/orders", json=order(7), timeout=30).json() == {"placed": 0}, "it was placed before"
        assert placed == ORDERS
        faults.join()
        until(lambda: number_of(tmp_path, "shipping", "parcel") >= ORDERS, "every parcel", within=WITHIN_S)
    expected = Counter({f"A-{number}": 1 for number in range(ORDERS)})
    assert counted(tmp_path, "payments", "SELECT order_id FROM charge") == expected
    assert counted(tmp_path, "shipping", "SELECT order_id FROM parcel") == expected


def _answers(shop: httpx.Client) -> bool:
    try:
        return shop.get("/openapi.json").status_code == 200
    except httpx.TransportError:
        return False


def _kill_both_twice(kafka: Kafka, rabbitmq: RabbitMQ) -> None:
    for _ in range(KILLS):
        for server in (kafka, rabbitmq):
            time.sleep(2.5)
            server.kill()
            time.sleep(0.5)
            server.start()
