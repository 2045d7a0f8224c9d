"""A flaky server, a guard that counts, and an upstream of both."""

from collections.abc import Iterator

import pytest

from headrace import Retry, Upstream
from headrace.runtime import calling_http
from tests.integration.calling.counting import CountingGuard
from tests.integration.calling.flaky import Flaky, Thread


@pytest.fixture
def flaky() -> Iterator[Flaky]:
    with Thread(Flaky()) as served:
        yield served


@pytest.fixture
def guard() -> Iterator[CountingGuard]:
    """Whatever a test does, every permit is ended when it is over."""
    counting = CountingGuard()
    yield counting
    assert counting.under_way == 0


@pytest.fixture
def bank(guard: CountingGuard) -> Upstream:
    return Upstream("bank", guard)


@pytest.fixture(autouse=True)
def _no_long_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is, but a tenth as long."""
    monkeypatch.setattr(calling_http, "BACK_OFF", Retry(initial=0.01, factor=2.0, cap=0.2))
