"""PgQueuer on PostgreSQL with asyncpg and uvloop: durable tables, ended jobs go to its log table, its defaults.

Run as a program it is the worker: `pgq run` of 1.6.0 fails on a fresh installation, in its logging.
"""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from bench.peers.queues.bodies import ASYNC, URL
from bench.peers.queues.client import AsyncClient

POOL = 20


class Client(AsyncClient):
    bulk = 1_000
    _pool: asyncpg.Pool
    _queries: Queries

    async def prepare(self) -> None:
        await self._queries.install()

    async def open(self) -> None:
        self._pool = await asyncpg.create_pool(URL, min_size=1, max_size=POOL)
        self._queries = Queries(AsyncpgPoolDriver(self._pool))

    async def close(self) -> None:
        await self._pool.close()

    async def one(self, task: str, n: float) -> None:
        await self._queries.enqueue(task, json.dumps({"n": n}).encode())

    async def many(self, task: str, numbers: Sequence[float]) -> None:
        payloads = [json.dumps({"n": n}).encode() for n in numbers]
        await self._queries.enqueue([task] * len(payloads), payloads, [0] * len(payloads))


def _with_payload(body: Callable[[float], Awaitable[None]]) -> Callable[[Job], Awaitable[None]]:
    async def run(job: Job) -> None:
        await body(json.loads(job.payload or b"")["n"])

    return run


async def work() -> None:
    connection = await asyncpg.connect(URL)
    queuer = PgQueuer.from_asyncpg_connection(connection)
    for name, body in ASYNC.items():
        queuer.entrypoint(name)(_with_payload(body))
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, queuer.shutdown.set)
    await queuer.run(batch_size=int(os.environ.get("PEER_BATCH", "10")))


if __name__ == "__main__":
    uvloop.run(work())
