"""Hints for transactions whose commit nobody tells of, from threads that have no event loop."""

import threading
from collections.abc import Iterator

import pytest

from headrace.stores import joins


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(joins, "RING_AGAIN_S", (0.01, 0.03))
    yield
    for thread in ringers():
        thread.join(10)


def ringers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "headrace-ringer"]


def test_many_writes_are_rung_for_by_one_thread_that_ends() -> None:
    rung = [0] * 100

    def ring(number: int) -> None:
        rung[number] += 1

    for number in range(100):
        joins.ring_soon(lambda number=number: ring(number))
    assert min(rung) >= 1
    (thread,) = ringers()
    thread.join(10)
    assert rung == [3] * 100
    joins.ring_soon(lambda: ring(0))
    for thread in ringers():
        thread.join(10)
    assert rung[0] == 6


def test_a_ring_that_fails_takes_no_other_along(caplog: pytest.LogCaptureFixture) -> None:
    rung: list[int] = []
    told = iter((None, RuntimeError("no"), RuntimeError("no")))

    def broken() -> None:
        if (error := next(told)) is not None:
            raise error

    joins.ring_soon(broken)
    joins.ring_soon(lambda: rung.append(1))
    for thread in ringers():
        thread.join(10)
    assert rung == [1, 1, 1]
    assert caplog.text.count("was not given") == 2
