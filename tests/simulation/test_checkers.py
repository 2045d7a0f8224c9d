"""Each checker bites on a broken promise, and lets the lawful neighbour pass."""

from dataclasses import replace

import pytest

from headrace.core.feed import Position
from headrace.core.model import (
    Cancelled,
    ClaimedJob,
    Failed,
    FeedWrite,
    GivenBack,
    Lease,
    Retried,
    Settle,
    SettleResult,
    Snoozed,
    Succeeded,
    Suspicion,
    UpdateKind,
)
from headrace.core.states import JobState
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers import CHECKERS, Checker
from headrace.testing.sim.checkers.alone import OneAttempt
from headrace.testing.sim.checkers.attempts import AttemptsCount
from headrace.testing.sim.checkers.cancels import CancelledStays
from headrace.testing.sim.checkers.due import NothingIsEarly
from headrace.testing.sim.checkers.ends import AcknowledgedEnds
from headrace.testing.sim.checkers.live import BrowsersAreServed
from headrace.testing.sim.checkers.outcomes import OutcomeOnce
from headrace.testing.sim.sessions import Session
from tests.simulation.court import DONE, JOB, OOPS, ORDINARY, OTHER, SUSPECTS, Court, item, returned


def test_every_promise_has_a_name_of_its_own() -> None:
    assert len({checker.name for checker in CHECKERS}) == len(CHECKERS)


# Live connections have a world and tests of their own.
@pytest.mark.parametrize("make", [it for it in CHECKERS if it is not BrowsersAreServed], ids=lambda make: make.name)
def test_a_lawful_life_breaks_no_promise(make: type[Checker]) -> None:
    court = Court(make)
    court.running_job(key="k")
    court.server.apply("append", ((FeedWrite(JOB, 1, UpdateKind.ITEM, item(1, 0), "a"),),), {})
    court.tell(e.Emitted(JOB, 1, "a", 0))
    court.tell(returned(Retried(OOPS, 3.0)))
    court.settle(Retried(OOPS, 3.0))
    court.wait(3.5)
    court.claim()
    court.start(fence=2, attempt=2)
    court.reap("w1")
    court.register("s1", "suspects")
    court.claim("s1", suspects=True)
    court.start("s1", fence=3, attempt=3)
    court.cancel()
    court.tell(returned(Cancelled(), "s1", 3))
    court.settle(Cancelled(), "s1", fence=3)
    court.retry()
    court.register("w2")
    court.claim("w2")
    court.start("w2", fence=4, attempt=4)
    court.server.apply("commit", (Session(JOB, 4), Settle(JOB, 4, Succeeded('{"fence":4}'))), {})
    court.tell(e.Succeeded(JOB, 4))
    court.tell(returned(None, "w2", 4))
    court.settle(Cancelled(), "w2", fence=4)
    assert court.book.jobs[JOB].end is JobState.SUCCEEDED
    assert court.broken == []
    assert court.drains()
    for worker_id in ("s1", "w2"):
        court.server.apply("unregister", (worker_id,), {})
        court.die(worker_id, 0)
    court.checker.closed()
    assert court.broken == []


@pytest.mark.parametrize("make", [it for it in CHECKERS if it is not BrowsersAreServed], ids=lambda make: make.name)
def test_a_job_that_is_added_again_after_it_was_pruned_has_a_new_life(make: type[Checker]) -> None:
    court = Court(make)
    court.running_job()
    court.server.apply("append", ((FeedWrite(JOB, 1, UpdateKind.ITEM, item(1, 0), "a"),),), {})
    court.tell(e.Emitted(JOB, 1, "a", 0))
    succeed(court, "reader-1")
    court.wait(court.server.settings.retention_s)
    court.server.apply("prune", (100,), {})
    assert court.server.state(JOB) is None
    court.running_job()
    court.server.apply("append", ((FeedWrite(JOB, 1, UpdateKind.LOG, "{}"),),), {})
    court.server.apply("append", ((FeedWrite(JOB, 1, UpdateKind.ITEM, item(1, 1), "a"),),), {})
    court.tell(e.Emitted(JOB, 1, "a", 1))
    succeed(court, "reader-2")
    assert court.broken == []
    assert court.drains()


def succeed(court: Court, reader: str) -> None:
    """By a transaction of its own; somebody reads all of it."""
    court.server.apply("commit", (Session(JOB, 1), Settle(JOB, 1, Succeeded('{"fence":1}'))), {})
    court.tell(e.Succeeded(JOB, 1))
    court.tell(returned(None))
    court.tell(e.Stood(reader, JOB, Position("e1", 0), recovered=False))
    for update in court.server.apply("read_updates", (JOB, 0, 100), {}).updates:
        court.tell(e.Saw(reader, JOB, update))


# -- jobs, attempts, outcomes -------------------------------------------------------------------------


def test_an_acknowledged_job_that_never_ends() -> None:
    court = Court(AcknowledgedEnds)
    court.running_job()
    assert not court.drains()
    court.settle()
    assert court.drains()
    court.enqueue(OTHER)
    court.checker.drained()
    assert "held by nobody" in court.broken[0]


def test_a_job_is_given_to_one_worker_at_a_time() -> None:
    court = Court(OneAttempt)
    first = court.running_job()
    court.register("w2")
    assert court.breaks(e.Claimed("w2", replace(first, fence=2, attempt=2), suspicion=ORDINARY))
    court.settle(GivenBack(started=True))
    assert court.breaks(e.Claimed("w2", replace(first, fence=1, attempt=2), suspicion=ORDINARY))  # a fence again
    assert court.breaks(e.Claimed("unknown", replace(first, fence=2, attempt=2), suspicion=ORDINARY))
    court.reap("w1")
    assert court.breaks(e.Claimed("w1", replace(first, fence=2, attempt=2), suspicion=ORDINARY))  # reaped
    assert not court.breaks(e.Claimed("w2", replace(first, fence=2, attempt=2), suspicion=ORDINARY))


def test_a_body_starts_once_per_fence_where_it_was_claimed() -> None:
    court = Court(OneAttempt)
    court.register()
    court.enqueue()
    court.claim()
    assert court.breaks(e.Started(JOB, 1, 1, "w2", "node of w2"))
    assert court.breaks(e.Started(JOB, 2, 1, "w1", "node of w1"))
    assert court.breaks(e.Started(JOB, 1, 2, "w1", "node of w1"))
    court.start()
    assert court.breaks(e.Started(JOB, 1, 1, "w1", "node of w1"))


def test_a_settle_is_answered_by_what_became_of_its_fence() -> None:
    court = Court(OutcomeOnce)
    court.running_job()
    settled, repeated, lost = SettleResult.SETTLED, SettleResult.REPEATED, SettleResult.LOST
    assert court.breaks(e.Settled("w1", Settle(JOB, 1, DONE), lost))
    assert court.breaks(e.Settled("w1", Settle(JOB, 2, DONE), settled))
    assert court.breaks(e.Settled("w2", Settle(JOB, 1, DONE), settled))  # not its holder
    court.settle(Retried(OOPS))
    assert court.breaks(e.Settled("w1", Settle(JOB, 1, DONE), settled))  # a second time
    assert court.breaks(e.Settled("w1", Settle(JOB, 1, DONE), lost))
    assert not court.breaks(e.Settled("w1", Settle(JOB, 1, DONE), repeated))
    court.claim()
    court.reap("w1")
    assert court.breaks(e.Joined(JOB, 2, settled))
    assert court.breaks(e.Joined(JOB, 2, repeated))
    assert not court.breaks(e.Joined(JOB, 2, lost))


def test_the_store_tells_another_end_than_was_written() -> None:
    court = Court(OutcomeOnce)
    court.running_job()
    court.settle()
    assert court.drains()
    row = court.server.backend._board.rows[JOB]
    row.result = '{"fence":2}'
    assert not court.drains()
    row.result, row.state = None, JobState.FAILED
    assert not court.drains()


def test_attempts_and_what_ended_them_are_counted() -> None:
    court = Court(AttemptsCount)
    first = court.running_job()
    court.settle(Retried(OOPS))
    second = replace(first, fence=2, attempt=2, failures=1)
    assert not court.breaks(e.Claimed("w1", second, suspicion=ORDINARY))
    assert court.breaks(e.Claimed("w1", replace(second, attempt=1), suspicion=ORDINARY))
    assert court.breaks(e.Claimed("w1", replace(second, failures=0), suspicion=ORDINARY))
    assert court.breaks(e.Claimed("w1", replace(second, crashes=1), suspicion=ORDINARY))
    assert court.breaks(e.Claimed("w1", replace(second, snoozes=1), suspicion=ORDINARY))
    court.claim()
    court.settle(GivenBack(started=False), fence=2)
    assert not court.breaks(e.Claimed("w1", replace(second, fence=3), suspicion=ORDINARY))  # the number again


def test_a_body_that_started_is_not_given_back_as_if_it_had_not() -> None:
    court = Court(AttemptsCount)
    court.register()
    court.enqueue()
    court.claim()
    back = e.Settled("w1", Settle(JOB, 1, GivenBack(started=False)), SettleResult.SETTLED)
    gone = e.Reconciled("w1", frozenset(), 1)
    assert not court.breaks(back)
    assert not court.breaks(gone)
    assert court.breaks(e.Reconciled("w1", frozenset({Lease(JOB, 1)}), 1))
    assert not court.breaks(e.Reconciled("w1", frozenset({Lease(JOB, 2)}), 1))  # of another claim it knows
    court.start()
    assert court.breaks(back)
    assert court.breaks(gone)


def test_the_list_of_attempts_tells_what_happened() -> None:
    court = Court(AttemptsCount)
    court.running_job()
    court.settle(Failed(OOPS))
    assert court.drains()
    court.server.backend._board.rows[JOB].attempts.pop()
    assert not court.drains()


def test_an_ended_job_is_given_to_nobody() -> None:
    court = Court(CancelledStays)
    first = court.running_job()
    again = e.Claimed("w1", replace(first, fence=2, attempt=2), suspicion=ORDINARY)
    court.settle(Retried(OOPS))
    assert not court.breaks(again)
    court.cancel()
    assert court.breaks(again)
    court.retry()
    assert not court.breaks(again)


def test_a_running_job_that_was_cancelled_never_waits_again() -> None:
    court = Court(CancelledStays)
    first = court.running_job()
    assert court.breaks(e.CancelApplied(JOB, JobState.CANCELLED))
    court.cancel()
    assert court.breaks(e.Reaped((), ("w1",), ((JOB, JobState.READY),)))
    assert not court.breaks(e.Reaped((), ("w1",), ((JOB, JobState.CANCELLED),)))
    court.book.jobs[JOB].claims[-1].ended = "settled"  # as if the store had sent it back to wait
    assert court.breaks(e.Claimed("w1", replace(first, fence=2, attempt=2), suspicion=ORDINARY))


def test_a_person_is_told_the_state_that_a_job_is_in() -> None:
    court = Court(CancelledStays)
    court.running_job()
    assert court.breaks(e.RetryApplied(JOB, JobState.RUNNING, JobState.READY))
    assert court.breaks(e.RetryApplied(JOB, JobState.FAILED, JobState.READY))
    assert not court.breaks(e.RetryApplied(JOB, JobState.RUNNING, JobState.RUNNING))
    court.settle(Failed(OOPS))
    assert court.breaks(e.RetryApplied(JOB, JobState.CANCELLED, JobState.READY))
    assert court.breaks(e.RetryApplied(JOB, JobState.FAILED, JobState.FAILED))
    assert not court.breaks(e.RetryApplied(JOB, JobState.FAILED, JobState.READY))


def test_nothing_is_claimed_before_it_is_due() -> None:
    court = Court(NothingIsEarly)
    court.register()
    court.enqueue(delay_s=5.0)
    claimed = ClaimedJob(JOB, 1, "t", "q", "{}", 1, 0, 0, 0, 1, 600.0, None, (), "", 2)
    first = e.Claimed("w1", claimed, suspicion=ORDINARY)
    court.wait(4.0)
    assert court.breaks(first)
    court.checker._due[JOB] = (court.server.wall() + 1.0, 0)  # type: ignore[attr-defined]  # it was not claimed
    court.wait(1.5)
    court.claim()
    assert court.broken == []
    court.settle(Snoozed(10.0))
    court.wait(9.0)
    assert court.breaks(e.Claimed("w1", replace(claimed, fence=2), suspicion=ORDINARY))


def test_a_job_that_was_due_before_the_clock_was_stepped_back_is_not_early() -> None:
    court = Court(NothingIsEarly)
    court.register()
    court.enqueue(delay_s=5.0)
    court.wait(5.5)
    court.tell(e.Fault("the store's clock is stepped"))
    court.server.step_s -= 100.0
    assert court.claim()
    assert court.broken == []


def test_a_suspect_that_crashed_alone_waits() -> None:
    court = Court(NothingIsEarly)
    first = court.running_job()
    court.reap("w1")
    court.register("s1", "suspects")
    court.claim("s1", suspects=True)
    court.reap("s1")
    beside = e.Claimed("s2", replace(first, fence=3, suspect=Suspicion.ALONE), suspicion=SUSPECTS)
    assert not court.breaks(beside)  # a crash among suspects accuses nobody
    court.checker._due[JOB] = (court.server.wall(), 0)  # type: ignore[attr-defined]  # it was not claimed
    court.register("s2", "suspects")
    court.claim("s2", suspects=True)
    court.reap("s2")
    again = e.Claimed("s3", replace(first, fence=4, suspect=Suspicion.ALONE), suspicion=SUSPECTS)
    court.wait(0.5)
    assert court.breaks(again)
