"""arq on Redis: it looks every half a second, for at most `max_jobs` at a time."""

import os
from collections.abc import Awaitable, Callable

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Function, func

from bench.peers.queues.bodies import ASYNC, QUEUE, URL
from bench.peers.queues.client import AsyncClient


def _with_context(name: str, body: Callable[[float], Awaitable[None]]) -> Function:
    async def run(_: object, n: float) -> None:
        await body(n)

    return func(run, name=name)


class WorkerSettings:
    """What its command line reads."""

    functions = tuple(_with_context(name, body) for name, body in ASYNC.items())
    redis_settings = RedisSettings.from_dsn(URL or "redis://")
    queue_name = QUEUE
    max_jobs = int(os.environ.get("PEER_CONCURRENCY", "10"))


class Client(AsyncClient):
    _pool: ArqRedis

    async def open(self) -> None:
        self._pool = await create_pool(WorkerSettings.redis_settings, default_queue_name=QUEUE)

    async def close(self) -> None:
        await self._pool.aclose()

    async def one(self, task: str, n: float) -> None:
        await self._pool.enqueue_job(task, n)
