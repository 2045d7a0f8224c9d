"""From a broker's message to a job's result, for each broker: killed and started again in the middle."""

import asyncio
import contextlib
import json
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiormq
import nats as nats_client
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError
from pamqp.commands import Basic
from pydantic import BaseModel
from redis.asyncio import Redis as RedisClient

from headrace import Headrace, JobContext, Message, kafka, nats, rabbitmq, redis_stream
from headrace.core.model import JobFilter
from headrace.ports.post import Post
from headrace.settings import Settings
from servers.kafka import Kafka
from servers.nats import Nats
from servers.rabbitmq import SETTLED_S, RabbitMQ
from servers.redis import Redis
from servers.server import Server

pytestmark = pytest.mark.timeout(150)

DEADLINE_S = 60.0
Put = Callable[[str, bytes], Awaitable[None]]


@dataclass
class Feed:
    """One place at a broker: its server, its address, and what puts messages there."""

    server: Server
    address: Any
    settings: dict[str, Any]
    putting: Callable[[], AbstractAsyncContextManager[Put]]


def of_rabbitmq(server: RabbitMQ, name: str) -> Feed:
    settled: list[str] = []

    @asynccontextmanager
    async def putting() -> AsyncGenerator[Put]:
        connection = await aiormq.connect(server.url())
        channel = await connection.channel(publisher_confirms=True)
        await channel.queue_declare(name, durable=True)
        if not settled:
            settled.append(name)
            await asyncio.sleep(SETTLED_S)

        async def put(ident: str, body: bytes) -> None:
            properties = Basic.Properties(message_id=ident, delivery_mode=2, content_type="application/json")
            await channel.basic_publish(body, routing_key=name, properties=properties)

        yield put
        await connection.close()

    return Feed(server, rabbitmq(name, declare=True), {"rabbitmq_url": server.url()}, putting)


def of_redis(server: Redis, name: str) -> Feed:
    @asynccontextmanager
    async def putting() -> AsyncGenerator[Put]:
        client: Any = RedisClient.from_url(server.url(), protocol=2)

        async def put(ident: str, body: bytes) -> None:
            await client.xadd(name, {"data": body, "message-id": ident})

        yield put
        await client.aclose()

    return Feed(server, redis_stream(name, group="g"), {"redis_url": server.url()}, putting)


def of_nats(server: Nats, name: str) -> Feed:
    @asynccontextmanager
    async def putting() -> AsyncGenerator[Put]:
        connection = await nats_client.connect(server.url())
        stream = connection.jetstream()
        await stream.add_stream(name=name, subjects=[name])

        async def put(ident: str, body: bytes) -> None:
            await stream.publish(name, body, headers={"Nats-Msg-Id": ident})

        yield put
        await connection.close()

    return Feed(server, nats(name, durable="d"), {"nats_url": server.url()}, putting)


def of_kafka(server: Kafka, name: str) -> Feed:
    servers = server.url().removeprefix("kafka://")

    @asynccontextmanager
    async def putting() -> AsyncGenerator[Put]:
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=servers)
        await admin.start()
        try:
            with contextlib.suppress(TopicAlreadyExistsError):
                await admin.create_topics([NewTopic(name, 3, 1)])
        finally:
            await admin.close()
        producer: Any = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
        await producer.start()

        async def put(ident: str, body: bytes) -> None:
            await producer.send_and_wait(name, body, key=ident.encode())

        yield put
        await producer.stop()

    return Feed(server, kafka(name, group=f"g-{name}"), {"kafka_servers": servers}, putting)


MAKERS: dict[str, Callable[[Any, str], Feed]] = {
    "rabbitmq": of_rabbitmq,
    "redis": of_redis,
    "nats": of_nats,
    "kafka": of_kafka,
}


SLOW = ("kafka", "rabbitmq")  # to start again; `tests/e2e/test_orders.py` kills them by day


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.nightly] * (name in SLOW)) for name in sorted(MAKERS)])
def feed(request: pytest.FixtureRequest) -> Feed:
    """Of each broker in turn."""
    return MAKERS[request.param](request.getfixturevalue(request.param), f"orders{secrets.token_hex(4)}")


class Order(BaseModel):
    """What is sent."""

    number: int


@pytest.fixture
async def hr(tmp_path: Path, feed: Feed) -> AsyncGenerator[Headrace]:
    """One on a SQLite file, that knows the broker."""
    made = Headrace(settings=Settings(store=f"sqlite:///{tmp_path}/jobs.db", grace_s=1.0, poll_s=0.1, **feed.settings))
    yield made
    await made.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - a broker's own time
            await asyncio.sleep(0.05)


async def put_all(feed: Feed, numbers: Iterable[int]) -> None:
    async with feed.putting() as put:
        for number in numbers:
            await put(f"m{number}", json.dumps({"number": number}).encode())


async def test_each_message_is_a_job_once_though_its_broker_is_killed(hr: Headrace, feed: Feed) -> None:
    """One that does not fit is a letter, and the worker runs other jobs while there is no broker."""
    ran: Counter[int] = Counter()

    @hr.on(feed.address)
    async def take(ctx: JobContext, order: Order, message: Message | None = None) -> None:
        assert message is not None
        ran[order.number] += 1

    @hr.task()
    async def other(ctx: JobContext) -> str:
        return "done"

    await put_all(feed, range(100))
    async with feed.putting() as put:
        await put("poison", b"\xff no JSON")
    async with hr.embedded(1):
        await until(lambda: len(ran) == 100)
        await asyncio.to_thread(feed.server.kill)
        try:
            assert await (await other.enqueue()).result(timeout=DEADLINE_S) == "done"
            await until(lambda: any(health.why for health in hr.services.sources.health.values()))
        finally:
            await asyncio.to_thread(feed.server.start)
        await put_all(feed, range(100, 200))
        await until(lambda: len(ran) == 200)
        (status,) = await hr.source_status()
        assert status.counts.unnamed == 0, "each of them can be told from a repeat"
    assert ran == Counter(range(200))
    found = (await hr.store.find(JobFilter(task="take"), limit=500)).jobs
    assert len(found) == 201
    (letter,) = [job for job in found if job.tags == ("letter",)]
    assert letter.failure is not None
    assert "not UTF-8" in letter.failure.message
    assert isinstance(hr.store, Post)
    kept = await hr.store.letter(letter.id)
    assert kept is not None
    assert kept.body == b"\xff no JSON"
