"""Dramatiq on Redis or RabbitMQ: it acknowledges late; publishes to RabbitMQ without confirms, its default."""

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker

from bench.peers.queues.bodies import QUEUE, SYNC, URL
from bench.peers.queues.client import SyncClient

broker = RedisBroker(url=URL) if URL.startswith("redis") else RabbitmqBroker(url=URL)
dramatiq.set_broker(broker)
ACTORS = {name: dramatiq.actor(body, actor_name=name, queue_name=QUEUE) for name, body in SYNC.items()}


class Client(SyncClient):
    def close(self) -> None:
        broker.close()

    def one(self, task: str, n: float) -> None:
        ACTORS[task].send(n)
