"""Redis, NATS, RabbitMQ and Kafka as bells, against the public suite of notifiers."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

from headrace.core.broker import broker
from headrace.notifiers import kafka_line, keeper, nats_line, rabbitmq_line, redis_line, talk
from headrace.notifiers.brokers import BrokerNotifier
from headrace.testing.conformance import (
    MakeNotifier,
    Outage,
    ServedNotifierConformance,
    ServedNotifierSystemConformance,
)
from servers.server import Server
from tests.integration.notifiers.outage import ServerOutage


class Served(Protocol):
    def url(self) -> str: ...


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes tenths."""
    monkeypatch.setattr(BrokerNotifier, "probe_every_s", 0.1)
    monkeypatch.setattr(keeper, "RETRY_MAX_S", 0.3)
    monkeypatch.setattr(talk, "SAY_S", 0.3)
    monkeypatch.setattr(talk, "ECHO_S", 0.3)
    for line in (redis_line, nats_line, rabbitmq_line):
        monkeypatch.setattr(line, "CONNECT_S", 1.0)
        monkeypatch.setattr(line, "CLOSE_S", 0.1)
    monkeypatch.setattr(kafka_line, "CONNECT_S", 3.0)
    monkeypatch.setattr(kafka_line, "CLOSE_S", 0.1)


class BrokerConformance(ServedNotifierConformance, ServedNotifierSystemConformance):
    """Each of its classes has a fixture `server`."""

    @pytest.fixture
    async def bells(self, server: Any, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
        made: list[BrokerNotifier] = []

        def new(place: str) -> BrokerNotifier:
            made.append(BrokerNotifier(broker(server.url(), "the broker"), lambda: place))
            return made[-1]

        yield new
        for notifier in made:
            await notifier.stop()

    @pytest.fixture
    def make_notifier(self, bells: Any) -> MakeNotifier:
        return lambda: bells("headrace.one")

    @pytest.fixture
    def make_stranger(self, bells: Any) -> MakeNotifier:
        return lambda: bells("headrace.another")

    @pytest.fixture
    def outage(self, server: Server) -> Outage:
        return ServerOutage(server)


class TestRedis(BrokerConformance):
    @pytest.fixture
    def server(self, redis: Server) -> Server:
        return redis


class TestNats(BrokerConformance):
    @pytest.fixture
    def server(self, nats: Server) -> Server:
        return nats


class TestRabbitMQ(BrokerConformance):
    @pytest.fixture
    def server(self, rabbitmq: Server) -> Server:
        return rabbitmq


class TestKafka(BrokerConformance):
    @pytest.fixture
    def server(self, kafka: Server) -> Server:
        return kafka
