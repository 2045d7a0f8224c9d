"""Celery on Redis or RabbitMQ: no result backend; early acknowledgement (its default) unless it is told otherwise."""

import os
from collections.abc import Sequence

from celery import Celery

from bench.peers.queues.bodies import QUEUE, SYNC, URL
from bench.peers.queues.client import SyncClient

app = Celery("bench", broker=URL)
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
if os.environ.get("PEER_ACKS_LATE"):
    app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)
TASKS = {name: app.task(name=name)(body) for name, body in SYNC.items()}


class Client(SyncClient):
    def close(self) -> None:
        app.producer_pool.force_close_all()
        app.pool.force_close_all()

    def one(self, task: str, n: float) -> None:
        TASKS[task].apply_async((n,))

    def many(self, task: str, numbers: Sequence[float]) -> None:
        with app.producer_or_acquire() as producer:
            for n in numbers:
                TASKS[task].apply_async((n,), producer=producer)
