# ruff: noqa: D102 - the names of the tests describe them, numbers are their point
"""What people change: cancel, retry, edit."""

from headrace.core.model import Cancelled, Failed, Failure, GivenBack, Lease, Retried, Settle, Succeeded
from headrace.core.states import JobState
from headrace.ports.store import StoreSettings
from headrace.testing.conformance.store_base import (
    FOREVER_S,
    WORKER,
    FullStore,
    MakeStore,
    StoreSuite,
    TimeControl,
    claim,
    claim_one,
    enqueue_claimed,
    ids_of,
    new_job,
    opened,
    record_of,
    register,
    settle,
    told,
)

BOOM = Failure("app.Boom", "it broke")


async def a_failed_job(store: FullStore, **fields: object) -> bytes:
    """A job that failed."""
    job = await enqueue_claimed(store, **fields)
    await settle(store, job, Failed(BOOM))
    return job.id


class ChangeSuite(StoreSuite):
    """What `cancel`, `retry` and `edit` promise."""

    async def test_cancel_in_every_state(self, store: FullStore) -> None:
        succeeded = await enqueue_claimed(store)
        await settle(store, succeeded, Succeeded("1"))
        failed = await a_failed_job(store)
        running = await enqueue_claimed(store)
        ready, scheduled = new_job(), new_job(delay_s=FOREVER_S)
        await store.enqueue([ready, scheduled])
        asked = [ready.id, scheduled.id, running.id, succeeded.id, failed, new_job().id]
        assert await store.cancel(asked) == ["cancelled", "cancelled", "running", "succeeded", "failed", None]
        assert await store.cancel(asked) == ["cancelled", "cancelled", "running", "succeeded", "failed", None]
        assert await store.cancel([]) == []
        assert await claim(store) == []
        for job in (ready, scheduled):
            record = await record_of(store, job.id)
            assert record.finished_at is not None
            assert (record.run_at, record.result, record.failure) == (None, None, None)
        assert (await record_of(store, running.id)).cancelling
        assert (await record_of(store, succeeded.id)).result == "1"

    async def test_the_worker_hears_of_a_cancel(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(3)])
        a, b, c = await claim(store)
        assert await store.renew(WORKER, FOREVER_S) == (await store.renew(WORKER, FOREVER_S))
        await store.cancel([a.id, c.id])
        cancels = (await store.renew(WORKER, FOREVER_S)).cancels
        assert set(cancels) == {Lease(a.id, a.fence), Lease(c.id, c.fence)}
        assert set((await store.renew(WORKER, FOREVER_S)).cancels) == set(cancels)
        await settle(store, a, Cancelled())
        await settle(store, b, Succeeded())
        assert (await store.renew(WORKER, FOREVER_S)).cancels == (Lease(c.id, c.fence),)

    async def test_only_its_worker_hears_of_a_cancel(self, store: FullStore) -> None:
        await register(store, "worker-2")
        job = await enqueue_claimed(store)
        await store.cancel([job.id])
        assert (await store.renew("worker-2", FOREVER_S)).cancels == ()

    async def test_a_job_that_waits_after_a_failure_can_be_cancelled(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, Retried(BOOM, FOREVER_S))
        assert await store.cancel([job.id]) == ["cancelled"]
        assert (await record_of(store, job.id)).failure is None
        assert (await told(store, job.id))[-1] == "end:cancelled#1"

    async def test_retry_in_every_state(self, store: FullStore) -> None:
        succeeded = await enqueue_claimed(store)
        await settle(store, succeeded, Succeeded("1"))
        failed = await a_failed_job(store)
        running = await enqueue_claimed(store)
        cancelled, scheduled, ready = new_job(), new_job(delay_s=FOREVER_S), new_job(queue="mail")
        await store.enqueue([cancelled, scheduled, ready])
        await store.cancel([cancelled.id])
        asked = [failed, cancelled.id, succeeded.id, running.id, scheduled.id, ready.id, new_job().id]
        after = ["ready", "ready", "succeeded", "running", "scheduled", "ready", None]
        assert await store.retry(asked) == after
        assert await store.retry([]) == []
        assert ids_of(await claim(store, queues=["billing"])) == [failed, cancelled.id]
        assert await told(store, ready.id) == ["ready#0"]

    async def test_a_revived_job_starts_afresh_but_keeps_its_numbers(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, Retried(BOOM))
        await settle(store, await claim_one(store), Failed(BOOM))
        await store.retry([job.id])
        record = await record_of(store, job.id)
        assert (record.failures, record.crashes, record.snoozes) == (0, 0, 0)
        assert (record.state, record.finished_at, record.failure, record.result) == (JobState.READY, None, None, None)
        again = await claim_one(store)
        assert (again.attempt, again.failures, again.fence > job.fence + 1) == (3, 0, True)
        await settle(store, again, Succeeded('"yes"'))
        record = await record_of(store, job.id)
        assert (record.state, record.result, record.failure) == (JobState.SUCCEEDED, '"yes"', None)
        assert [attempt.attempt for attempt in await store.attempts(job.id)] == [1, 2, 3]

    async def test_the_fence_from_before_a_revival_stays_lost_or_repeated(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, Failed(BOOM))
        await store.retry([job.id])
        assert await settle(store, job, Failed(BOOM)) == "repeated"
        await settle(store, await claim_one(store), Succeeded())
        assert await settle(store, job, Failed(BOOM)) == "lost"

    async def test_a_cancelled_job_that_is_revived_is_not_asked_to_stop(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await store.cancel([job.id])
        await settle(store, job, Cancelled())
        await store.retry([job.id])
        again = await claim_one(store)
        assert (await store.renew(WORKER, FOREVER_S)).cancels == ()
        await settle(store, again, GivenBack(started=True))
        assert (await record_of(store, job.id)).state is JobState.READY

    async def test_a_passed_deadline_is_lifted_by_a_revival(self, store: FullStore, time: TimeControl) -> None:
        passed, coming = new_job(deadline_s=time.tick), new_job(deadline_s=FOREVER_S)
        await store.enqueue([passed, coming])
        await store.cancel([passed.id, coming.id])
        await time.pass_time(time.tick)
        await store.retry([passed.id, coming.id])
        left = {job.id: job.deadline_in_s for job in await claim(store)}
        assert left[passed.id] is None
        assert left[coming.id] is not None

    async def test_a_revived_job_holds_its_key_again(self, make_store: MakeStore, time: TimeControl) -> None:
        async with opened(make_store, StoreSettings(key_retention_s=time.tick)) as store:
            await register(store)
            first = await a_failed_job(store, key="k", key_digest="d")
            await store.retry([first])
            await time.pass_time(2 * time.tick)
            await store.prune(100)
            assert (await store.enqueue([new_job(key="k", key_digest="d")]))[0].id == first

    async def test_a_key_that_was_taken_over_stays_with_the_taker(
        self, make_store: MakeStore, time: TimeControl
    ) -> None:
        async with opened(make_store, StoreSettings(key_retention_s=time.tick)) as store:
            await register(store)
            first = await a_failed_job(store, key="k", key_digest="d")
            await time.pass_time(2 * time.tick)
            taker = new_job(key="k", key_digest="d")
            await store.enqueue([taker])
            await store.retry([first])
            await store.cancel([first])
            assert (await store.enqueue([new_job(key="k", key_digest="d")]))[0].id == taker.id

    async def test_only_a_failed_job_is_edited(self, store: FullStore) -> None:
        succeeded = await enqueue_claimed(store)
        await settle(store, succeeded, Succeeded())
        failed = await a_failed_job(store)
        running = await enqueue_claimed(store)
        ready, scheduled, cancelled = new_job(), new_job(delay_s=FOREVER_S), new_job()
        await store.enqueue([ready, scheduled, cancelled])
        await store.cancel([cancelled.id])
        for job_id, state in [
            (succeeded.id, JobState.SUCCEEDED),
            (running.id, JobState.RUNNING),
            (ready.id, JobState.READY),
            (scheduled.id, JobState.SCHEDULED),
            (cancelled.id, JobState.CANCELLED),
        ]:
            assert await store.edit(job_id, "[8]") is state
            assert (await record_of(store, job_id)).args == "[7]"
        feed = await told(store, failed)
        assert await store.edit(failed, '["ü"]') is JobState.FAILED
        assert await store.edit(new_job().id, "[8]") is None
        assert (await record_of(store, failed)).args == '["ü"]'
        assert await told(store, failed) == feed
        await store.cancel([ready.id])
        await store.retry([failed])
        assert (await claim_one(store)).args == '["ü"]'

    async def test_nobody_is_asked_twice_in_one_batch(self, store: FullStore) -> None:
        job = await a_failed_job(store)
        assert await store.retry([job, job]) == ["ready", "ready"]
        assert await store.cancel([job, job]) == ["cancelled", "cancelled"]
        assert await told(store, job) == ["ready#0", "running#1", "failed#1", "ready#1", "end:cancelled#1"]

    async def test_a_cancel_and_a_success_cross(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        answer = await store.exchange(WORKER, [Settle(job.id, job.fence, Succeeded("1"))], None)
        assert answer.settled == ("settled",)
        assert await store.cancel([job.id]) == ["succeeded"]
