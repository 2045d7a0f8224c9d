"""Kafka as a source and as a sink: the public suites."""

from collections.abc import Mapping, Sequence

import pytest

from headrace.bridges.kafka import KafkaSink, KafkaSource, link, source
from headrace.testing.conformance import (
    BookmarkedSourceConformance,
    BridgeSinkConformance,
    Found,
    MakeSink,
    MakeSource,
    Outage,
    Put,
    Read,
    ServedSinkConformance,
    ServedSourceConformance,
)
from headrace.testing.conformance.bridge_base import MIB
from servers.kafka import Kafka
from tests.integration.bridges.kafka_kit import Topic, as_headers, broker_of, new_topic, produce, read_all
from tests.integration.notifiers.outage import ServerOutage

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for on a network, sooner."""
    monkeypatch.setattr(source, "SESSION_MS", 1_500)
    monkeypatch.setattr(source, "HEARTBEAT_MS", 200)
    monkeypatch.setattr(link, "LOOK_S", 0.5)
    monkeypatch.setattr(link, "OUTAGE_S", 0.5)


@pytest.fixture
def outage(kafka: Kafka) -> Outage:
    return ServerOutage(kafka)


@pytest.fixture
async def topic(kafka: Kafka) -> str:
    return await new_topic(kafka, 2)


class TestSource(ServedSourceConformance, BookmarkedSourceConformance):
    names_messages = False

    @pytest.fixture
    def make_source(self, kafka: Kafka, topic: str) -> MakeSource:
        return lambda: KafkaSource(broker_of(kafka), Topic(topic, topic), f"kafka:{topic}:group")

    @pytest.fixture
    def put(self, kafka: Kafka, topic: str) -> Put:
        async def put(
            bodies: Sequence[bytes],
            *,
            key: str = "key",
            headers: Mapping[str, str] | None = None,
            content_type: str | None = None,
        ) -> None:
            await produce(kafka, topic, bodies, key=key, headers=as_headers(headers, content_type))

        return put


class TestSink(ServedSinkConformance, BridgeSinkConformance):
    nowhere = "nowhere"
    body_bytes_max = MIB

    @pytest.fixture
    def make_sink(self, kafka: Kafka) -> MakeSink:
        return lambda: KafkaSink(broker_of(kafka))

    @pytest.fixture
    async def target(self, kafka: Kafka) -> str:
        return await new_topic(kafka, max_message_bytes=MIB)

    @pytest.fixture
    def read(self, kafka: Kafka) -> Read:
        async def read(target: str) -> list[Found]:
            return await read_all(kafka, target)

        return read
