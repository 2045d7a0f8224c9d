"""How long a hint takes from one process to another on the same machine, through each notifier.

One process publishes at random intervals, the name of each hint being its instant; another tells how old they were
when they reached a listener.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import uvloop

from bench.processes import ROOT
from headrace.core.broker import broker
from headrace.notifiers.brokers import BrokerNotifier
from headrace.notifiers.local import LocalNotifier
from headrace.notifiers.postgres import PostgresNotifier
from headrace.ports.notifier import Hint, Notifier
from servers.kafka import Kafka
from servers.nats import Nats
from servers.postgres import Postgres
from servers.rabbitmq import RabbitMQ
from servers.redis import Redis

KINDS = ("local", "postgres", "redis", "nats", "rabbitmq", "kafka")
BETWEEN_S = (0.005, 0.035)
PATIENCE_S = 30.0
LAST = "queue:last"
P50_MAX_MS, P99_MAX_MS = 3.0, 15.0


@contextmanager
def place(kind: str, folder: Path) -> Iterator[str]:
    """Where hints of a kind go."""
    served: dict[str, type[Postgres | Redis | Nats | RabbitMQ]] = {
        "postgres": Postgres,
        "redis": Redis,
        "nats": Nats,
        "rabbitmq": RabbitMQ,
    }
    with ExitStack() as stack:
        if kind == "local":
            yield str(folder / "hints")
        elif kind == "kafka":
            yield stack.enter_context(Kafka(java_options=())).url()
        else:
            server: AbstractContextManager[Postgres | Redis | Nats | RabbitMQ] = served[kind]()
            yield stack.enter_context(server).url()


def notifier(kind: str, where: str) -> Notifier:
    if kind == "local":
        return LocalNotifier(Path(where))
    if kind == "postgres":
        return PostgresNotifier(where)
    return BrokerNotifier(broker(where, "the broker"), lambda: "headrace.bench")


def measure(kind: str, folder: Path, hints: int) -> dict[str, float]:
    """Flat keys of one kind."""
    with place(kind, folder) as where:
        ears = subprocess.Popen(
            [sys.executable, "-m", "bench.brokers.wake", kind, where], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            assert ears.stdout is not None
            assert ears.stdout.readline() == "ready\n"
            run(say(notifier(kind, where), hints))
            ages: list[float] = sorted(json.loads(ears.stdout.readline()))
        finally:
            ears.kill()
            ears.wait()
    return {
        f"{kind}.wake_p50_ms": round(ages[len(ages) // 2] * 1000, 3),
        f"{kind}.wake_p99_ms": round(ages[len(ages) * 99 // 100] * 1000, 3),
        f"{kind}.wake_lost": hints - len(ages),
    }


async def say(bell: Notifier, hints: int) -> None:
    rng = random.Random(7)
    await bell.start()
    await known(bell)
    for _ in range(hints):
        await asyncio.sleep(rng.uniform(*BETWEEN_S))
        bell.publish([f"queue:{time.monotonic()!r}"])
    await asyncio.sleep(0.5)
    bell.publish([LAST])
    await asyncio.sleep(0.5)
    await bell.stop()


async def hear(bell: Notifier) -> None:
    """Print the ages of all hints, in seconds, when the last one has come."""
    ages: list[float] = []
    last = asyncio.Event()

    def listener(heard: frozenset[Hint]) -> None:
        now = time.monotonic()
        for hint in heard:
            if hint == LAST:
                last.set()
            elif hint != "queue:*":
                ages.append(now - float(hint.removeprefix("queue:")))

    bell.subscribe(("queue:",), listener)
    await bell.start()
    await known(bell)
    print("ready", flush=True)
    await last.wait()
    print(json.dumps(ages), flush=True)
    await bell.stop()


def run(work: Coroutine[None, None, None]) -> None:
    """On the event loop of uvloop, as workers and an API run."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


async def known(bell: Notifier) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not bell.working and bell.health.working is not None:  # noqa: ASYNC110 - it is asked
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    run(hear(notifier(*sys.argv[1:])))
