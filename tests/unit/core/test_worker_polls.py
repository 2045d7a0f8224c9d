"""How often a worker looks by itself: often, and rarely while hints are known to arrive."""

from collections.abc import Iterator

import pytest

from headrace.core.model import Exchanged
from headrace.core.worker import WorkerCore
from headrace.core.worker_events import (
    Exchange,
    ExchangeAnswered,
    HintsHeard,
    PoolSettings,
    Promote,
    Promoted,
    Woken,
    WorkerSettings,
)
from tests.unit.core.test_worker import job

POOLS = {"async": PoolSettings(frozenset({"charge"}), 4)}


def core(**settings: object) -> WorkerCore:
    worker = WorkerCore(WorkerSettings(POOLS, **settings), 0.0)  # type: ignore[arg-type]
    answer(worker, worker.handle(Woken(), 0.0), 0.0)
    return worker


def answer(worker: WorkerCore, effects: list[object], now: float, answered: Exchanged | None = None) -> int:
    """Answer every exchange with nothing, or the first with this; how many claims there were."""
    claims = 0
    while effects:
        effect = effects.pop(0)
        if isinstance(effect, Exchange):
            claims += effect.claim is not None
            effects += worker.handle(ExchangeAnswered(effect.token, answered or Exchanged((), (), None, False)), now)
            answered = None
        elif isinstance(effect, Promote):
            effects += worker.handle(Promoted(0, None), now)
    return claims


def polls(worker: WorkerCore, until: float) -> Iterator[float]:
    """The times at which it claims by itself."""
    while (now := worker.next_deadline()) <= until:
        if answer(worker, worker.handle_timeout(now), now):
            yield now


def test_without_hints_it_looks_once_an_interval() -> None:
    assert list(polls(core(poll_s=1.0), 5.0)) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_while_hints_are_heard_it_looks_ever_more_rarely_down_to_a_bound() -> None:
    worker = core(poll_s=1.0, poll_max_s=10.0, poll_growth=2.0)
    assert worker.handle(HintsHeard(True), 0.0) == []
    assert list(polls(worker, 50.0)) == [1.0, 3.0, 7.0, 15.0, 25.0, 35.0, 45.0]


@pytest.mark.parametrize("news", [Woken(suspects=False), HintsHeard(False)])
def test_what_may_bring_work_brings_the_next_look_near(news: Woken | HintsHeard) -> None:
    worker = core(poll_s=1.0, poll_max_s=100.0)
    worker.handle(HintsHeard(True), 0.0)
    assert list(polls(worker, 31.0)) == [1.0, 3.0, 7.0, 15.0, 31.0]
    answer(worker, worker.handle(news, 40.0), 40.0)
    following = [41.0, 43.0] if isinstance(news, Woken) else [41.0, 42.0, 43.0]
    assert list(polls(worker, 43.5)) == following


def test_work_brings_the_next_look_near() -> None:
    worker = core(poll_s=1.0, poll_max_s=100.0)
    worker.handle(HintsHeard(True), 0.0)
    assert list(polls(worker, 15.0)) == [1.0, 3.0, 7.0, 15.0]
    effects = worker.handle_timeout(31.0)
    answer(worker, effects, 31.0, Exchanged((), (job(1),), None, False))
    assert worker.next_deadline() == 32.0


@pytest.mark.parametrize("suspects", [True, None])
def test_whoever_looks_for_suspects_looks_often_for_hints_do_not_tell_of_them(suspects: bool | None) -> None:
    worker = core(poll_s=1.0, suspects=suspects)
    answer(worker, worker.handle(HintsHeard(True), 0.0), 0.0)
    assert list(polls(worker, 3.0)) == [1.0, 2.0, 3.0]


def test_a_longest_interval_below_the_usual_one_changes_nothing() -> None:
    worker = core(poll_s=5.0, poll_max_s=1.0)
    worker.handle(HintsHeard(True), 0.0)
    assert list(polls(worker, 15.0)) == [5.0, 10.0, 15.0]
