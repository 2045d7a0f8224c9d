"""One broker's run: messages are written while broker and workers are killed; then every one is accounted for.

A message whose confirm did not come is written again under the same id, so the broker may have it twice. What that
comes to is told apart: RabbitMQ, NATS and Redis carry the id, and one effect is asked for each; to Kafka two records
are two messages, and one effect is asked for each record.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import asyncpg

from proof.brokers import clients
from proof.processes import Program, TooSlowError
from servers.kafka import Kafka
from servers.nats import Nats
from servers.postgres import Postgres
from servers.rabbitmq import RabbitMQ
from servers.redis import Redis
from servers.server import Server

KINDS: Final = ("redis", "nats", "rabbitmq", "kafka")
VARIABLES: Final = {
    "redis": "HEADRACE_REDIS_URL",
    "nats": "HEADRACE_NATS_URL",
    "rabbitmq": "HEADRACE_RABBITMQ_URL",
    "kafka": "HEADRACE_KAFKA_SERVERS",
}
BROKER_EVERY_S: Final = 10.0
WORKER_EVERY_S: Final = 5.0
RATE_PER_S: Final = 800.0
SENDERS: Final = 100
END_S: Final = 180.0


@dataclass(slots=True)
class Told:
    """What one run came to."""

    kind: str
    messages: int = 0
    repeated: int = 0
    """Messages that were written again because their confirm did not come."""
    lost: int = 0
    """Confirmed, and without an effect."""
    doubled: int = 0
    """Effects beyond the one that each message may have."""
    out_lost: int = 0
    """Effects without an event."""
    out_repeated: int = 0
    """Events that came out more than once; they have the same id."""
    broker_kills: int = 0
    worker_kills: int = 0
    seconds: float = 0.0
    versions: str = ""
    trouble: list[str] = field(default_factory=list[str])

    def keys(self) -> dict[str, int | float | str]:
        """Flat keys."""
        return {
            f"{self.kind}.chaos_messages": self.messages,
            f"{self.kind}.chaos_repeated": self.repeated,
            f"{self.kind}.chaos_lost": self.lost,
            f"{self.kind}.chaos_doubled": self.doubled,
            f"{self.kind}.chaos_out_lost": self.out_lost,
            f"{self.kind}.chaos_out_repeated": self.out_repeated,
            f"{self.kind}.chaos_broker_kills": self.broker_kills,
            f"{self.kind}.chaos_worker_kills": self.worker_kills,
            f"{self.kind}.chaos_seconds": round(self.seconds, 1),
        }

    def line(self) -> str:
        """All of it, for people."""
        return f"{self.kind} {self.versions}: " + ", ".join(
            f"{name.rpartition('chaos_')[2]} {value}" for name, value in self.keys().items()
        )

    @property
    def wrong(self) -> list[str]:
        """What was promised and did not hold."""
        found = {"lost": self.lost, "run twice to effect": self.doubled, "effects without an event": self.out_lost}
        return [f"{self.kind}: {count} {what}" for what, count in found.items() if count] + self.trouble


@contextmanager
def broker(kind: str) -> Iterator[tuple[Server, str]]:
    """A server of its own, and where its clients find it."""
    if kind == "kafka":
        with Kafka() as server:
            yield server, server.bootstrap
        return
    others: dict[str, Callable[[], AbstractContextManager[Redis | Nats | RabbitMQ]]] = {
        "redis": Redis,
        "nats": Nats,
        "rabbitmq": RabbitMQ,
    }
    with others[kind]() as other:
        yield other, other.url()


class Run:
    """Writes, kills and counts."""

    def __init__(self, kind: str, messages: int, seed: int, folder: Path, say: Callable[[str], None]) -> None:
        """Nothing is started yet."""
        self._kind = kind
        self._messages = messages
        self._rng = random.Random(f"brokers {kind} {seed}")
        self._folder = folder
        self._say = say
        self._confirmed: set[str] = set()
        self._repeated: set[str] = set()
        self._worker: Program | None = None
        self._told = Told(kind)

    def go(self) -> Told:
        """To its end."""
        with Postgres() as postgres, broker(self._kind) as (server, where):
            self._store = postgres.create_database()
            self._where = where
            try:
                asyncio.run(self._go(server))
            finally:
                if self._worker is not None:
                    self._worker.kill()
            self._told.versions = str(getattr(server, "version", ""))
        return self._told

    async def _go(self, server: Server) -> None:
        connection = await asyncpg.connect(self._store)
        await connection.execute("CREATE TABLE effect (id text NOT NULL, place text NOT NULL)")
        await clients.declare(self._kind, self._where)
        self._start()
        began = time.monotonic()
        faults = [asyncio.create_task(self._kill_broker(server)), asyncio.create_task(self._kill_worker())]
        try:
            await self._write()
            await self._until(connection, "effects", "SELECT count(DISTINCT id) FROM effect", self._messages, faults)
        finally:
            for fault in faults:
                fault.cancel()
            await asyncio.gather(*faults, return_exceptions=True)
        if self._worker is None or not self._worker.alive:
            self._start()
        await self._until(connection, "the outbox", "SELECT -count(*) FROM headrace_outbox", 0, [])
        self._told.seconds = time.monotonic() - began
        await self._judge(connection)
        await connection.close()

    # -- messages -------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """All messages, at a steady pace, each until it is confirmed."""
        names = iter([f"{self._rng.randrange(256):02x}-{number}" for number in range(self._messages)])
        began, taken = time.monotonic(), 0
        unconfirmed: set[str] = set()
        while len(self._confirmed) < self._messages:
            try:
                async with clients.SENDERS[self._kind](self._where) as send:
                    while len(self._confirmed) < self._messages:
                        again = sorted(unconfirmed)[:SENDERS]
                        self._repeated.update(again)
                        room = min(SENDERS - len(again), int((time.monotonic() - began) * RATE_PER_S) - taken)
                        new = list(islice(names, max(room, 0)))
                        taken += len(new)
                        unconfirmed.update(new)
                        told = await asyncio.gather(*map(send, [*again, *new]), return_exceptions=True)
                        good = [n for n, each in zip([*again, *new], told, strict=True) if not _is_error(each)]
                        self._confirmed.update(good)
                        unconfirmed.difference_update(good)
                        if len(good) < len(told):
                            break
                        if not told:
                            await asyncio.sleep(0.01)
            except Exception:  # noqa: BLE001 - whatever a client raises: the broker is away
                await asyncio.sleep(0.2)
        self._say(f"{self._kind}: {len(self._confirmed)} confirmed, {len(self._repeated)} of them written again")

    # -- faults ---------------------------------------------------------------------------------------

    async def _kill_broker(self, server: Server) -> None:
        while True:
            await asyncio.sleep(BROKER_EVERY_S * self._rng.uniform(0.8, 1.2))
            await asyncio.to_thread(server.kill)
            self._told.broker_kills += 1
            await asyncio.sleep(self._rng.uniform(0.0, 1.0))
            await asyncio.to_thread(server.start)

    async def _kill_worker(self) -> None:
        """One process of it, or all."""
        while True:
            await asyncio.sleep(WORKER_EVERY_S * self._rng.uniform(0.8, 1.2))
            worker = self._worker
            assert worker is not None  # noqa: S101 - it was started
            self._told.worker_kills += 1
            if self._rng.random() < 0.5 and (children := worker.members()[1:]):
                with suppress(ProcessLookupError):
                    os.kill(self._rng.choice(children), 9)
            else:
                await asyncio.to_thread(worker.kill)
                self._start()

    def _start(self) -> None:
        env = os.environ | {
            "HEADRACE_STORE": self._store,
            "PROOF_BROKER": self._kind,
            VARIABLES[self._kind]: self._where,
        }
        argv = ["headrace", "worker", "proof.brokers.app:hr"]
        self._worker = Program("worker", argv, env, self._folder / f"{self._kind}-worker.log")

    # -- the end --------------------------------------------------------------------------------------

    async def _until(
        self, connection: Any, what: str, count: str, wanted: int, faults: list[asyncio.Task[None]]
    ) -> None:
        """Wait until a count is reached; one that no longer moves is told and judged."""
        last, moved = None, time.monotonic()
        while True:
            found = await connection.fetchval(count)
            if found >= wanted:
                return
            if found != last:
                last, moved = found, time.monotonic()
            for fault in faults:
                if fault.done():
                    fault.result()
            if time.monotonic() - moved > END_S:
                self._told.trouble.append(f"{self._kind}: {what}: {found} of {wanted}, not moving for {END_S:.0f} s")
                return
            await asyncio.sleep(0.1)

    async def _judge(self, connection: Any) -> None:
        told = self._told
        effects = [(row["id"], row["place"]) for row in await connection.fetch("SELECT id, place FROM effect")]
        of_each = Counter(effects) if self._kind == "kafka" else Counter(name for name, _ in effects)
        out = Counter(await clients.events(self._kind, self._where))
        told.messages, told.repeated = len(self._confirmed), len(self._repeated)
        told.lost = len(self._confirmed - {name for name, _ in effects})
        told.doubled = sum(of_each.values()) - len(of_each)
        told.out_lost = len({name for name, _ in effects} - out.keys())
        told.out_repeated = sum(out.values()) - len(out)


def _is_error(told: object) -> bool:
    return isinstance(told, BaseException)


def run(kind: str, messages: int, seed: int, folder: Path, say: Callable[[str], None]) -> Told:
    """One broker.

    Raises:
        TooSlowError: it did not come to an end.
    """
    say(f"{kind}: {messages} messages, seed {seed}")
    told = Run(kind, messages, seed, folder, say).go()
    say(f"{kind}: {told}")
    return told


__all__ = ["KINDS", "Run", "Told", "TooSlowError", "run"]
