"""SAQ on Redis: a lost job is run again up to three times; its default, once, is not to run it again."""

import os
from collections.abc import Awaitable, Callable

from saq import Queue

from bench.peers.queues.bodies import ASYNC, QUEUE, URL
from bench.peers.queues.client import AsyncClient

RETRIES = 3


def _with_context(name: str, body: Callable[[float], Awaitable[None]]) -> tuple[str, Callable[..., Awaitable[None]]]:
    async def run(_: object, *, n: float) -> None:
        await body(n)

    return name, run


queue = Queue.from_url(URL, name=QUEUE)
settings = {
    "queue": queue,
    "functions": [_with_context(name, body) for name, body in ASYNC.items()],
    "concurrency": int(os.environ.get("PEER_CONCURRENCY", "10")),
}


class Client(AsyncClient):
    async def open(self) -> None:
        await queue.connect()

    async def close(self) -> None:
        await queue.disconnect()

    async def one(self, task: str, n: float) -> None:
        if task == "hold":
            await queue.enqueue(task, n=n, retries=RETRIES)
        else:
            await queue.enqueue(task, n=n)
