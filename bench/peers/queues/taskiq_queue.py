"""Taskiq on Redis streams or RabbitMQ (a quorum queue, its default): it acknowledges late; no result backend."""

import os

from taskiq import AsyncBroker
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue
from taskiq_redis import RedisStreamBroker

from bench.peers.queues.bodies import ASYNC, QUEUE, URL
from bench.peers.queues.client import AsyncClient


def _broker() -> AsyncBroker:
    if URL.startswith("redis"):
        return RedisStreamBroker(URL, queue_name=QUEUE)
    qos = int(os.environ.get("PEER_QOS", "10"))
    return AioPikaBroker(URL, qos=qos, exchange=Exchange(name=QUEUE), task_queues=[Queue(name=QUEUE)])


broker = _broker()
TASKS = {name: broker.task(task_name=name)(body) for name, body in ASYNC.items()}


class Client(AsyncClient):
    async def open(self) -> None:
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    async def one(self, task: str, n: float) -> None:
        await TASKS[task].kiq(n)
