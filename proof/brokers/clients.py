"""Bare clients beside Headrace: they write the messages, and read what came out in the end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final, TypeAlias

import aio_pika
import nats
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from redis.asyncio import Redis

ORDERS: Final = "orders"
EVENTS: Final = "events"
PARTS: Final = 4
CONFIRM_S: Final = 10.0
CLOSE_S: Final = 2.0
Send: TypeAlias = Callable[[str], Awaitable[object]]
"""Returns when the broker has confirmed the message of this id; whatever it raises, the broker has it or not."""


def _body(name: str) -> bytes:
    return json.dumps({"id": name}).encode()


async def _close(work: Awaitable[object]) -> None:
    with suppress(Exception):
        await asyncio.wait_for(work, CLOSE_S)


@asynccontextmanager
async def rabbitmq(url: str) -> AsyncIterator[Send]:
    """With publisher confirms."""
    connection = await aio_pika.connect(url, timeout=5)
    try:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = channel.default_exchange

        def send(name: str) -> Awaitable[object]:
            message = aio_pika.Message(
                _body(name),
                message_id=name,
                content_type="application/json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            return exchange.publish(message, ORDERS, timeout=CONFIRM_S)

        yield send
    finally:
        await _close(connection.close())


@asynccontextmanager
async def kafka(servers: str) -> AsyncIterator[Send]:
    """Acknowledged by all replicas."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=2, request_timeout_ms=5_000)
    await producer.start()
    try:

        async def send(name: str) -> None:
            async with asyncio.timeout(CONFIRM_S):
                await producer.send_and_wait(ORDERS, _body(name), key=name[:2].encode())

        yield send
    finally:
        await _close(producer.stop())


@asynccontextmanager
async def nats_(url: str) -> AsyncIterator[Send]:
    """With acknowledgements of JetStream."""

    async def quiet(_: Exception) -> None: ...

    client = await nats.connect(url, allow_reconnect=False, connect_timeout=5, error_cb=quiet)
    stream = client.jetstream(timeout=CONFIRM_S)
    try:
        yield lambda name: stream.publish(ORDERS, _body(name), headers={"Nats-Msg-Id": name})
    finally:
        await _close(client.close())


@asynccontextmanager
async def redis(url: str) -> AsyncIterator[Send]:
    """With a reply, after an fsync."""
    async with Redis.from_url(url, protocol=2, socket_timeout=CONFIRM_S) as client:
        yield lambda name: client.xadd(ORDERS, {"data": _body(name), "message-id": name})


SENDERS: Final[dict[str, Callable[[str], AbstractAsyncContextManager[Send]]]] = {
    "redis": redis,
    "nats": nats_,
    "rabbitmq": rabbitmq,
    "kafka": kafka,
}


# -- before and after -------------------------------------------------------------------------------


async def declare(kind: str, where: str) -> None:
    """Make both places."""
    match kind:
        case "rabbitmq":
            async with await aio_pika.connect(where) as connection:
                channel = await connection.channel()
                for name in (ORDERS, EVENTS):
                    await channel.declare_queue(name, durable=True)
        case "kafka":
            admin = AIOKafkaAdminClient(bootstrap_servers=where)
            await admin.start()
            await admin.create_topics([NewTopic(name, PARTS, 1) for name in (ORDERS, EVENTS)])
            await admin.close()
        case "nats":
            client = await nats.connect(where)
            for name in (ORDERS, EVENTS):
                await client.jetstream().add_stream(name=name, subjects=[name])
            await client.close()
        case _:
            pass


async def events(kind: str, where: str) -> list[str]:
    """The ids of all events that came out, in the order of the broker."""
    found = [json.loads(body) async for body in READERS[kind](where)]
    return [event["id"] for event in found]


async def _rabbitmq(url: str) -> AsyncIterator[bytes]:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1000)
        queue = await channel.declare_queue(EVENTS, passive=True)
        left = queue.declaration_result.message_count or 0
        if left == 0:
            return
        async with queue.iterator() as messages:
            async for message in messages:
                await message.ack()
                yield message.body
                left -= 1
                if left == 0:
                    return


async def _kafka(servers: str) -> AsyncIterator[bytes]:
    places = [TopicPartition(EVENTS, part) for part in range(PARTS)]
    consumer = AIOKafkaConsumer(bootstrap_servers=servers)
    await consumer.start()
    try:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends: dict[Any, int] = await consumer.end_offsets(places)
        for place in places:
            while await consumer.position(place) < ends[place]:
                for record in (await consumer.getmany(place, timeout_ms=500)).get(place, ()):
                    yield record.value or b""
    finally:
        await consumer.stop()


async def _nats(url: str) -> AsyncIterator[bytes]:
    client = await nats.connect(url)
    stream = client.jetstream()
    config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL)
    try:
        left = (await stream.stream_info(EVENTS)).state.messages
        there = await stream.pull_subscribe(EVENTS, stream=EVENTS, config=config)
        while left > 0:
            for message in await there.fetch(min(left, 500), timeout=10):
                yield message.data
                left -= 1
    finally:
        await client.close()


async def _redis(url: str) -> AsyncIterator[bytes]:
    async with Redis.from_url(url, protocol=2, socket_timeout=30) as client:
        after = "-"
        while entries := await client.xrange(EVENTS, after, count=1000):
            for _, fields in entries:
                yield fields[b"data"]
            after = f"({entries[-1][0].decode()}"


READERS: Final[dict[str, Callable[[str], AsyncIterator[bytes]]]] = {
    "redis": _redis,
    "nats": _nats,
    "rabbitmq": _rabbitmq,
    "kafka": _kafka,
}
