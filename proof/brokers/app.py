"""The application under test: each order becomes a row, and an event, in the transaction of its job's success."""

import os
from typing import Final

import asyncpg
from pydantic import BaseModel

from headrace import Headrace, JobContext, Message, Retry, kafka, nats, rabbitmq, redis_stream

KIND: Final = os.environ["PROOF_BROKER"]
STORE: Final = os.environ["HEADRACE_STORE"]
FROM: Final = {
    "redis": redis_stream("orders", group="proof"),
    "nats": nats("orders", stream="orders", durable="proof"),
    "rabbitmq": rabbitmq("orders"),
    "kafka": kafka("orders", group="proof"),
}
TO: Final = {
    "redis": redis_stream("events"),
    "nats": nats("events"),
    "rabbitmq": rabbitmq("events"),
    "kafka": kafka("events"),
}
PATIENT: Final = Retry(max_attempts=100, initial=0.1, factor=1.5, cap=1.0)

hr = Headrace()
_pools: list[asyncpg.Pool] = []


class Order(BaseModel):
    """What stands in a message."""

    id: str


async def _pool() -> asyncpg.Pool:
    if not _pools:
        _pools.append(await asyncpg.create_pool(STORE, min_size=0, max_size=10))
    return _pools[0]


@hr.on(FROM[KIND])
@hr.task(queue="orders", retry=PATIENT)
async def take(ctx: JobContext, order: Order, message: Message | None = None) -> None:
    """Exactly once: the row, the event and the success land together."""
    assert message is not None  # noqa: S101 - a source fills it
    async with (await _pool()).acquire() as connection, connection.transaction():
        place = f"{message.part}/{message.place}"
        await connection.execute("INSERT INTO effect (id, place) VALUES ($1, $2)", order.id, place)
        await ctx.publish(TO[KIND], {"id": order.id}, key=order.id[:2], using=connection)
        await ctx.succeed(None, using=connection)
