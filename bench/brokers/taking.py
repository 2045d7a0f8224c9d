"""Each broker's client with nothing around it: it fills the place of orders, and takes them as fast as it can.

`publish` returns when the broker has confirmed every message, `consume` when it has been told that every one was taken,
and has touched its body. Both keep as much under way as Headrace's bridges do.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeAlias

import aio_pika
import nats
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from nats.js.api import AckPolicy, ConsumerConfig
from redis.asyncio import Redis

PLACE: Final = "orders"
PARTS: Final = 8
UNDER_WAY: Final = 500
BATCH: Final = 1_000
NOTE: Final = "as agreed on the telephone, to the usual address"
Publish: TypeAlias = Callable[[str, Iterable[int]], Coroutine[Any, Any, None]]
Consume: TypeAlias = Callable[[str, int], Coroutine[Any, Any, None]]


def body(number: int) -> bytes:
    """A message of about a hundred bytes."""
    return json.dumps(
        {"order": number, "customer": f"c{number % 1000}", "note": "as agreed on the telephone " * 2}
    ).encode()


def touched(data: bytes) -> int:
    return data[0]


# -- rabbitmq ---------------------------------------------------------------------------------------


async def rabbitmq_declare(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(PLACE, durable=True)


async def rabbitmq_publish(url: str, numbers: Iterable[int]) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        exchange, room = channel.default_exchange, asyncio.Semaphore(UNDER_WAY)

        async def one(number: int) -> None:
            message = aio_pika.Message(
                body(number),
                message_id=f"m{number}",
                content_type="application/json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            try:
                await exchange.publish(message, PLACE, mandatory=True)
            finally:
                room.release()

        async with asyncio.TaskGroup() as group:
            for number in numbers:
                await room.acquire()
                group.create_task(one(number))


async def rabbitmq_consume(url: str, count: int) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=UNDER_WAY)
        queue = await channel.get_queue(PLACE, ensure=False)
        under, left, ended = await channel.get_underlay_channel(), count, asyncio.Event()

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            nonlocal left
            touched(message.body)
            left -= 1
            if left % (UNDER_WAY // 2) == 0:
                await under.basic_ack(message.delivery_tag or 0, multiple=True)
            if left == 0:
                ended.set()

        await queue.consume(take)
        await ended.wait()


# -- kafka ------------------------------------------------------------------------------------------


async def kafka_declare(servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(PLACE, PARTS, 1)])
    await admin.close()


async def kafka_publish(servers: str, numbers: Iterable[int]) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, enable_idempotence=True, acks="all", linger_ms=2, max_batch_size=256 << 10
    )
    await producer.start()
    try:
        sent = [await producer.send(PLACE, body(number), key=b"c%d" % (number % 1000)) for number in numbers]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def kafka_consume(servers: str, count: int) -> None:
    consumer = AIOKafkaConsumer(
        PLACE, bootstrap_servers=servers, group_id="bare", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        while count > 0:
            for records in (await consumer.getmany(timeout_ms=500, max_records=BATCH)).values():
                count -= sum(touched(record.value) > 0 for record in records)
            await consumer.commit()
    finally:
        await consumer.stop()


# -- nats -------------------------------------------------------------------------------------------


async def nats_declare(url: str) -> None:
    client = await nats.connect(url)
    await client.jetstream().add_stream(name=PLACE, subjects=[PLACE])
    await client.close()


async def nats_publish(url: str, numbers: Iterable[int]) -> None:
    client = await nats.connect(url)
    stream, under_way = client.jetstream(publish_async_max_pending=BATCH), []
    try:
        for number in numbers:
            under_way.append(await stream.publish_async(PLACE, body(number), headers={"Nats-Msg-Id": f"m{number}"}))
            if len(under_way) >= BATCH:
                await asyncio.gather(*under_way)
                under_way.clear()
        await asyncio.gather(*under_way)
    finally:
        await client.close()


async def nats_consume(url: str, count: int) -> None:
    client = await nats.connect(url)
    config = ConsumerConfig(durable_name="bare", ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10_000)
    try:
        there = await client.jetstream().pull_subscribe(PLACE, durable="bare", stream=PLACE, config=config)
        while count > 0:
            for message in await there.fetch(min(count, UNDER_WAY), timeout=5):
                touched(message.data)
                await message.ack()
                count -= 1
        await client.flush()
    finally:
        await client.close()


# -- redis ------------------------------------------------------------------------------------------


async def redis_declare(url: str) -> None:
    async with Redis.from_url(url, protocol=2, socket_timeout=30) as client:
        await client.xgroup_create(PLACE, "bare", "0", mkstream=True)


async def redis_publish(url: str, numbers: Iterable[int]) -> None:
    async with Redis.from_url(url, protocol=2, socket_timeout=30) as client:
        pipeline = client.pipeline(transaction=False)
        for number in numbers:
            pipeline.xadd(PLACE, {"data": body(number), "message-id": f"m{number}"})
            if len(pipeline) >= BATCH:
                await pipeline.execute()
        await pipeline.execute()


async def redis_consume(url: str, count: int) -> None:
    async with Redis.from_url(url, protocol=2, socket_timeout=30) as client:
        while count > 0:
            for _, entries in await client.xreadgroup("bare", "bench", {PLACE: ">"}, count=BATCH, block=1000):
                count -= sum(touched(fields[b"data"]) > 0 for _, fields in entries)
                await client.xack(PLACE, "bare", *[entry for entry, _ in entries])


DECLARE: Final = {
    "redis": redis_declare,
    "nats": nats_declare,
    "rabbitmq": rabbitmq_declare,
    "kafka": kafka_declare,
}
PUBLISH: Final[dict[str, Publish]] = {
    "redis": redis_publish,
    "nats": nats_publish,
    "rabbitmq": rabbitmq_publish,
    "kafka": kafka_publish,
}
CONSUME: Final[dict[str, Consume]] = {
    "redis": redis_consume,
    "nats": nats_consume,
    "rabbitmq": rabbitmq_consume,
    "kafka": kafka_consume,
}
