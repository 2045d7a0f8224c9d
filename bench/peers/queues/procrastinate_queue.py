"""Procrastinate on PostgreSQL with psycopg: LISTEN, jobs kept as history, its defaults."""

from collections.abc import Sequence

import procrastinate

from bench.peers.queues.bodies import ASYNC, URL
from bench.peers.queues.client import AsyncClient

POOL = 20
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=URL, max_size=POOL))
TASKS = {name: app.task(name=name)(body) for name, body in ASYNC.items()}


class Client(AsyncClient):
    bulk = 500

    async def prepare(self) -> None:
        await app.schema_manager.apply_schema_async()

    async def open(self) -> None:
        await app.open_async()

    async def close(self) -> None:
        await app.close_async()

    async def one(self, task: str, n: float) -> None:
        await TASKS[task].defer_async(n=n)

    async def many(self, task: str, numbers: Sequence[float]) -> None:
        await TASKS[task].batch_defer_async(*[{"n": n} for n in numbers])
