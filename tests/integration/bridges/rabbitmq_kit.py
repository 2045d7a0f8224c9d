"""A bare client of RabbitMQ."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiormq
from aiormq.exceptions import AMQPError
from pamqp.commands import Basic

from headrace.core.broker import Broker, broker
from headrace.testing.conformance import Found
from servers.rabbitmq import RabbitMQ


@dataclass(frozen=True)
class Queue:
    """As an address of an app has it."""

    queue: str | None
    exchange: str = ""
    routing_key: str | None = None
    declare: bool = False
    prefetch: int = 500


def broker_of(server: RabbitMQ, url: str | None = None) -> Broker:
    return broker(url or server.url(), "HEADRACE_RABBITMQ_URL")


@asynccontextmanager
async def bare(server: RabbitMQ) -> AsyncGenerator[Any, None]:
    """A channel with confirms, as soon as the server gives one."""
    async with asyncio.timeout(20):
        while True:
            try:
                connection = await aiormq.connect(server.url())
                break
            except (AMQPError, OSError):
                await asyncio.sleep(0.1)
    try:
        yield await connection.channel(publisher_confirms=True)
    finally:
        await connection.close()


async def new_queue(server: RabbitMQ, arguments: Mapping[str, Any] | None = None) -> str:
    name = f"queue-{secrets.token_hex(4)}"
    async with bare(server) as channel:
        await channel.queue_declare(name, durable=True, arguments=dict(arguments or {}))
    return name


async def publish(
    server: RabbitMQ,
    queue: str,
    bodies: Sequence[bytes],
    *,
    headers: Mapping[str, Any] | None = None,
    **properties: Any,
) -> None:
    async with bare(server) as channel:
        for body in bodies:
            await channel.basic_publish(
                body,
                routing_key=queue,
                properties=Basic.Properties(
                    headers=dict(headers) if headers else None,
                    delivery_mode=2,
                    **{"message_id": secrets.token_hex(8), **properties},
                ),
            )


async def read_all(server: RabbitMQ, queue: str) -> list[Found]:
    found: list[Found] = []
    async with bare(server) as channel:
        while True:
            one = await channel.basic_get(queue, no_ack=True)
            if not isinstance(one.delivery, Basic.GetOk):
                return found
            properties = one.header.properties
            found.append(
                Found(one.body, properties.message_id, properties.headers or {}, properties.content_type or None)
            )
