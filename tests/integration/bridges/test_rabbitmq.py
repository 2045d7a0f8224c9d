"""RabbitMQ as a source and as a sink: the public suites."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest

from headrace.bridges.rabbitmq import RabbitmqSink, RabbitmqSource, connection
from headrace.core.event import routed
from headrace.testing.conformance import (
    BridgeSinkConformance,
    BridgeSourceConformance,
    Found,
    MakeSink,
    MakeSource,
    OrderedSourceConformance,
    Outage,
    Put,
    Read,
    ServedSinkConformance,
    ServedSourceConformance,
)
from headrace.testing.conformance.bridge_base import PATIENCE_S, Desk, fetched, numbered, opened
from headrace.testing.conformance.bridge_sink import outgoing, sent
from servers.rabbitmq import SETTLED_S, RabbitMQ
from tests.integration.bridges.rabbitmq_kit import Queue, bare, broker_of, new_queue, publish, read_all
from tests.integration.notifiers.outage import ServerOutage

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def queue(rabbitmq: RabbitMQ) -> AsyncIterator[str]:
    name = await new_queue(rabbitmq)
    yield name
    async with bare(rabbitmq) as channel:
        await channel.queue_delete(name)


@pytest.fixture
async def outage(rabbitmq: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch) -> Outage:
    del queue
    await asyncio.sleep(SETTLED_S)
    for name in ("CONNECT_S", "ANSWER_S"):  # it is not worth the time to wait for longer
        monkeypatch.setattr(connection, name, 2.0)
    return ServerOutage(rabbitmq)


@pytest.fixture
def make_source(rabbitmq: RabbitMQ, queue: str) -> MakeSource:
    return lambda: RabbitmqSource(broker_of(rabbitmq), Queue(queue), f"rabbitmq:{queue}")


@pytest.fixture
def put(rabbitmq: RabbitMQ, queue: str) -> Put:
    async def put(
        bodies: Sequence[bytes],
        *,
        key: str = "key",
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> None:
        await publish(rabbitmq, queue, bodies, headers=headers, content_type=content_type)

    return put


class TestSource(ServedSourceConformance, BridgeSourceConformance):
    pass


class TestOrderedSource(OrderedSourceConformance):
    @pytest.fixture
    def make_source(self, rabbitmq: RabbitMQ, queue: str) -> MakeSource:
        return lambda: RabbitmqSource(broker_of(rabbitmq), Queue(queue), f"rabbitmq:{queue}", ordered=True)


class TestSink(ServedSinkConformance, BridgeSinkConformance):
    nowhere = routed("", "nowhere")

    @pytest.fixture
    def make_sink(self, rabbitmq: RabbitMQ) -> MakeSink:
        return lambda: RabbitmqSink(broker_of(rabbitmq))

    @pytest.fixture
    def target(self, queue: str) -> str:
        return routed("", queue)

    @pytest.fixture
    def read(self, rabbitmq: RabbitMQ, queue: str) -> Read:
        async def read(target: str) -> list[Found]:
            assert target == routed("", queue)
            return await read_all(rabbitmq, queue)

        return read


async def test_a_quorum_queue_takes_nothing_for_a_moment_after_a_restart(own: Callable[..., RabbitMQ]) -> None:
    """And what is too large for its server is refused alone, while all others arrive."""
    server = await asyncio.to_thread(own, lambda: RabbitMQ({"max_message_size": "2000000"}))
    name = await new_queue(server, {"x-queue-type": "quorum"})
    target, at = routed("", name), f"amqp://guest:…@127.0.0.1:{server.port}"
    sink, source = RabbitmqSink(broker_of(server)), RabbitmqSource(broker_of(server), Queue(name), "rabbitmq:quorum")
    large = outgoing(target, [b"x" * 3_000_000], first=9)
    why = f"{at} says: message size 3000000 is larger than configured max size 2000000"
    assert (await sent(sink, large)).refused == {9: why}
    told = await sent(sink, [*outgoing(target, numbered(3)), *large, *outgoing(target, numbered(3), first=20)])
    assert told.refused == {9: why}
    async with bare(server) as channel:
        await channel.queue_purge(name)

    events = outgoing(target, numbered(600))
    assert len((await sent(sink, events[:300])).confirmed) == 300
    desk = Desk()
    link = await opened(source, desk)
    await desk.take(link, await fetched(link, 100))
    await asyncio.sleep(1)  # a server that is killed before that forgets who leads a new queue
    restarting = asyncio.create_task(asyncio.to_thread(server.restart))
    left, words = events[300:], set[str]()
    async with asyncio.timeout(PATIENCE_S):
        while left:
            told = await sent(sink, left)
            assert not told.refused
            later = told.unsent | told.deferred
            words |= set(later.values())
            left = [out for out in left if out.place in later]
    await restarting
    assert words
    await link.close()
    link = await opened(source, desk)
    async with asyncio.timeout(PATIENCE_S):
        while not set(desk.bodies) >= set(numbered(600)):
            await desk.take(link, await link.fetch(100, 0.2))
    await link.close()
    await sink.close()
