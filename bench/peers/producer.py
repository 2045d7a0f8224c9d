"""Puts jobs into one peer, inside that peer's environment: `python -m bench.peers.producer MODULE MODE …`.

Says what it did as one line of JSON, its last.
"""

import argparse
import asyncio
import importlib
import json
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.peers.meter import Meter, Meters
from bench.peers.queues.bodies import FOLDER
from bench.peers.queues.client import AsyncClient, SyncClient

BACKLOG = 5_000
LOOPS = 4
PAUSE_S = 0.005
CONNECT_S = 30.0
Told = dict[str, float]


def _run(main: Coroutine[object, object, Told]) -> Told:
    """On uvloop where the environment has it, as most services run."""
    try:
        import uvloop  # noqa: PLC0415 - not every peer's environment has it
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


class Awaited:
    """The modes, for a peer that is awaited."""

    def __init__(self, client: AsyncClient, options: argparse.Namespace) -> None:
        self._client = client
        self._options = options

    async def prepare(self) -> Told:
        await self._client.prepare()
        return {}

    async def hold(self) -> Told:
        await self._client.one("hold", self._options.number)
        return {}

    async def fill(self) -> Told:
        count, bulk, task = self._options.count, self._client.bulk, self._options.task
        started = time.perf_counter()
        for first in range(0, count, bulk):
            await self._client.many(task, list(range(first, min(first + bulk, count))))
        return {"count": count, "elapsed_s": time.perf_counter() - started}

    async def one(self) -> Told:
        return await self._callers(1, self._single)

    async def callers(self) -> Told:
        return await self._callers(self._options.callers, self._single)

    async def bulk(self) -> Told:
        return await self._callers(1, self._many)

    async def _single(self) -> int:
        await self._client.one("noop", 1)
        return 1

    async def _many(self) -> int:
        await self._client.many("noop", list(range(self._client.bulk)))
        return self._client.bulk

    async def _callers(self, callers: int, call: Callable[[], Coroutine[object, object, int]]) -> Told:
        added = 0

        async def caller() -> None:
            nonlocal added
            while time.perf_counter() < until:
                made = await call()
                added += made

        await asyncio.gather(*[call() for _ in range(callers)])  # connects
        started = time.perf_counter()
        until = started + self._options.seconds
        await asyncio.gather(*[caller() for _ in range(callers)])
        return {"count": added, "elapsed_s": time.perf_counter() - started}

    async def sustain(self) -> Told:
        """As much as is taken, while no more than so many jobs wait."""
        added, meters = Meter(FOLDER / "added"), Meters(FOLDER)
        until = time.perf_counter() + self._options.seconds

        async def loop() -> None:
            bulk = min(self._client.bulk, 100)
            while time.perf_counter() < until:
                if added.count - meters.read().count > BACKLOG:
                    await asyncio.sleep(PAUSE_S)
                    continue
                await self._client.many("noop", list(range(bulk)))
                added.hit(bulk)

        await asyncio.gather(*[loop() for _ in range(LOOPS)])
        return {"count": added.count}

    async def load(self) -> Told:
        """So many jobs a second, in small groups."""
        added = Meter(FOLDER / "added")
        started = time.perf_counter()
        sent = 0
        while (passed := time.perf_counter() - started) < self._options.seconds:
            due = min(int(passed * self._options.rate) - sent, self._client.bulk)
            if due > 0:
                await self._client.many("noop", list(range(due)))
                added.hit(due)
                sent += due
            await asyncio.sleep(2 * PAUSE_S)
        return {"count": sent, "elapsed_s": time.perf_counter() - started}

    async def pickup(self) -> Told:
        await self._client.one("noop", 0)  # connects
        due = time.perf_counter()
        for _ in range(self._options.count):
            due += self._options.every
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await self._client.one("stamp", time.monotonic())
        return {"count": self._options.count}

    async def run(self, mode: str) -> Told:
        modes = {name: getattr(self, name) for name in MODES}
        await self._client.open()
        try:
            told: Told = await modes[mode]()
        finally:
            await self._client.close()
        return told


class Blocking(AsyncClient):
    """A blocking client in the place of an awaited one; whoever calls it waits."""

    def __init__(self, client: SyncClient) -> None:
        self.client = client
        self.bulk = client.bulk

    async def open(self) -> None:
        """Nothing: it connects when it is first used."""

    async def close(self) -> None:
        self.client.close()

    async def one(self, task: str, n: float) -> None:
        self.client.one(task, n)

    async def many(self, task: str, numbers: Sequence[float]) -> None:
        self.client.many(task, numbers)


class Threaded(Awaited):
    """The modes, for a peer that blocks: concurrent callers are a few threads."""

    def __init__(self, client: SyncClient, options: argparse.Namespace) -> None:
        super().__init__(Blocking(client), options)
        self._blocking = client

    async def callers(self) -> Told:
        threads, seconds, client = self._blocking.threads, self._options.seconds, self._blocking
        connected = threading.Barrier(threads + 1)

        def caller() -> int:
            client.one("noop", 1)  # connects
            connected.wait()
            added, until = 0, time.perf_counter() + seconds
            while time.perf_counter() < until:
                client.one("noop", 1)
                added += 1
            return added

        with ThreadPoolExecutor(threads) as pool:
            calls = [pool.submit(caller) for _ in range(threads)]
            connected.wait(CONNECT_S)
            started = time.perf_counter()
            counts = [call.result() for call in calls]
        return {"count": sum(counts), "elapsed_s": time.perf_counter() - started}


MODES = ("prepare", "fill", "one", "callers", "bulk", "sustain", "load", "pickup", "hold")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.peers.producer")
    parser.add_argument("module")
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--task", default="noop")
    for name, default in (("count", 0), ("callers", 100), ("number", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("seconds", 1.0), ("every", 0.02), ("rate", 0.0)):
        parser.add_argument(f"--{name}", type=float, default=default)
    options = parser.parse_args()
    client = importlib.import_module(options.module).Client()
    modes = Threaded(client, options) if isinstance(client, SyncClient) else Awaited(client, options)
    print(json.dumps(_run(modes.run(options.mode))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
