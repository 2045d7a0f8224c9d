"""RabbitMQ as a source and as a sink: the public suites."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from headrace.bridges.rabbitmq import RabbitmqSink, RabbitmqSource
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
from servers.rabbitmq import RabbitMQ
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
def outage(rabbitmq: RabbitMQ) -> Outage:
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


class TestQuorumQueue:
    """What a quorum queue does otherwise: it refuses for a moment after a restart."""

    @pytest.fixture
    async def queue(self, rabbitmq: RabbitMQ) -> AsyncIterator[str]:
        name = await new_queue(rabbitmq, {"x-queue-type": "quorum"})
        await asyncio.sleep(1)  # a server that is killed before that forgets who leads a new queue
        yield name
        async with bare(rabbitmq) as channel:
            await channel.queue_delete(name)

    async def test_it_is_killed_between_source_and_sink(
        self, rabbitmq: RabbitMQ, queue: str, make_source: MakeSource, put: Put, outage: Outage
    ) -> None:
        source, sink = ServedSourceConformance(), ServedSinkConformance()
        await source.test_a_server_that_is_killed_loses_nothing(make_source, put, outage)
        async with bare(rabbitmq) as channel:
            await channel.queue_purge(queue)

        async def read(target: str) -> list[Found]:
            return await read_all(rabbitmq, queue)

        await sink.test_what_was_not_confirmed_is_sent_again_and_nothing_is_lost(
            lambda: RabbitmqSink(broker_of(rabbitmq)), routed("", queue), read, outage
        )
