"""How often a worker looks by itself: often, and rarely while hints are known to arrive."""

from collections.abc import Iterator

import pytest

from headrace.core.limits import TaskLimit
from headrace.core.model import Exchanged, SettleResult, Succeeded
from headrace.core.worker import WorkerCore
from headrace.core.worker_events import (
    Ended,
    Exchange,
    ExchangeAnswered,
    HintsHeard,
    PoolSettings,
    Promote,
    Promoted,
    Woken,
    WorkerSettings,
)
from tests.unit.core.test_worker import TASK, job

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


@pytest.mark.parametrize("found", [True, False])
def test_while_hints_are_heard_what_they_bring_about_is_as_good_as_a_look(found: bool) -> None:
    worker = core(poll_s=1.0, poll_max_s=30.0)
    worker.handle(HintsHeard(True), 0.0)
    for step in range(1, 6):
        claimed = (job(step),) if found and step < 5 else ()
        assert answer(worker, worker.handle(Woken(suspects=False), 0.4 * step), 0.4 * step, Exchanged((), claimed)) == 1
    assert list(polls(worker, 5.1)) == pytest.approx([3.0, 5.0])


def test_without_hints_or_with_suspects_to_look_for_a_claim_puts_no_look_off() -> None:
    for settings in ({"suspects": None}, {}):
        worker = core(poll_s=1.0, **settings)
        if settings:
            answer(worker, worker.handle(HintsHeard(True), 0.0), 0.0)
        answer(worker, worker.handle(Woken(), 0.9), 0.9)
        assert worker.next_deadline() == 1.0


def test_a_claim_that_did_not_ask_for_every_pool_is_no_look() -> None:
    both = {"async": PoolSettings(frozenset({TASK}), 4), "thread": PoolSettings(frozenset({"refund"}), 1)}
    worker = WorkerCore(WorkerSettings(both, limits=(TaskLimit(TASK, concurrency=1),)), 0.0)
    answer(worker, worker.handle_all([HintsHeard(True), Woken()], 0.0), 0.0, Exchanged((), (job(1),)))
    for number in range(1, 4):
        ended = worker.handle(Ended(job(number).id, 1, Succeeded()), 0.3 * number)
        answered = Exchanged((SettleResult.SETTLED,), (job(number + 1),))
        assert answer(worker, ended, 0.3 * number, answered) == 1, "of the one kind, for which there is room again"
    assert worker.next_deadline() == 1.0


def test_a_promote_without_an_answer_is_asked_again_though_claims_put_every_look_off() -> None:
    worker = core(poll_s=1.0, answer_s=3.0)
    worker.handle(HintsHeard(True), 0.0)
    asked: list[float] = []
    for step in range(1, 100):
        now = 0.1 * step
        answer(worker, worker.handle(Woken(suspects=False), now), now, Exchanged((), (), 0.0))
        while worker.next_deadline() <= now:
            asked += [now for effect in worker.handle_timeout(now) if isinstance(effect, Promote)]
    assert asked == pytest.approx([0.1, 3.1, 6.2, 9.3], abs=0.15)
