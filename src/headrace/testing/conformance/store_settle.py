# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Exchange, the settling half: guarded by the fence, idempotent, every outcome."""

import pytest

from headrace.core.model import (
    AttemptOutcome,
    Cancelled,
    Cause,
    Failed,
    Failure,
    GivenBack,
    Outcome,
    Retried,
    Settle,
    SettleResult,
    Snoozed,
    Succeeded,
)
from headrace.core.states import JobState
from headrace.testing.conformance.store_base import (
    FOREVER_S,
    WORKER,
    FullStore,
    StoreSuite,
    TimeControl,
    claim,
    claim_one,
    enqueue_claimed,
    new_job,
    record_of,
    register,
    request,
    settle,
    told,
)

BOOM = Failure("app.Boom", "it broke: é \n 'x'", Cause.TIMEOUT, "Traceback…", "f1")


class SettleSuite(StoreSuite):
    """What a settle promises."""

    async def test_success(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        assert await settle(store, job, Succeeded('{"a":[1]}')) is SettleResult.SETTLED
        record = await record_of(store, job.id)
        assert (record.state, record.result, record.failure) == (JobState.SUCCEEDED, '{"a":[1]}', None)
        assert record.finished_at is not None
        assert record.started_at is not None
        assert record.created_at <= record.started_at <= record.finished_at
        assert (record.failures, record.worker, record.cancelling) == (0, None, False)
        assert await claim(store) == []

    async def test_failure(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        assert await settle(store, job, Failed(BOOM)) is SettleResult.SETTLED
        record = await record_of(store, job.id)
        assert (record.state, record.failures, record.result) == (JobState.FAILED, 1, None)
        assert record.failure == BOOM
        assert await claim(store) == []

    async def test_cancelled(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        assert await settle(store, job, Cancelled("asked to")) is SettleResult.SETTLED
        record = await record_of(store, job.id)
        assert (record.state, record.failures, record.failure) == (JobState.CANCELLED, 0, None)

    async def test_retry_at_once(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        assert await settle(store, job, Retried(BOOM)) is SettleResult.SETTLED
        record = await record_of(store, job.id)
        assert (record.state, record.failures, record.worker) == (JobState.READY, 1, None)
        assert record.failure == BOOM
        again = await claim_one(store)
        assert (again.id, again.attempt, again.failures) == (job.id, 2, 1)

    async def test_retry_later(self, store: FullStore, time: TimeControl) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, Retried(BOOM, 2 * time.tick))
        record = await record_of(store, job.id)
        assert record.state is JobState.SCHEDULED
        assert record.run_at is not None
        assert await claim(store) == []
        await time.pass_time(2 * time.tick)
        assert (await store.promote(10))[0] == 1
        assert (await claim_one(store)).attempt == 2

    async def test_a_snooze_counts_no_failure(self, store: FullStore, time: TimeControl) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, Snoozed(time.tick, "closed on Sundays"))
        record = await record_of(store, job.id)
        assert (record.state, record.failures, record.snoozes, record.failure) == (JobState.SCHEDULED, 0, 1, None)
        await time.pass_time(time.tick)
        await store.promote(10)
        again = await claim_one(store)
        assert (again.attempt, again.failures, again.snoozes) == (2, 0, 1)

    async def test_a_snooze_of_nothing_is_due_at_once(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, Snoozed(0))
        assert (await record_of(store, job.id)).state is JobState.SCHEDULED
        assert (await store.promote(10))[0] == 1
        assert (await claim_one(store)).id == job.id

    async def test_given_back_unstarted_keeps_its_number(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, GivenBack(started=False))
        record = await record_of(store, job.id)
        assert (record.state, record.attempt, record.failures) == (JobState.READY, 0, 0)
        assert await store.attempts(job.id) == []
        again = await claim_one(store)
        assert (again.attempt, again.failures) == (1, 0)
        assert again.fence > job.fence

    async def test_given_back_started_burns_the_number_only(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, GivenBack(started=True))
        again = await claim_one(store)
        assert (again.attempt, again.failures, again.crashes, again.snoozes) == (2, 0, 0, 0)
        outcomes = [attempt.outcome for attempt in await store.attempts(job.id)]
        assert outcomes == [AttemptOutcome.GIVEN_BACK, AttemptOutcome.RUNNING]

    async def test_only_failures_are_counted(self, store: FullStore) -> None:
        await store.enqueue([new_job(max_attempts=3)])
        outcomes: list[Outcome] = [Retried(BOOM), Snoozed(0), GivenBack(started=True), Retried(BOOM)]
        for outcome in outcomes:
            await settle(store, await claim_one(store), outcome)
            await store.promote(10)
        job = await claim_one(store)
        assert (job.attempt, job.failures, job.snoozes, job.max_attempts) == (5, 2, 1, 3)

    @pytest.mark.parametrize(
        "outcome",
        [
            Succeeded("1"),
            Failed(BOOM),
            Cancelled(),
            Retried(BOOM),
            Retried(BOOM, FOREVER_S),
            Snoozed(FOREVER_S),
            GivenBack(started=True),
            GivenBack(started=False),
        ],
        ids=lambda outcome: type(outcome).__name__,
    )
    async def test_the_same_settle_again_changes_nothing(self, store: FullStore, outcome: Outcome) -> None:
        job = await enqueue_claimed(store)
        assert await settle(store, job, outcome) is SettleResult.SETTLED
        before, feed = await record_of(store, job.id), await told(store, job.id)
        assert await settle(store, job, outcome) is SettleResult.REPEATED
        assert await settle(store, job, Succeeded('"another"')) is SettleResult.REPEATED
        assert await record_of(store, job.id) == before
        assert await told(store, job.id) == feed

    async def test_a_repeat_is_known_while_the_next_attempt_runs(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, Retried(BOOM))
        await claim_one(store)
        assert await settle(store, job, Retried(BOOM)) is SettleResult.REPEATED
        assert (await record_of(store, job.id)).state is JobState.RUNNING

    async def test_the_same_settle_twice_in_one_batch(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        one = Settle(job.id, job.fence, Succeeded("1"))
        answer = await store.exchange(WORKER, [one, one], None)
        assert answer.settled == (SettleResult.SETTLED, SettleResult.REPEATED)

    async def test_an_unknown_job_is_lost(self, store: FullStore) -> None:
        answer = await store.exchange(WORKER, [Settle(new_job().id, 1, Succeeded())], None)
        assert answer.settled == (SettleResult.LOST,)

    async def test_a_job_that_was_never_claimed_is_lost(self, store: FullStore) -> None:
        job = new_job()
        await store.enqueue([job])
        for fence in (0, 1, -1):
            answer = await store.exchange(WORKER, [Settle(job.id, fence, Succeeded())], None)
            assert answer.settled == (SettleResult.LOST,), fence
        assert (await record_of(store, job.id)).state is JobState.READY

    async def test_another_fence_is_lost(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        for fence in (job.fence - 1, job.fence + 1):
            answer = await store.exchange(WORKER, [Settle(job.id, fence, Succeeded())], None)
            assert answer.settled == (SettleResult.LOST,), fence
        assert (await record_of(store, job.id)).state is JobState.RUNNING

    async def test_after_a_reap_the_lease_is_lost(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await store.reap([WORKER])
        await register(store, "worker-2")
        assert await settle(store, job, Succeeded('"too late"')) is SettleResult.LOST
        again = await claim_one(store, worker="worker-2", suspects=True)
        assert await settle(store, job, Succeeded('"too late"')) is SettleResult.LOST
        assert await settle(store, again, Succeeded('"in time"'), worker="worker-2") is SettleResult.SETTLED
        assert await settle(store, job, Failed(BOOM)) is SettleResult.LOST
        assert (await record_of(store, job.id)).result == '"in time"'

    async def test_one_bad_entry_does_not_hold_up_the_others(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(4)])
        a, b, c, d = await claim(store)
        await settle(store, b, Retried(BOOM, FOREVER_S))
        settles = [
            Settle(a.id, a.fence, Succeeded("1")),
            Settle(b.id, b.fence, Retried(BOOM, FOREVER_S)),
            Settle(new_job().id, 7, Succeeded()),
            Settle(c.id, c.fence + 1, Succeeded()),
            Settle(d.id, d.fence, Failed(BOOM)),
        ]
        answer = await store.exchange(WORKER, settles, request())
        assert answer.settled == ("settled", "repeated", "lost", "lost", "settled")
        assert answer.claimed == ()
        states = [record.state.value for record in await store.get([a.id, b.id, c.id, d.id]) if record]
        assert states == ["succeeded", "scheduled", "running", "failed"]

    async def test_every_outcome_in_one_batch(self, store: FullStore) -> None:
        outcomes: list[Outcome] = [
            Succeeded("1"),
            Retried(BOOM),
            Retried(BOOM, FOREVER_S),
            Failed(BOOM),
            Snoozed(FOREVER_S),
            Cancelled(),
            GivenBack(started=True),
        ]
        await store.enqueue([new_job() for _ in outcomes])
        jobs = await claim(store)
        settles = [Settle(job.id, job.fence, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]
        answer = await store.exchange(WORKER, settles, None)
        assert answer.settled == ("settled",) * 7
        states = [record.state.value for record in await store.get([job.id for job in jobs]) if record]
        assert states == ["succeeded", "ready", "scheduled", "failed", "scheduled", "cancelled", "ready"]
        kept = [(await store.attempts(job.id))[0].outcome.value for job in jobs]
        assert kept == ["succeeded", "retry", "retry", "failed", "snoozed", "cancelled", "given_back"]

    # -- attempts -----------------------------------------------------------------------------

    async def test_attempts_tell_who_ran_when_and_how_it_ended(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        (running,) = await store.attempts(job.id)
        assert (running.attempt, running.fence, running.worker) == (1, job.fence, WORKER)
        assert (running.outcome, running.ended_at, running.failure) == (AttemptOutcome.RUNNING, None, None)
        await settle(store, job, Retried(BOOM))
        again = await claim_one(store)
        await settle(store, again, Succeeded())
        first, second = await store.attempts(job.id)
        assert (first.outcome, first.failure, first.attempt) == (AttemptOutcome.RETRY, BOOM, 1)
        assert (second.outcome, second.failure, second.attempt) == (AttemptOutcome.SUCCEEDED, None, 2)
        assert first.started_at == running.started_at
        assert first.ended_at is not None
        assert second.ended_at is not None
        assert first.started_at <= first.ended_at <= second.started_at <= second.ended_at

    async def test_a_job_that_never_ran_has_no_attempts(self, store: FullStore) -> None:
        job = new_job()
        await store.enqueue([job])
        assert await store.attempts(job.id) == []
        assert await store.attempts(new_job().id) == []

    # -- a job that was asked to cancel never waits again ---------------------------------------

    @pytest.mark.parametrize(
        "outcome",
        [Retried(BOOM), Retried(BOOM, FOREVER_S), Snoozed(FOREVER_S), GivenBack(started=True), Cancelled()],
        ids=lambda outcome: type(outcome).__name__,
    )
    async def test_asked_to_cancel_it_does_not_wait_again(self, store: FullStore, outcome: Outcome) -> None:
        job = await enqueue_claimed(store)
        await store.cancel([job.id])
        assert await settle(store, job, outcome) is SettleResult.SETTLED
        record = await record_of(store, job.id)
        assert (record.state, record.cancelling, record.result) == (JobState.CANCELLED, False, None)
        assert (await told(store, job.id))[-1] == "end:cancelled#1"

    @pytest.mark.parametrize("outcome", [Succeeded("1"), Failed(BOOM)], ids=["succeeded", "failed"])
    async def test_what_was_quicker_than_the_cancel_stands(self, store: FullStore, outcome: Succeeded | Failed) -> None:
        job = await enqueue_claimed(store)
        await store.cancel([job.id])
        assert await settle(store, job, outcome) is SettleResult.SETTLED
        expected = JobState.SUCCEEDED if isinstance(outcome, Succeeded) else JobState.FAILED
        assert (await record_of(store, job.id)).state is expected
