"""What a worker runs in the bench of sources: one of them, whose jobs wait in a paused queue."""

import os

from pydantic import BaseModel

from headrace import Headrace, JobContext, kafka, nats, rabbitmq, redis_stream

PLACES = {
    "redis": redis_stream("orders", group="headrace"),
    "nats": nats("orders", stream="orders", durable="headrace"),
    "rabbitmq": rabbitmq("orders"),
    "kafka": kafka("orders", group="headrace"),
}
hr = Headrace()


class Order(BaseModel):
    """A message."""

    order: int
    customer: str
    note: str


@hr.on(PLACES[os.environ["BENCH_SOURCE"]])
@hr.task(queue="orders")
async def take(ctx: JobContext, order: Order) -> None:
    """Never run: its queue is paused."""
