# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Chores: promotion of due jobs, retention."""

import pytest

from headrace.core.model import Failed, Failure, FeedWrite, JobFilter, Outcome, Retried, Succeeded, UpdateKind
from headrace.core.states import JobState
from headrace.ports.store import StoreSettings
from headrace.testing.conformance.store_base import (
    FOREVER_S,
    FullStore,
    MakeStore,
    StoreSuite,
    TimeControl,
    accuse,
    claim,
    claim_one,
    crash,
    enqueue_claimed,
    feed_of,
    ids_of,
    new_job,
    opened,
    record_of,
    register,
    settle,
    told,
)


async def prune_all(store: FullStore) -> int:
    """Prune until nothing is left to prune."""
    total = 0
    while pruned := await store.prune(3):
        assert pruned <= 3
        total += pruned
    return total


class ChoresSuite(StoreSuite):
    """What `promote` and `prune` promise."""

    async def test_nothing_to_promote(self, store: FullStore) -> None:
        assert await store.promote(10) == (0, None)
        await store.enqueue([new_job()])
        assert await store.promote(10) == (0, None)

    async def test_promote_takes_the_longest_due_first_and_tells_the_next(
        self, store: FullStore, time: TimeControl
    ) -> None:
        a, b, c = (new_job(delay_s=n * time.tick) for n in (3, 1, 2))
        await store.enqueue([a, b, c, new_job(delay_s=FOREVER_S)])
        await time.pass_time(3 * time.tick)
        assert await store.promote(2) == (2, 0)
        assert ids_of(await claim(store)) == [b.id, c.id]
        promoted, due_s = await store.promote(2)
        assert promoted == 1
        assert due_s is not None
        assert FOREVER_S / 2 < due_s <= FOREVER_S
        assert ids_of(await claim(store)) == [a.id]
        assert (await store.promote(2))[0] == 0

    async def test_what_is_not_due_stays(self, store: FullStore) -> None:
        job = new_job(delay_s=FOREVER_S)
        await store.enqueue([job])
        assert (await store.promote(10))[0] == 0
        assert (await record_of(store, job.id)).state is JobState.SCHEDULED

    async def test_a_cancelled_job_is_not_promoted(self, store: FullStore, time: TimeControl) -> None:
        job = new_job(delay_s=time.tick)
        await store.enqueue([job])
        await store.cancel([job.id])
        assert await store.promote(10) == (0, None)
        await time.pass_time(time.tick)
        assert await store.promote(10) == (0, None)
        await store.retry([job.id])
        assert await store.promote(10) == (0, None)
        assert (await claim_one(store)).id == job.id

    async def test_a_promoted_suspect_stays_one(self, make_store: MakeStore, time: TimeControl) -> None:
        async with opened(make_store, StoreSettings(crash_backoff_s=time.tick)) as store:
            await register(store)
            job = await accuse(store)
            await claim(store, suspects=True)
            await crash(store)
            await time.pass_time(time.tick)
            assert (await store.promote(10))[0] == 1
            assert await claim(store) == []
            assert (await claim_one(store, suspects=True)).id == job.id

    # -- retention ----------------------------------------------------------------------------

    async def test_nothing_to_prune(self, store: FullStore) -> None:
        ended = await enqueue_claimed(store, key="k", key_digest="d")
        await settle(store, ended, Succeeded("1"))
        await store.enqueue([new_job(), new_job(delay_s=FOREVER_S)])
        assert await store.prune(100) == 0
        assert (await record_of(store, ended.id)).result == "1"

    @pytest.mark.parametrize("outcome", [Succeeded("1"), Failed(Failure("E", "no"))], ids=["succeeded", "failed"])
    async def test_ended_jobs_go_after_their_retention(
        self, make_store: MakeStore, time: TimeControl, outcome: Outcome
    ) -> None:
        settings = StoreSettings(retention_s=time.tick, result_retention_s=time.tick, key_retention_s=time.tick)
        async with opened(make_store, settings) as store:
            await register(store)
            jobs = [new_job(key=str(n), key_digest="d") for n in range(8)]
            await store.enqueue(jobs)
            for job in await claim(store):
                await store.append([FeedWrite(job.id, job.fence, UpdateKind.ITEM, "1")])
                await settle(store, job, outcome)
            waiting, running = new_job(delay_s=FOREVER_S), await enqueue_claimed(store)
            await store.enqueue([waiting])
            await time.pass_time(2 * time.tick)
            assert await prune_all(store) >= 8
            assert await store.get(ids_of(jobs)) == [None] * 8
            assert await store.read_updates(jobs[0].id, 0, 10) is None
            assert await store.attempts(jobs[0].id) == []
            assert await store.offsets(ids_of(jobs)) == {}
            assert ids_of((await store.find(JobFilter())).jobs) == [running.id, waiting.id]
            assert await store.prune(100) == 0
            assert (await store.enqueue([new_job(key="0", key_digest="other")]))[0].created

    async def test_a_key_does_not_outlive_the_record_of_its_job(self, make_store: MakeStore, time: TimeControl) -> None:
        async with opened(make_store, StoreSettings(retention_s=time.tick, key_retention_s=FOREVER_S)) as store:
            await register(store)
            await settle(store, await enqueue_claimed(store, key="k", key_digest="d"), Succeeded())
            await time.pass_time(2 * time.tick)
            await prune_all(store)
            job = new_job(key="k", key_digest="e")
            assert (await store.enqueue([job]))[0].id == job.id

    async def test_expired_keys_stop_nobody_and_their_jobs_stay(self, make_store: MakeStore, time: TimeControl) -> None:
        async with opened(make_store, StoreSettings(key_retention_s=time.tick)) as store:
            await register(store)
            ended = await enqueue_claimed(store, key="k", key_digest="d")
            await settle(store, ended, Succeeded("1"))
            await time.pass_time(2 * time.tick)
            await prune_all(store)
            assert (await record_of(store, ended.id)).result == "1"
            assert (await store.enqueue([new_job(key="k", key_digest="e")]))[0].created

    async def test_live_jobs_are_never_pruned(self, make_store: MakeStore, time: TimeControl) -> None:
        async with opened(make_store, StoreSettings(retention_s=time.tick, result_retention_s=time.tick)) as store:
            await register(store)
            job = await enqueue_claimed(store)
            await settle(store, job, Retried(Failure("E", "no"), FOREVER_S))
            revived = await enqueue_claimed(store)
            await settle(store, revived, Failed(Failure("E", "no")))
            await store.retry([revived.id])
            await time.pass_time(2 * time.tick)
            assert await prune_all(store) == 0
            assert await told(store, job.id) == ["ready#0", "running#1", "scheduled:retry#1"]
            assert len(await store.attempts(job.id)) == 1
            assert len(await told(store, revived.id)) == 4

    async def test_results_go_before_their_jobs(self, make_store: MakeStore, time: TimeControl) -> None:
        async with opened(make_store, StoreSettings(result_retention_s=time.tick)) as store:
            await register(store)
            job = await enqueue_claimed(store)
            await settle(store, job, Succeeded('"large"'))
            record = await record_of(store, job.id)
            assert (record.result, record.result_expired) == ('"large"', False)
            await time.pass_time(2 * time.tick)
            await prune_all(store)
            record = await record_of(store, job.id)
            assert (record.state, record.result, record.result_expired) == (JobState.SUCCEEDED, None, True)
            end = (await feed_of(store, job.id)).updates[-1]
            assert '"result":null' in end.data
            assert "large" not in end.data
            assert await store.prune(100) == 0
