"""PostgreSQL's LISTEN and NOTIFY against the public suite of notifiers."""

import pytest

from headrace.notifiers import keeper, postgres_line, talk
from headrace.notifiers.postgres import PostgresNotifier
from headrace.testing.conformance import (
    MakeNotifier,
    NotifierSystemConformance,
    Outage,
    ServedNotifierConformance,
    ServedNotifierSystemConformance,
)
from servers.postgres import Postgres
from tests.integration.notifiers.kit import Make
from tests.integration.notifiers.outage import ServerOutage


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes tenths."""
    monkeypatch.setattr(PostgresNotifier, "probe_every_s", 0.1)
    monkeypatch.setattr(postgres_line, "ANSWER_S", 0.3)
    monkeypatch.setattr(keeper, "RETRY_MAX_S", 0.3)
    monkeypatch.setattr(talk, "SAY_S", 0.3)
    monkeypatch.setattr(postgres_line, "CLOSE_S", 0.1)
    monkeypatch.setattr(talk, "ECHO_S", 0.3)


class TestPostgres(ServedNotifierConformance, ServedNotifierSystemConformance):
    @pytest.fixture
    def make_notifier(self, make: Make) -> MakeNotifier:
        return make

    @pytest.fixture
    def make_stranger(self, make: Make) -> MakeNotifier:
        return lambda: make(schema="another")

    @pytest.fixture
    def outage(self, postgres: Postgres) -> Outage:
        return ServerOutage(postgres)


class TestOnItsStore(NotifierSystemConformance):
    @pytest.fixture
    def store(self, postgres_url: str) -> str:
        return postgres_url

    @pytest.fixture
    def make_notifier(self, make: Make) -> MakeNotifier:
        return make
