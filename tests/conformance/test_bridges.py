"""Bridges that need no server against the public suites; those that do: tests/integration/bridges."""

import itertools
from collections.abc import Mapping, Sequence

import pytest

from headrace.bridges.memory import MemoryBroker
from headrace.testing.conformance import (
    BookmarkedSourceConformance,
    BridgeSinkConformance,
    BridgeSourceConformance,
    Found,
    MakeSink,
    MakeSource,
    OrderedSourceConformance,
    Put,
    Read,
)
from headrace.testing.conformance.bridge_base import MIB


@pytest.fixture
def broker() -> MemoryBroker:
    broker = MemoryBroker()
    broker.topic("topic", parts=2)
    broker.queue("queue")
    return broker


def puts(broker: MemoryBroker, target: str) -> Put:
    ids = itertools.count()

    async def put(
        bodies: Sequence[bytes],
        *,
        key: str = "key",
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> None:
        for body in bodies:
            broker.put(target, body, key=key, id=str(next(ids)), headers=headers, content_type=content_type)

    return put


class TestQueue(BridgeSourceConformance):
    @pytest.fixture
    def make_source(self, broker: MemoryBroker) -> MakeSource:
        return lambda: broker.source("memory:queue", "queue")

    @pytest.fixture
    def put(self, broker: MemoryBroker) -> Put:
        return puts(broker, "queue")


class TestOrderedQueue(OrderedSourceConformance):
    @pytest.fixture
    def make_source(self, broker: MemoryBroker) -> MakeSource:
        return lambda: broker.source("memory:queue", "queue", alone=True)

    @pytest.fixture
    def put(self, broker: MemoryBroker) -> Put:
        return puts(broker, "queue")


class TestTopic(BookmarkedSourceConformance):
    @pytest.fixture
    def make_source(self, broker: MemoryBroker) -> MakeSource:
        return lambda: broker.source("memory:topic", "topic", "group")

    @pytest.fixture
    def put(self, broker: MemoryBroker) -> Put:
        return puts(broker, "topic")


class TestSink(BridgeSinkConformance):
    nowhere = "nowhere"
    body_bytes_max = MIB

    @pytest.fixture
    def make_sink(self, broker: MemoryBroker) -> MakeSink:
        return broker.sink

    @pytest.fixture
    def target(self) -> str:
        return "queue"

    @pytest.fixture
    def read(self, broker: MemoryBroker) -> Read:
        async def read(target: str) -> list[Found]:
            return [Found(each.body, each.id, each.headers, each.content_type) for each in broker.queues[target]]

        return read
