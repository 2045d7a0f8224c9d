"""What comes late, twice or for nobody changes nothing about what a worker holds."""

from collections.abc import Sequence
from typing import TypeVar

import pytest

from headrace.core.model import (
    ClaimedJob,
    Exchanged,
    Failure,
    GivenBack,
    Lease,
    Retried,
    Settle,
    SettleResult,
    Succeeded,
    Suspicion,
)
from headrace.core.worker import WorkerCore
from headrace.core.worker_events import (
    TOO_LATE,
    CancelAsked,
    DrainAsked,
    Drained,
    Effect,
    Ended,
    Event,
    Exchange,
    ExchangeAnswered,
    ExchangeFailed,
    Idle,
    LeaseGone,
    LeaseHeld,
    PoolSettings,
    Promoted,
    Reconciled,
    Start,
    Stop,
    StopReason,
    Woken,
    WorkerSettings,
)

T = TypeVar("T")
OTHER = (99).to_bytes(16)


def job(number: int, fence: int = 1, timeout_s: float = 60.0) -> ClaimedJob:
    """A claimed job."""
    return ClaimedJob(
        number.to_bytes(16), fence, "work", "default", "{}", 1, 0, 0, 0, 3, timeout_s, None, (), "", 2
    )  # fmt: skip


def only(effects: Sequence[Effect], kind: type[T]) -> list[T]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def answer(exchange: Exchange, *jobs: ClaimedJob, more: bool = False) -> ExchangeAnswered:
    """Its answer: all settled, `jobs` claimed."""
    return ExchangeAnswered(exchange.token, Exchanged((SettleResult.SETTLED,) * len(exchange.settles), jobs, more=more))


def ask(worker: WorkerCore, now: float) -> Exchange:
    """What it asks for when it is woken."""
    (exchange,) = only(worker.handle(Woken(), now), Exchange)
    return exchange


def holding(*jobs: ClaimedJob, slots: int = 1, **changes: float) -> WorkerCore:
    """A worker at time 0 that was given `jobs`; what finds no slot waits."""
    pools = {"async": PoolSettings(frozenset({"work"}), slots, prefetch_max=9)}
    worker = WorkerCore(WorkerSettings(pools=pools, **changes), 0.0)  # type: ignore[arg-type]
    worker.handle(answer(ask(worker, 0.0), *jobs), 0.0)
    return worker


@pytest.mark.parametrize(
    "event",
    [
        Ended(OTHER, 1, Succeeded()),
        Ended(job(1).id, 1, Succeeded()),
        CancelAsked((Lease(OTHER, 1), Lease(job(1).id, 1), Lease(job(2).id, 2))),
        LeaseGone(Lease(OTHER, 1)),
        LeaseGone(Lease(job(1).id, 1)),
        ExchangeFailed(1, transient=True),
        ExchangeFailed(77, transient=False),
        ExchangeAnswered(77, Exchanged((), ())),
    ],
    ids=repr,
)
def test_what_is_about_another_fence_or_another_question_is_ignored(event: Event) -> None:
    worker = holding(job(1, fence=2), job(2))
    assert worker.handle(event, 1.0) == []
    assert worker.running == 1
    effects = worker.handle(Ended(job(1).id, 2, Succeeded()), 2.0)
    assert [start.job.id for start in only(effects, Start)] == [job(2).id]
    (exchange,) = only(effects, Exchange)
    assert [settle.id for settle in exchange.settles] == [job(1).id]
    assert exchange.reconcile is None


def test_a_late_failure_of_an_exchange_given_up_on_leaves_the_present_one_alone() -> None:
    worker = holding(slots=2, answer_s=30.0)
    lost = ask(worker, 0.0)
    worker.handle_timeout(30.0)
    (present,) = only(worker.handle_timeout(31.0), Exchange)
    assert worker.handle(ExchangeFailed(lost.token, transient=False), 31.5) == []
    assert only(worker.handle(answer(present, job(1)), 32.0), Start)


def test_an_empty_answer_that_came_too_late_leaves_no_doubt() -> None:
    worker = holding(answer_s=30.0)
    lost = ask(worker, 0.0)
    worker.handle_timeout(30.0)
    (present,) = only(worker.handle_timeout(31.0), Exchange)
    assert present.reconcile == ()
    assert worker.handle(answer(lost), 31.5) == []
    worker.handle(answer(present), 32.0)
    assert ask(worker, 33.0).reconcile is None


def test_a_settle_under_way_does_not_cover_a_later_claim_of_the_same_job() -> None:
    """The exchange that brings it was given up, is applied late, and claims the job again: for nobody."""
    worker = holding(job(1, fence=6), answer_s=30.0)
    ended = Ended(job(1).id, 6, Retried(Failure("Oops", "no")))
    (lost,) = only(worker.handle_all((ended, Woken()), 1.0), Exchange)
    assert lost.claim is not None
    worker.handle_timeout(31.0)
    (again,) = only(worker.handle_timeout(32.0), Exchange)
    assert again.settles == lost.settles
    assert again.reconcile == (Lease(job(1).id, 6),)  # not what the store has claimed under fence 8 by now


def test_what_a_worker_knows_of_is_named_with_its_fence_wherever_it_is() -> None:
    worker = holding(answer_s=30.0)
    lost = ask(worker, 0.0)
    worker.handle_timeout(30.0)
    (second,) = only(worker.handle_timeout(31.0), Exchange)
    worker.handle(answer(second, job(1, fence=3), job(2, fence=5), job(3, fence=7)), 31.0)
    (settling,) = only(worker.handle(Ended(job(1).id, 3, Succeeded()), 32.0), Exchange)  # 2 runs, 3 waits
    worker.handle(answer(lost, job(4)), 32.0)
    worker.handle(ExchangeFailed(settling.token, transient=True), 32.0)
    (again,) = only(worker.handle_timeout(33.0), Exchange)
    assert [settle.id for settle in again.settles] == [job(1).id]
    assert set(again.reconcile or ()) == {Lease(job(1).id, 3), Lease(job(2).id, 5), Lease(job(3).id, 7)}


def test_the_timeout_of_an_attempt_that_ended_does_not_stop_the_next_one_of_the_same_job() -> None:
    worker = holding(job(1, fence=1))
    (exchange,) = only(worker.handle(Ended(job(1).id, 1, GivenBack(started=True)), 30.0), Exchange)
    assert only(worker.handle(answer(exchange, job(1, fence=2)), 30.0), Start)
    assert not only(worker.handle_timeout(60.0), Stop)
    assert only(worker.handle_timeout(90.0), Stop) == [Stop(job(1).id, 2, StopReason.TIMEOUT)]


def test_a_body_is_asked_to_stop_once_for_the_first_reason() -> None:
    worker = holding(job(1))
    lease = Lease(job(1).id, 1)
    assert only(worker.handle(CancelAsked((lease, lease)), 1.0), Stop) == [Stop(job(1).id, 1, StopReason.CANCEL)]
    assert not only(worker.handle(CancelAsked((lease,)), 2.0), Stop)
    assert not only(worker.handle_timeout(60.0), Stop)


def test_a_lease_that_is_lost_while_the_body_stops_is_told_and_its_outcome_kept_back() -> None:
    worker = holding(job(1))
    lease = Lease(job(1).id, 1)
    worker.handle(CancelAsked((lease,)), 1.0)
    assert only(worker.handle(LeaseGone(lease), 2.0), Stop) == [Stop(job(1).id, 1, StopReason.LOST)]
    (exchange,) = only(worker.handle_all((Ended(job(1).id, 1, Succeeded()), Woken()), 3.0), Exchange)
    assert exchange.settles == ()


def test_a_promote_that_made_nothing_ready_asks_for_nothing_and_waits_for_what_is_due_next() -> None:
    worker = holding(poll_s=60.0)
    assert worker.handle(Promoted(0, 5.0), 1.0) == []
    assert worker.next_deadline() == 6.0


def test_the_first_to_be_killed_is_the_one_whose_time_is_up_first() -> None:
    worker = holding(job(1, timeout_s=50.0), job(2, timeout_s=20.0), slots=2, kill_grace_s=10.0)
    assert (worker.first_to_kill, worker.kill_at) == (job(2).id, 30.0)
    worker.handle(Ended(job(2).id, 1, Succeeded()), 1.0)
    assert (worker.first_to_kill, worker.kill_at) == (job(1).id, 60.0)
    worker.handle(Ended(job(1).id, 1, Succeeded()), 2.0)
    assert worker.first_to_kill is None


class TestDraining:
    """Draining is asked for by people, and they ask twice."""

    def test_the_end_of_the_grace_is_a_deadline_and_a_later_one_does_not_put_it_off(self) -> None:
        worker = holding(job(1), poll_s=100.0)
        worker.handle(DrainAsked(10.0), 0.0)
        worker.handle(DrainAsked(30.0), 1.0)
        assert worker.next_deadline() == 10.0
        worker.handle(DrainAsked(5.0), 2.0)
        assert worker.next_deadline() == 7.0
        assert only(worker.handle_timeout(7.0), Stop) == [Stop(job(1).id, 1, StopReason.DRAIN)]

    def test_that_it_has_drained_is_told_once(self) -> None:
        worker = holding()
        assert worker.handle(DrainAsked(10.0), 0.0) == [Drained()]
        assert worker.handle(DrainAsked(0.0), 1.0) == []
        assert worker.handle_timeout(20.0) == []


def test_nothing_is_claimed_while_a_reconcile_that_was_given_up_may_still_be_done() -> None:
    """It knows nothing of later claims, and would give them back as unstarted while they run."""
    worker = holding(answer_s=30.0)
    first = ask(worker, 0.0)
    worker.handle(ExchangeFailed(first.token, transient=True), 0.0)
    (late,) = only(worker.handle_timeout(worker.next_deadline()), Exchange)
    assert late.reconcile is not None
    worker.handle_timeout(40.0)  # no answer
    assert only(worker.handle(Woken(), 50.0), Exchange) == []
    (resumed,) = only(worker.handle(Reconciled(late.token), 51.0), Exchange)
    assert resumed.claim is not None
    assert resumed.reconcile is not None


def test_nothing_begins_when_the_lease_may_have_ended() -> None:
    """The process was stopped with jobs in its hands: whoever missed it has given them to others."""
    worker = holding(job(1), job(2), lease_look_s=0.1)
    worker.handle(LeaseHeld(0.5), 0.0)
    (exchange,) = only(worker.handle(Ended(job(1).id, 1, Succeeded()), 0.5), Exchange)
    assert not only(worker.handle(answer(exchange, job(3)), 0.5), Start)
    assert worker.running == 0
    assert worker.next_deadline() == 0.6
    assert not only(worker.handle_timeout(0.6), Start)  # still not renewed: it looks again
    assert worker.next_deadline() == pytest.approx(0.7)
    assert [start.job.id for start in only(worker.handle(LeaseHeld(9.0), 0.65), Start)] == [job(2).id]
    assert worker.next_deadline() == 1.0  # the next poll


def test_what_waits_for_a_lease_is_given_back_when_it_drains() -> None:
    worker = holding(job(1), job(2))
    worker.handle_all((LeaseHeld(10.0), Ended(job(1).id, 1, Succeeded())), 11.0)
    effects = worker.handle(DrainAsked(0.0), 11.01)
    assert not only(effects, Drained)  # the settle of the first is under way
    (again,) = only(worker.handle(ExchangeFailed(2, transient=True), 12.0) + worker.handle_timeout(13.0), Exchange)
    assert [(settle.id, settle.outcome) for settle in again.settles] == [
        (job(1).id, Succeeded()),
        (job(2).id, GivenBack(started=False)),
    ]


def test_nothing_is_claimed_while_the_lease_may_have_ended() -> None:
    """What it held when the loss is heard would be suspect."""
    worker = holding(slots=2)
    worker.handle(LeaseHeld(10.0), 0.0)
    assert not only(worker.handle(Woken(), 11.0), Exchange)
    (exchange,) = only(worker.handle(LeaseHeld(20.0), 11.2), Exchange)
    assert exchange.claim is not None


def test_a_job_whose_deadline_passes_while_it_waits_for_the_lease_does_not_begin() -> None:
    worker = holding(slots=1)
    exchange = ask(worker, 0.0)
    late = job(1)
    late.deadline_in_s = 5.0
    worker.handle_all((LeaseHeld(1.0), answer(exchange, late)), 2.0)
    effects = worker.handle(LeaseHeld(70.0), 60.0)
    assert not only(effects, Start)
    (settling,) = only(effects, Exchange)
    assert settling.settles == (Settle(late.id, late.fence, TOO_LATE),)


def test_a_job_that_is_late_when_it_comes_fails_at_once_though_no_slot_is_free() -> None:
    late = job(2)
    late.deadline_in_s = 0.0
    worker = holding(job(1), late, slots=1)
    assert worker.running == 1
    assert worker.unsettled == (Settle(late.id, late.fence, TOO_LATE),)


def test_a_late_job_that_runs_alone_makes_room_for_the_next_one() -> None:
    pools = {"async": PoolSettings(frozenset({"work"}), 1)}
    worker = WorkerCore(WorkerSettings(pools=pools, suspects=True), 0.0)
    asking = ask(worker, 0.0)
    late = job(1)
    late.suspect, late.deadline_in_s = Suspicion.ALONE, 0.0
    asked = []
    for jobs in ((), (late,), (), ()):  # whichever of the first two asks for it
        assert asking.claim is not None
        asked.append(asking.claim.suspicion)
        more = only(worker.handle(answer(asking, *jobs), 0.0), Exchange)
        if not more:
            break
        (asking,) = more
    assert (Suspicion.ALONE,) in asked[2:]


def test_a_worker_of_suspects_that_waits_for_its_lease_is_not_idle() -> None:
    pools = {"async": PoolSettings(frozenset({"work"}), 1)}
    worker = WorkerCore(WorkerSettings(pools=pools, suspects=True), 0.0)
    (last,) = only(worker.handle(answer(ask(worker, 0.0)), 0.0), Exchange)  # it asks for both kinds of suspect
    assert not only(worker.handle_all((LeaseHeld(10.0), answer(last, job(1))), 11.0), Idle)
    assert only(worker.handle(LeaseHeld(21.0), 11.1), Start)
