"""`python -m examples.orders`: the three services, and the brokers that are not given by their URLs."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from servers.kafka import Kafka
from servers.rabbitmq import RabbitMQ

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = 4
STOP_S = 30


def brokers(stack: ExitStack) -> dict[str, str]:
    """Where Kafka and RabbitMQ are; what no variable names is started here, and ends with this program."""
    found: dict[str, str] = {}
    if "HEADRACE_KAFKA_SERVERS" not in os.environ:
        found["HEADRACE_KAFKA_SERVERS"] = stack.enter_context(Kafka()).bootstrap
    if "HEADRACE_RABBITMQ_URL" not in os.environ:
        found["HEADRACE_RABBITMQ_URL"] = stack.enter_context(RabbitMQ()).url()
    return found


async def create_topic(servers: str) -> None:
    """Have the topic of orders."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        if "orders" not in await admin.list_topics():
            await admin.create_topics([NewTopic("orders", PARTS, 1)])
    finally:
        await admin.close()


def services(port: int) -> list[list[str]]:
    """The commands, as they would stand in three container images."""
    return [
        ["serve", "examples.orders.shop:app", "--port", str(port)],
        ["worker", "examples.orders.payments:hr"],
        ["worker", "examples.orders.shipping:hr"],
    ]


def main(given: Sequence[str] | None = None) -> int:
    """Run until interrupted, or until one of them ends."""
    parser = argparse.ArgumentParser(prog="python -m examples.orders", description="A shop of three services.")
    parser.add_argument("--port", type=int, default=8000, help="of the shop")
    parser.add_argument("--dir", type=Path, help="where the three databases are (default: a temporary directory)")
    options = parser.parse_args(given)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        folder = options.dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orders-")))
        env = os.environ | {"HEADRACE_AUTH": "off"} | brokers(stack) | {"ORDERS_DIR": str(folder)}
        asyncio.run(create_topic(env["HEADRACE_KAFKA_SERVERS"]))
        running = [
            subprocess.Popen([sys.executable, "-m", "headrace", *command], cwd=ROOT, env=env)  # noqa: S603 - ours
            for command in services(options.port)
        ]
        print(f"the shop is at http://127.0.0.1:{options.port}/docs, its databases are in {folder}", flush=True)
        while not stop.wait(0.2) and all(each.poll() is None for each in running):
            pass
        for each in running:
            each.send_signal(signal.SIGTERM)
        codes = [each.wait(STOP_S) for each in running]
    return 0 if stop.is_set() else max(map(abs, codes))


if __name__ == "__main__":
    raise SystemExit(main())
