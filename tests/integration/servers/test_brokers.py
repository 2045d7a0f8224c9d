"""The brokers that tests run on: what they acknowledged outlives a SIGKILL, and they leave nothing behind."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
import nats
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from redis.asyncio import Redis as RedisClient

from servers.kafka import Kafka
from servers.nats import Nats
from servers.rabbitmq import SETTLED_S, RabbitMQ
from servers.redis import Redis
from servers.server import ROOT, Server

OWNER = """
import sys
from servers.{module} import {name}
server = {name}()
print(server.directory, *server.processes(), flush=True)
sys.stdin.read()
"""
SENT = 50


@dataclass
class Line:
    """What a client does with numbers: `send` returns when one is acknowledged, `read` returns those that are there."""

    send: Callable[[int], Awaitable[object]]
    read: Callable[[], Awaitable[list[int]]]


@asynccontextmanager
async def of_redis(server: Redis) -> AsyncIterator[Line]:
    async with RedisClient.from_url(server.url(), protocol=2, socket_timeout=5) as client:

        async def read() -> list[int]:
            return [int(entry[b"n"]) for _, entry in await client.xrange("numbers")]

        yield Line(lambda n: client.xadd("numbers", {"n": n}), read)


@asynccontextmanager
async def of_nats(server: Nats) -> AsyncIterator[Line]:
    async def quiet(error: Exception) -> None: ...

    client = await nats.connect(server.url(), allow_reconnect=False, error_cb=quiet)
    stream = client.jetstream()
    await stream.add_stream(name="numbers", subjects=["numbers"])

    async def read() -> list[int]:
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL)
        there = await stream.pull_subscribe("numbers", stream="numbers", config=config)
        count = (await stream.stream_info("numbers")).state.messages
        found: list[int] = []
        while len(found) < count:
            found += [int(message.data) for message in await there.fetch(count - len(found))]
        return found

    try:
        yield Line(lambda n: stream.publish("numbers", b"%d" % n), read)
    finally:
        await client.close()


@asynccontextmanager
async def of_rabbitmq(server: RabbitMQ) -> AsyncIterator[Line]:
    connection = await aio_pika.connect(server.url())
    channel = await connection.channel()
    queue = await channel.declare_queue("numbers", durable=True)
    await asyncio.sleep(SETTLED_S)

    async def read() -> list[int]:
        found: list[int] = []
        while (message := await queue.get(fail=False, no_ack=True)) is not None:
            found.append(int(message.body))
        return found

    def send(n: int) -> Awaitable[object]:
        message = aio_pika.Message(b"%d" % n, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        return channel.default_exchange.publish(message, routing_key="numbers")

    try:
        yield Line(send, read)
    finally:
        with suppress(Exception):  # it may be gone
            await connection.close()


@asynccontextmanager
async def of_kafka(server: Kafka) -> AsyncIterator[Line]:
    admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap)
    await admin.start()
    if "numbers" not in await admin.list_topics():
        await admin.create_topics([NewTopic("numbers", 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=server.bootstrap, acks="all")
    await producer.start()

    async def read() -> list[int]:
        place = TopicPartition("numbers", 0)
        consumer = AIOKafkaConsumer(bootstrap_servers=server.bootstrap)
        await consumer.start()
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        found: list[int] = []
        while await consumer.position(place) < end:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                found += [int(record.value) for record in records]
        await consumer.stop()
        return found

    try:
        yield Line(lambda n: producer.send_and_wait("numbers", b"%d" % n), read)
    finally:
        await producer.stop()


@dataclass
class Kind:
    """One of the brokers: its server, its session fixture, its client."""

    make: type[Server]
    client: Callable[[Any], AbstractAsyncContextManager[Line]]

    @property
    def module(self) -> str:
        return self.make.__module__.rpartition(".")[2]


KINDS = [Kind(Redis, of_redis), Kind(Nats, of_nats), Kind(RabbitMQ, of_rabbitmq), Kind(Kafka, of_kafka)]
SLOW = ("kafka", "rabbitmq")  # to start again
each_kind = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.nightly] * (kind.module in SLOW)) for kind in KINDS],
    ids=lambda kind: kind.module,
)


def alive(pid: int) -> bool:
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return shown.strip()[:1] not in ("", "Z")


def user_of(pid: int) -> str:
    return subprocess.run(
        ["ps", "-o", "user=", "-p", str(pid)], capture_output=True, text=True, check=True
    ).stdout.strip()


async def killed_under_load(server: Server, line: Line) -> list[int]:
    """Send numbers, kill the server meanwhile; those it had acknowledged."""
    acknowledged: list[int] = []
    enough = asyncio.Event()

    async def send() -> None:
        for n in itertools.count():
            await line.send(n)
            acknowledged.append(n)
            if n == SENT:
                enough.set()

    sending = asyncio.create_task(send())
    await asyncio.wait_for(enough.wait(), 60)
    await asyncio.to_thread(server.kill)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    return acknowledged


@each_kind
async def test_a_kill_keeps_the_port_and_what_was_acknowledged(
    kind: Kind, own: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    other, server = request.getfixturevalue(kind.module), own(kind.make)
    port, members = server.port, server.processes()
    assert other.port != port
    assert server.pid in members
    assert all(user_of(pid) != "root" for pid in members)
    async with kind.client(server) as line:
        acknowledged = await killed_under_load(server, line)
        assert (server.pid, server.processes()) == (None, [])
        assert not any(alive(pid) for pid in members)
        server.start()
    assert server.port == port
    async with kind.client(server) as line:
        lost = set(acknowledged) - set(await line.read())
        assert lost == set()
    async with kind.client(other) as line:
        assert await line.read() == []
    members = server.processes()
    server.down()
    server.stop()
    server.stop()
    assert not any(alive(pid) for pid in members)
    assert not server.directory.exists()


@each_kind
def test_it_ends_with_its_owner(kind: Kind, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(kind.module)
    program = OWNER.format(module=kind.module, name=kind.make.__name__)
    owner = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    directory, *pids = owner.stdout.readline().split()
    assert pids
    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate(timeout=30)
    deadline = time.monotonic() + 40
    while any(alive(int(pid)) for pid in pids) or Path(directory).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
