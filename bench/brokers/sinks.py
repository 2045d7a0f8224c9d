"""How many events a second go out of an outbox on PostgreSQL, confirmed by each broker, beside its bare client.

The outbox is filled first; then one relay empties it, as a worker does. The bare client sends the same bytes with the
same headers, and waits for the same confirmations.

    python -m bench.brokers.sinks [BROKER…] [--events N]
"""

import argparse
import asyncio
import gc
import json
import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from typing import Any, Final

import aiormq
import nats
import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pamqp.commands import Basic
from redis.asyncio import Redis as Client

from headrace.app.adapters import KeepingStore, adapters
from headrace.app.brokers import Brokers
from headrace.core.event import Event, Head, routed
from headrace.ports.bridge import Sink
from headrace.ports.observer import Silent
from headrace.ports.post import Post
from headrace.runtime.clock import SystemClock
from headrace.runtime.relay import Relay
from headrace.settings import Settings
from servers.kafka import Kafka
from servers.nats import Nats
from servers.postgres import Postgres
from servers.rabbitmq import RabbitMQ
from servers.redis import Redis
from servers.server import Server

KINDS: Final = ("rabbitmq", "nats", "redis", "kafka")
PLACE: Final = "bench"
PARTS: Final = 8
BODY: Final = json.dumps({"order": 123_456, "customer": "c-42", "note": "x" * 50}).encode()
HEADERS: Final = {
    "ce_specversion": "1.0",
    "ce_id": "01a21d75-b53e-7029-97ce-1235e076ce29",
    "ce_source": "bench",
    "ce_type": "bench.sent",
    "ce_time": "2026-11-27T14:43:03.102Z",
    "content-type": "application/json",
}
KEYS: Final = 1_000
WINDOW: Final = {"rabbitmq": 500, "nats": 1_000, "redis": 2_000, "kafka": 2_000}
EVENTS: Final = {"rabbitmq": 20_000, "nats": 100_000, "redis": 100_000, "kafka": 100_000}


def make(kind: str) -> Server:
    match kind:
        case "rabbitmq":
            return RabbitMQ()
        case "nats":
            return Nats()
        case "redis":
            return Redis()
        case _:
            return Kafka(java_options=())


def sink_of(kind: str, url: str) -> Sink:
    field = {"rabbitmq": "rabbitmq_url", "nats": "nats_url", "redis": "redis_url", "kafka": "kafka_servers"}[kind]
    sink = Brokers(Settings(store="memory://", **{field: url})).sink(kind)  # type: ignore[arg-type]
    assert sink is not None
    return sink


def event(kind: str, key: str | None) -> Event:
    target = routed("", PLACE) if kind == "rabbitmq" else PLACE
    return Event(os.urandom(16), kind, target, key, Head(HEADERS).text(), BODY)


# -- the bare clients -----------------------------------------------------------------------------


async def prepare(kind: str, url: str) -> None:
    """Make the place that events go to."""
    match kind:
        case "rabbitmq":
            connection = await aiormq.connect(url)
            await (await connection.channel()).queue_declare(PLACE, durable=True)
            await connection.close()
        case "nats":
            client = await nats.connect(url)
            await client.jetstream().add_stream(name=PLACE, subjects=[PLACE])
            await client.close()
        case "kafka":
            admin: Any = AIOKafkaAdminClient(bootstrap_servers=url.removeprefix("kafka://"))
            await admin.start()
            await admin.create_topics([NewTopic(PLACE, PARTS, 1)])
            await admin.close()
        case _:
            pass


async def bare(kind: str, url: str, count: int) -> float:
    """Events a second."""
    senders: dict[str, Callable[[str, int], Awaitable[float]]] = {
        "rabbitmq": bare_rabbitmq,
        "nats": bare_nats,
        "redis": bare_redis,
        "kafka": bare_kafka,
    }
    return count / await senders[kind](url, count)


async def bare_rabbitmq(url: str, count: int) -> float:
    connection = await aiormq.connect(url)
    channel = await connection.channel(publisher_confirms=True)
    room = asyncio.Semaphore(WINDOW["rabbitmq"])
    began = time.perf_counter()

    async def one(number: int) -> None:
        async with room:
            properties = Basic.Properties(message_id=f"{number:032x}", delivery_mode=2, headers=dict(HEADERS))
            await channel.basic_publish(BODY, routing_key=PLACE, properties=properties, mandatory=True, wait=False)

    await asyncio.gather(*(one(number) for number in range(count)))
    took_s = time.perf_counter() - began
    await connection.close()
    return took_s


async def bare_nats(url: str, count: int) -> float:
    client = await nats.connect(url, pending_size=-1)
    stream = client.jetstream(publish_async_max_pending=WINDOW["nats"])
    began = time.perf_counter()
    ends = [
        await stream.publish_async(PLACE, BODY, headers={**HEADERS, "Nats-Msg-Id": f"{began}-{number}"})
        for number in range(count)
    ]
    await asyncio.gather(*ends)
    took_s = time.perf_counter() - began
    await client.close()
    return took_s


async def bare_redis(url: str, count: int) -> float:
    client: Any = Client.from_url(url, protocol=2)
    await client.ping()
    fields = [each for pair in HEADERS.items() for each in pair]
    began = time.perf_counter()
    for first in range(0, count, WINDOW["redis"]):
        pipe: Any = client.pipeline(transaction=False)
        for number in range(first, min(first + WINDOW["redis"], count)):
            pipe.execute_command("XADD", PLACE, "*", *fields, "message-id", f"{number:032x}", "data", BODY)
        await pipe.execute()
    took_s = time.perf_counter() - began
    await client.aclose()
    return took_s


async def bare_kafka(url: str, count: int) -> float:
    producer = await kafka_producer(url)
    headers = [(name, value.encode()) for name, value in HEADERS.items()]
    began = time.perf_counter()
    await asyncio.gather(*[await producer.send(PLACE, BODY, headers=headers) for _ in range(count)])
    took_s = time.perf_counter() - began
    await producer.stop()
    return took_s


async def bare_kafka_batches(url: str, count: int) -> float:
    """Whole batches, one confirmation for each: the most that the client can do."""
    producer = await kafka_producer(url)
    headers = [(name, value.encode()) for name, value in HEADERS.items()]
    began = time.perf_counter()
    ends: list[Any] = []
    for number in range(0, count, WINDOW["kafka"]):
        batch = producer.create_batch()
        for _ in range(min(WINDOW["kafka"], count - number)):
            if batch.append(timestamp=None, key=None, value=BODY, headers=headers) is None:
                ends.append(await producer.send_batch(batch, PLACE, partition=len(ends) % PARTS))
                batch = producer.create_batch()
                batch.append(timestamp=None, key=None, value=BODY, headers=headers)
        ends.append(await producer.send_batch(batch, PLACE, partition=len(ends) % PARTS))
    await asyncio.gather(*ends)
    took_s = time.perf_counter() - began
    await producer.stop()
    return took_s


async def kafka_producer(url: str) -> Any:
    servers = url.removeprefix("kafka://")
    producer: Any = AIOKafkaProducer(
        bootstrap_servers=servers, enable_idempotence=True, acks="all", max_batch_size=256 << 10
    )
    await producer.start()
    return producer


# -- the relay --------------------------------------------------------------------------------------


class Counting(Silent):
    """Knows when all have left the outbox."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.all = asyncio.Event()

    def sent(self, sink: str, counts: Mapping[str, int]) -> None:
        del sink
        self.left -= counts["sent"]
        if self.left <= 0:
            self.all.set()


async def relayed(kind: str, url: str, store_url: str, count: int, *, keyed: bool) -> float:
    """Events a second, from the first look at a full outbox to an empty one."""
    clock = SystemClock()
    store: KeepingStore
    store, _ = adapters(Settings(store=store_url), clock, moved=False)
    await store.open()
    assert isinstance(store, Post)
    for first in range(0, count, 1_000):
        numbers = range(first, min(first + 1_000, count))
        await store.publish([event(kind, f"k{number % KEYS}" if keyed else None) for number in numbers])
    counting = Counting(count)
    relay = Relay(kind, sink_of(kind, url), store, clock, random.Random(1), doer="bench", observer=counting)
    began = time.perf_counter()
    running = asyncio.ensure_future(relay.run())
    relay.call()
    await counting.all.wait()
    took_s = time.perf_counter() - began
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await store.close()
    return count / took_s


def measure(kind: str, count: int, times: int = 3) -> dict[str, float]:
    """Flat keys of one broker: medians, taken by turns."""
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres())
        url = stack.enter_context(make(kind)).url()
        run(prepare(kind, url))
        rates = defaultdict[str, list[float]](list)
        for _ in range(times):
            rates["bare"].append(run(bare(kind, url, count)))
            if kind == "kafka":
                rates["batches"].append(count / run(bare_kafka_batches(url, count)))
            for name in ("plain", "keyed"):
                database = postgres.create_database()
                rates[name].append(run(relayed(kind, url, database, count, keyed=name == "keyed")))
                postgres.drop_database(database)
    median = {name: statistics.median(found) for name, found in rates.items()}
    found = {f"{kind}.client_batches_per_s": round(median["batches"])} if "batches" in median else {}
    return found | {
        f"{kind}.client_send_per_s": round(median["bare"]),
        f"{kind}.sink_per_s": round(median["plain"]),
        f"{kind}.sink_keyed_per_s": round(median["keyed"]),
        f"{kind}.sink_to_raw": round(median["plain"] / median["bare"], 3),
    }


def run(work: Any) -> Any:
    gc.set_threshold(10_000)  # as a worker has it
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.brokers.sinks")
    parser.add_argument("brokers", nargs="*", choices=[*KINDS, []], default=[])
    parser.add_argument("--events", type=int, help="how many; by default 20,000 for RabbitMQ, 100,000 for the others")
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    for kind in given.brokers or KINDS:
        for name, value in measure(kind, given.events or EVENTS[kind], given.times).items():
            print(f"{name:<28}{value:>12}", flush=True)


if __name__ == "__main__":
    main()
