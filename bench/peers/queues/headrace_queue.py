"""Headrace on any store, by the public API; a worker loads it as `bench.peers.queues.headrace_queue:hr`."""

from collections.abc import Sequence

from bench.peers.queues.bodies import ASYNC, URL
from bench.peers.queues.client import AsyncClient
from headrace import Headrace

hr = Headrace(URL or None)
TASKS = {name: hr.task(name=name)(body) for name, body in ASYNC.items()}


class Client(AsyncClient):
    bulk = 1_000

    async def open(self) -> None:
        await hr.open()

    async def close(self) -> None:
        await hr.close()

    async def one(self, task: str, n: float) -> None:
        await TASKS[task].enqueue(n)

    async def many(self, task: str, numbers: Sequence[float]) -> None:
        chosen = TASKS[task]
        await hr.enqueue_many([chosen.call(n) for n in numbers])
