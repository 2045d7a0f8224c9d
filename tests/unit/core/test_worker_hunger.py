"""When a worker asks for work: nothing that it heard of or left behind may be forgotten."""

from collections.abc import Sequence
from typing import TypeVar

from headrace.core.model import ClaimedJob, Exchanged, Lease, SettleResult, Succeeded, Suspicion
from headrace.core.worker import WorkerCore
from headrace.core.worker_events import (
    DrainAsked,
    Drop,
    Effect,
    Ended,
    Exchange,
    ExchangeAnswered,
    ExchangeFailed,
    PoolSettings,
    Promote,
    Start,
    Woken,
    WorkerSettings,
)

T = TypeVar("T")
NOTHING = Exchanged((), ())


def job(number: int, task: str = "a", *, suspect: Suspicion = Suspicion.NONE) -> ClaimedJob:
    """A claimed job."""
    return ClaimedJob(
        number.to_bytes(16), 1, task, "default", "{}", 1, 0, 0, 0, 3, 60.0, None, (), "", 2, suspect=suspect
    )  # fmt: skip


def core(**changes: object) -> WorkerCore:
    """One slot for task a, two for task t, at time 0."""
    pools = {"async": PoolSettings(frozenset({"a"}), 1), "thread": PoolSettings(frozenset({"t"}), 2)}
    return WorkerCore(WorkerSettings(pools=pools, **changes), 0.0)  # type: ignore[arg-type]


def only(effects: Sequence[Effect], kind: type[T]) -> list[T]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def asked(effects: Sequence[Effect]) -> Exchange:
    """The exchange, which claims."""
    (exchange,) = only(effects, Exchange)
    assert exchange.claim is not None
    return exchange


def tasks(exchange: Exchange) -> set[str]:
    """What it asks for."""
    assert exchange.claim is not None
    return {task for pool in exchange.claim.pools for task in pool.tasks}


def settled(exchange: Exchange, *jobs: ClaimedJob, more: bool = False) -> ExchangeAnswered:
    """Its answer."""
    return ExchangeAnswered(exchange.token, Exchanged((SettleResult.SETTLED,) * len(exchange.settles), jobs, more=more))


def test_a_wake_during_an_exchange_is_not_forgotten_when_its_answer_is_empty() -> None:
    worker = core()
    first = asked(worker.handle(Woken(), 0.0))
    assert worker.handle(Woken(), 0.0) == []
    second = asked(worker.handle(settled(first), 0.0))
    assert worker.handle(settled(second), 0.0) == []


def test_a_full_pool_whose_work_is_left_asks_as_soon_as_a_slot_is_free() -> None:
    worker = core()
    first = asked(worker.handle(Woken(), 0.0))
    second = asked(worker.handle(settled(first, job(1), more=True), 0.0))
    assert tasks(second) == {"t"}
    worker.handle(settled(second), 0.0)  # the other kind has nothing, and that says nothing about this one
    third = asked(worker.handle(Ended(job(1).id, 1, Succeeded()), 0.1))
    assert "a" in tasks(third)


def test_a_pool_of_whose_work_a_part_was_not_looked_at_asks_again_at_once_while_what_came_runs() -> None:
    worker = core()
    first = asked(worker.handle(Woken(), 0.0))
    effects = worker.handle(ExchangeAnswered(first.token, Exchanged((), (job(1, "t"),), again=True)), 0.0)
    assert [start.job.id for start in only(effects, Start)] == [job(1).id]
    second = asked(effects)
    assert tasks(second) == {"a", "t"}
    assert not only(worker.handle(settled(second), 0.0), Exchange)


def test_claims_whose_answer_was_lost_are_given_back_though_every_slot_is_taken() -> None:
    worker = core(answer_s=5.0)
    first = asked(worker.handle(Woken(), 0.0))
    second = asked(worker.handle(settled(first, job(1), job(2, "t"), more=True), 0.0))
    late = worker.handle_timeout(5.0)
    again = asked([*late, *worker.handle_timeout(worker.next_deadline())])
    worker.handle(settled(again, job(3, "t")), 5.2)
    (doubt,) = only(worker.handle(settled(second, job(4, "t")), 5.3), Exchange)
    assert doubt.claim is None
    assert set(doubt.reconcile or ()) == {Lease(job(number).id, 1) for number in (1, 2, 3)}


def test_outcomes_are_settled_alone_when_the_claim_beside_them_is_at_fault() -> None:
    worker = core()
    first = asked(worker.handle(Woken(), 0.0))
    second = asked(worker.handle(settled(first, job(1), more=True), 0.0))
    worker.handle(settled(second), 0.0)
    beside = asked(worker.handle_all([Woken(), Ended(job(1).id, 1, Succeeded())], 0.1))
    assert beside.settles
    effects = worker.handle(ExchangeFailed(beside.token, transient=False), 0.1)
    assert not only(effects, Drop)
    (alone,) = only(effects, Exchange)
    assert (alone.settles, alone.claim) == (beside.settles, None)
    asked(worker.handle(settled(alone), 0.1))


def test_a_promote_that_never_answers_is_asked_again() -> None:
    worker = core(poll_s=1.0, answer_s=5.0)
    first = asked(worker.handle(Woken(), 0.0))
    worker.handle(settled(first), 0.0)
    promotes, now = 0, 0.0
    while now < 10.0:
        now = max(worker.next_deadline(), now + 0.01)
        effects = worker.handle_timeout(now)
        promotes += len(only(effects, Promote))
        for exchange in only(effects, Exchange):
            worker.handle(settled(exchange), now)
    assert promotes == 2


class TestMixed:
    """A worker that runs suspects beside other jobs; of those that run alone one at a time, or two would be blamed."""

    def test_one_at_a_time_of_those_that_run_alone(self) -> None:
        worker = core(suspects=None)
        first = asked(worker.handle(Woken(), 0.0))
        assert first.claim is not None
        assert (first.claim.suspicion, [pool.limit for pool in first.claim.pools]) == ((Suspicion.ALONE,), [1])
        effects = worker.handle(settled(first, job(1, "t", suspect=Suspicion.ALONE), more=True), 0.0)
        assert only(effects, Start)
        second = asked(effects)
        assert second.claim is not None
        assert second.claim.suspicion == (Suspicion.NONE, Suspicion.SHARED)
        worker.handle(settled(second), 0.0)
        third = asked(worker.handle(Woken(), 0.1))
        assert third.claim is not None
        assert third.claim.suspicion == (Suspicion.NONE, Suspicion.SHARED)
        worker.handle(settled(third), 0.1)
        fourth = asked(worker.handle(Ended(job(1).id, 1, Succeeded()), 0.2))
        assert fourth.claim is not None
        assert fourth.claim.suspicion == (Suspicion.ALONE,)

    def test_a_hint_of_new_work_does_not_cost_a_question_for_suspects(self) -> None:
        worker = core(suspects=None)
        first = asked(worker.handle(Woken(), 0.0))
        second = asked(worker.handle(settled(first), 0.0))
        assert worker.handle(settled(second), 0.0) == []
        hinted = asked(worker.handle(Woken(suspects=False), 0.1))
        assert hinted.claim is not None
        assert hinted.claim.suspicion == (Suspicion.NONE, Suspicion.SHARED)


def test_a_back_off_that_is_over_while_the_worker_drains_asks_for_no_more_time() -> None:
    """Else the shell would turn without end, a whole core of it, until the last body has ended."""
    worker = core()
    first = asked(worker.handle(Woken(), 0.0))
    second = asked(worker.handle(settled(first, job(1), more=True), 0.0))
    worker.handle(ExchangeFailed(second.token, transient=True), 0.0)
    worker.handle(DrainAsked(30.0), 0.0)
    while (at := worker.next_deadline()) < 1.0:
        worker.handle_timeout(at)
        assert worker.next_deadline() > at
