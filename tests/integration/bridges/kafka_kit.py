"""A bare client of Kafka."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from headrace.core.broker import Broker, broker
from headrace.testing.conformance import Found
from servers.kafka import Kafka

aiokafka: Any = import_module("aiokafka")
admins: Any = import_module("aiokafka.admin")
records_util: Any = import_module("aiokafka.record.util")
BIG = 60_000_000
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # of what the bare client does


@dataclass(frozen=True)
class Topic:
    """As an address of an app has it."""

    topic: str
    group: str | None = "group"
    start: str = "earliest"


def broker_of(server: Kafka, url: str | None = None) -> Broker:
    return broker(url or server.url(), "HEADRACE_KAFKA_SERVERS")


async def started(client: Any) -> Any:
    """As soon as the server lets it."""
    async with asyncio.timeout(20):
        while True:
            try:
                await client.start()
            except (aiokafka.errors.KafkaError, OSError):
                await asyncio.sleep(0.1)
            else:
                return client


@asynccontextmanager
async def admin(server: Kafka) -> AsyncGenerator[Any, None]:
    client = await started(admins.AIOKafkaAdminClient(bootstrap_servers=server.bootstrap))
    try:
        yield client
    finally:
        await client.close()


async def new_topic(server: Kafka, parts: int = 1, name: str | None = None, **configs: object) -> str:
    name = name or f"topic-{secrets.token_hex(4)}"
    wanted = {key.replace("_", "."): str(value) for key, value in configs.items()}
    async with admin(server) as client:
        while True:  # one of that name may still be on its way out
            answer = await client.create_topics([admins.NewTopic(name, parts, 1, topic_configs=wanted)])
            if not any(error[1] for error in answer.topic_errors):
                break
            await asyncio.sleep(0.1)
        while name not in await client.list_topics():  # noqa: ASYNC110 - the broker is asked
            await asyncio.sleep(0.01)
        return name


async def delete_topic(server: Kafka, name: str) -> None:
    async with admin(server) as client:
        await client.delete_topics([name])


async def delete_before(server: Kafka, topic: str, place: int, part: int = 0) -> None:
    async with admin(server) as client:
        await client.delete_records({aiokafka.TopicPartition(topic, part): admins.RecordsToDelete(place)})


async def produce(
    server: Kafka,
    topic: str,
    bodies: Sequence[bytes | None],
    *,
    key: str | bytes | None = "key",
    headers: Sequence[tuple[str, bytes]] = (),
    part: int | None = None,
    transaction: str | None = None,
    compression: str | None = None,
    at_ms: int | None = None,
) -> None:
    """In order, and all of them there; with a `transaction`, in one that is `commit`ted or `abort`ed."""
    producer = await started(
        aiokafka.AIOKafkaProducer(
            bootstrap_servers=server.bootstrap,
            linger_ms=2,
            max_request_size=BIG,
            compression_type=compression,
            transactional_id=secrets.token_hex(4) if transaction else None,
        )
    )
    key = key.encode() if isinstance(key, str) else key
    try:
        if transaction:
            await producer.begin_transaction()
        sent = [await producer.send(topic, body, key, part, at_ms, headers=list(headers)) for body in bodies]
        await asyncio.gather(*sent)
        if transaction:
            await (producer.commit_transaction() if transaction == "commit" else producer.abort_transaction())
    finally:
        await producer.stop()


async def produce_raw(server: Kafka, topic: str, name: bytes) -> None:
    """One record with a header of this name, whatever bytes that is."""
    producer = await started(aiokafka.AIOKafkaProducer(bootstrap_servers=server.bootstrap))
    try:
        builder = producer.create_batch()
        builder.append(timestamp=None, key=None, value=b"raw", headers=[("?" * len(name), b"")])
        batch = bytearray(builder._build().replace(b"?" * len(name), name))
        batch[17:21] = records_util.calc_crc32c(memoryview(batch)[21:]).to_bytes(4, "big")
        builder._buffer = bytes(batch)
        await (await producer.send_batch(builder, topic, partition=0))
    finally:
        await producer.stop()


async def read_all(server: Kafka, topic: str) -> list[Found]:
    return [
        Found(
            record.value,
            _header(record, "message-id"),
            {name: value.decode() for name, value in record.headers},
            _header(record, "content-type"),
        )
        for record in await records(server, topic)
    ]


async def records(server: Kafka, topic: str) -> list[Any]:
    """All that a topic has, one part after another."""
    consumer = await started(aiokafka.AIOKafkaConsumer(bootstrap_servers=server.bootstrap, enable_auto_commit=False))
    try:
        every = await consumer._client._wait_on_metadata(topic)
        parts = [aiokafka.TopicPartition(topic, part) for part in sorted(every)]
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        ends = await consumer.end_offsets(parts)
        found: dict[Any, list[Any]] = {part: [] for part in parts}
        async with asyncio.timeout(20):
            while any([await consumer.position(part) < ends[part] for part in parts]):
                for part, more in (await consumer.getmany(timeout_ms=200)).items():
                    found[part] += more
        return [record for part in parts for record in found[part]]
    finally:
        await consumer.stop()


def _header(record: Any, name: str) -> str | None:
    return next((value.decode() for found, value in record.headers if found == name), None)


def as_headers(headers: Mapping[str, str] | None, content_type: str | None) -> list[tuple[str, bytes]]:
    found = [(name, value.encode()) for name, value in (headers or {}).items()]
    return found if content_type is None else [*found, ("content-type", content_type.encode())]
