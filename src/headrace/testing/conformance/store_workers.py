# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Workers: leases, renewal, reaping, suspects, quarantine, reconcile."""

from dataclasses import replace
from itertools import pairwise

from headrace.core.model import (
    AttemptOutcome,
    Cause,
    Failure,
    GivenBack,
    Lease,
    Reaped,
    Renewed,
    Retried,
    Succeeded,
    Suspicion,
)
from headrace.core.states import JobState
from headrace.ports.store import StoreSettings
from headrace.testing.conformance.store_base import (
    FOREVER_S,
    WORKER,
    FullStore,
    MakeStore,
    StoreSuite,
    TimeControl,
    accuse,
    claim,
    claim_one,
    crash,
    enqueue_claimed,
    ids_of,
    new_job,
    opened,
    record_of,
    register,
    request,
    settle,
    told,
    worker_record,
)

BOOM = Failure("app.Boom", "it broke")


class WorkersSuite(StoreSuite):
    """What the verbs about workers promise."""

    async def test_registered_workers_are_known(self, make_store: MakeStore) -> None:
        async with opened(make_store) as store:
            assert await store.workers() == []
            record = worker_record("w", queues=("a", "b"), tasks={"t": "(int)"}, concurrency=3, supervisor_pid=7)
            await store.register(record, FOREVER_S)
            (known,) = await store.workers()
            assert known == replace(record, alive=True, running=0)

    async def test_registering_again_changes_the_record(self, store: FullStore) -> None:
        await store.register(worker_record(draining=True), FOREVER_S)
        (known,) = await store.workers()
        assert known.draining

    async def test_registering_again_keeps_what_runs(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await store.register(worker_record(draining=True), FOREVER_S)
        (known,) = await store.workers()
        assert known.running == 1
        assert await settle(store, job, Succeeded()) == "settled"

    async def test_workers_tell_how_much_they_run(self, store: FullStore) -> None:
        await register(store, "worker-2")
        await store.enqueue([new_job() for _ in range(3)])
        jobs = await claim(store)
        assert {worker.id: worker.running for worker in await store.workers()} == {WORKER: 3, "worker-2": 0}
        await settle(store, jobs[0], Succeeded())
        assert {worker.id: worker.running for worker in await store.workers()} == {WORKER: 2, "worker-2": 0}

    async def test_a_live_lease_is_not_reaped(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        assert await store.reap() == Reaped((), (), 0, 0)
        assert (await record_of(store, job.id)).state is JobState.RUNNING

    async def test_a_lease_that_ended_is_reaped(self, make_store: MakeStore, time: TimeControl) -> None:
        async with opened(make_store) as store:
            await register(store, "other")
            await register(store, lease_s=4 * time.tick)
            job = await enqueue_claimed(store)
            await time.pass_time(4 * time.tick)
            assert await store.renew(WORKER, FOREVER_S) == Renewed((), lost=True)
            assert await store.reap() == Reaped((WORKER,), (job.id,), 1, 0)
            assert await store.reap() == Reaped((), (), 0, 0)
            assert [worker.id for worker in await store.workers() if worker.alive] == ["other"]
            assert await claim(store, suspects=True) == []
            assert (await claim_one(store, worker="other", suspects=True)).id == job.id

    async def test_a_renewed_lease_holds(self, make_store: MakeStore, time: TimeControl) -> None:
        async with opened(make_store) as store:
            await register(store, lease_s=4 * time.tick)
            assert await store.renew(WORKER, FOREVER_S) == Renewed(())
            await time.pass_time(5 * time.tick)
            assert await store.reap() == Reaped((), (), 0, 0)
            assert await store.renew(WORKER, FOREVER_S) == Renewed(())

    async def test_an_unknown_worker_has_lost_its_lease(self, store: FullStore) -> None:
        assert await store.renew("nobody", FOREVER_S) == Renewed((), lost=True)
        await store.reap([WORKER])
        assert await store.renew(WORKER, FOREVER_S) == Renewed((), lost=True)

    async def test_a_reaped_worker_may_register_again(self, store: FullStore) -> None:
        await store.reap([WORKER])
        await store.enqueue([new_job()])
        assert await claim(store) == []
        await register(store)
        assert len(await claim(store)) == 1

    async def test_unknown_dead_workers_are_ignored(self, store: FullStore) -> None:
        assert await store.reap(["nobody"]) == Reaped((), (), 0, 0)

    async def test_only_the_dead_lose_their_jobs(self, store: FullStore) -> None:
        await register(store, "worker-2")
        job = await enqueue_claimed(store)
        await store.reap(["worker-2"])
        assert await settle(store, job, Succeeded()) == "settled"

    async def test_unregistering_gives_back_without_suspicion(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await store.unregister(WORKER)
        await store.unregister(WORKER)
        await store.unregister("nobody")
        assert [worker for worker in await store.workers() if worker.alive] == []
        record = await record_of(store, job.id)
        assert (record.state, record.suspect, record.failures, record.crashes) == (JobState.READY, Suspicion.NONE, 0, 0)
        await register(store)
        again = await claim_one(store)
        assert (again.id, again.attempt, again.failures) == (job.id, 2, 0)
        assert (await store.attempts(job.id))[0].outcome is AttemptOutcome.GIVEN_BACK
        assert await settle(store, job, Succeeded()) == "lost"

    # -- suspects -----------------------------------------------------------------------------

    async def test_a_crash_makes_suspects_that_are_ready_at_once(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(5)])
        jobs = await claim(store)
        reaped = await crash(store)
        assert reaped.workers == (WORKER,)
        assert (set(reaped.jobs), reaped.suspects, reaped.quarantined) == (set(ids_of(jobs)), 5, 0)
        for record in await store.get(ids_of(jobs)):
            assert record is not None
            assert (record.state, record.suspect, record.crashes, record.failures) == (
                JobState.READY,
                Suspicion.SHARED,
                0,
                0,
            )

    async def test_suspects_go_only_to_who_asks(self, store: FullStore) -> None:
        suspect = await enqueue_claimed(store)
        await crash(store)
        innocent = new_job()
        await store.enqueue([innocent])
        assert not (await store.exchange(WORKER, (), request(0))).claimed
        answer = await store.exchange(WORKER, (), request())
        assert (ids_of(answer.claimed), answer.more) == ([innocent.id], False)
        another = new_job()
        await store.enqueue([another])
        (claimed,) = await claim(store, suspects=True)
        assert (claimed.id, claimed.suspect, claimed.attempt, claimed.failures) == (suspect.id, Suspicion.SHARED, 2, 0)
        assert ids_of(await claim(store, suspects=True)) == []
        assert ids_of(await claim(store, suspects=None)) == [another.id]

    async def test_both_kinds_for_who_asks_for_both(self, store: FullStore) -> None:
        suspect = await enqueue_claimed(store)
        await crash(store)
        innocent = new_job()
        await store.enqueue([innocent])
        claimed = await claim(store, suspects=None)
        assert {job.id: job.suspect for job in claimed} == {suspect.id: Suspicion.SHARED, innocent.id: Suspicion.NONE}

    async def test_a_suspect_that_ends_in_order_is_none_any_more(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await crash(store)
        await settle(store, await claim_one(store, suspects=True), Retried(BOOM))
        record = await record_of(store, job.id)
        assert (record.suspect, record.failures, record.crashes) == (Suspicion.NONE, 1, 0)
        assert (await claim_one(store)).id == job.id

    async def test_a_suspect_that_is_given_back_stays_one(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await crash(store)
        await settle(store, await claim_one(store, suspects=True), GivenBack(started=False))
        assert (await record_of(store, job.id)).suspect
        assert await claim(store) == []
        assert (await claim_one(store, suspects=True)).attempt == 2

    async def test_each_kind_of_suspect_goes_to_who_asks_for_it(self, store: FullStore) -> None:
        alone = await accuse(store)
        shared = await enqueue_claimed(store)
        await crash(store)
        wanted = request()
        for kind, job in ((Suspicion.NONE, None), (Suspicion.SHARED, shared), (Suspicion.ALONE, alone)):
            answer = await store.exchange(WORKER, (), replace(wanted, suspicion=(kind,)))
            assert [(got.id, got.suspect) for got in answer.claimed] == ([] if job is None else [(job.id, kind)])
            assert not answer.more

    async def test_a_crash_among_suspects_accuses_nobody_yet(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(3)])
        jobs = await claim(store)
        await crash(store)
        assert {job.suspect for job in await claim(store, suspects=True)} == {Suspicion.SHARED}
        reaped = await crash(store)
        assert (len(reaped.jobs), reaped.suspects, reaped.quarantined) == (3, 3, 0)
        for record in await store.get(ids_of(jobs)):
            assert record is not None
            assert (record.state, record.suspect, record.crashes) == (JobState.READY, Suspicion.ALONE, 0)

    async def test_a_crash_alone_counts_and_backs_off(self, make_store: MakeStore) -> None:
        settings = StoreSettings(crashes_max=4, crash_backoff_s=8.0)
        async with opened(make_store, settings) as store:
            await register(store)
            job = await accuse(store)
            record = await record_of(store, job.id)
            assert (record.state, record.suspect, record.crashes) == (JobState.READY, Suspicion.ALONE, 0)
            await claim_one(store, suspects=True)
            reaped = await crash(store)
            assert (reaped.jobs, reaped.suspects, reaped.quarantined) == ((job.id,), 1, 0)
            record = await record_of(store, job.id)
            assert (record.state, record.suspect, record.crashes) == (JobState.SCHEDULED, Suspicion.ALONE, 1)
            due_s = (await store.exchange(WORKER, (), None)).next_due_s
            assert due_s is not None
            assert 4 < due_s <= 8

    async def test_the_back_off_doubles(self, make_store: MakeStore, time: TimeControl) -> None:
        settings = StoreSettings(crashes_max=10, crash_backoff_s=time.tick / 16)
        async with opened(make_store, settings) as store:
            await register(store)
            job = await accuse(store)
            delays: list[float] = []
            for _ in range(4):
                await claim_one(store, suspects=True)
                await crash(store)
                record = await record_of(store, job.id)
                last = (await store.attempts(job.id))[-1]
                assert record.run_at is not None
                assert last.ended_at is not None
                delays.append(record.run_at - last.ended_at)
                await time.pass_time(time.tick)
                await store.promote(10)
            ratios = [after / before for before, after in pairwise(delays)]
            assert all(1.9 < ratio < 2.1 for ratio in ratios), delays

    async def test_quarantine_at_the_limit(self, make_store: MakeStore, time: TimeControl) -> None:
        settings = StoreSettings(crashes_max=2, crash_backoff_s=time.tick)
        async with opened(make_store, settings) as store:
            await register(store)
            job = await accuse(store)
            await claim_one(store, suspects=True)
            await crash(store)
            await time.pass_time(time.tick)
            await store.promote(10)
            await claim_one(store, suspects=True)
            reaped = await crash(store)
            assert (reaped.jobs, reaped.suspects, reaped.quarantined) == ((job.id,), 0, 1)
            record = await record_of(store, job.id)
            assert (record.state, record.crashes, record.failures) == (JobState.FAILED, 2, 0)
            assert record.failure is not None
            assert record.failure.cause is Cause.CRASHED
            outcomes = [attempt.outcome for attempt in await store.attempts(job.id)]
            assert outcomes == [AttemptOutcome.CRASHED] * 4
            assert await claim(store, suspects=None) == []

    async def test_a_person_may_retry_a_quarantined_job_which_stays_a_suspect(self, make_store: MakeStore) -> None:
        async with opened(make_store, StoreSettings(crashes_max=1)) as store:
            await register(store)
            job = await accuse(store)
            await claim_one(store, suspects=True)
            await crash(store)
            assert await store.retry([job.id]) == ["ready"]
            assert await claim(store) == []
            again = await claim_one(store, suspects=True)
            assert (again.suspect, again.crashes, again.failures, again.attempt) == (Suspicion.ALONE, 0, 0, 4)

    async def test_a_crashed_job_that_was_asked_to_cancel_ends(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await store.cancel([job.id])
        reaped = await crash(store)
        assert (reaped.jobs, reaped.suspects, reaped.quarantined) == ((job.id,), 0, 0)
        assert (await record_of(store, job.id)).state is JobState.CANCELLED
        assert await told(store, job.id) == ["ready#0", "running#1", "end:cancelled#1"]

    # -- reconcile ----------------------------------------------------------------------------

    async def test_reconcile_gives_back_what_the_worker_does_not_know(self, store: FullStore) -> None:
        await register(store, "worker-2")
        await store.enqueue([new_job() for _ in range(3)])
        a, b, c = await claim(store)
        elsewhere = new_job()
        await store.enqueue([elsewhere])
        await claim(store, worker="worker-2")
        assert await store.reconcile(WORKER, [Lease(b.id, b.fence), Lease(new_job().id, 1)]) == 2
        assert await store.reconcile(WORKER, [Lease(b.id, b.fence)]) == 0
        states = [record.state.value for record in await store.get([a.id, b.id, c.id, elsewhere.id]) if record]
        assert states == ["ready", "running", "ready", "running"]
        again = await claim(store)
        assert {(job.id, job.attempt, job.suspect) for job in again} == {
            (a.id, 1, Suspicion.NONE),
            (c.id, 1, Suspicion.NONE),
        }
        assert await settle(store, a, Succeeded()) == "lost"
        assert await settle(store, b, Succeeded()) == "settled"

    async def test_a_claim_that_the_worker_knows_under_an_older_fence_is_given_back(self, store: FullStore) -> None:
        """It still waits for the answer to a settle, and the job was claimed for it again since."""
        former = await enqueue_claimed(store)
        await settle(store, former, Retried(BOOM))
        unknown = await claim_one(store)
        assert await store.reconcile(WORKER, [Lease(former.id, former.fence)]) == 1
        assert (await record_of(store, former.id)).state is JobState.READY
        again = await claim_one(store)
        assert (again.id, again.attempt, again.failures) == (former.id, 2, 1)
        assert await settle(store, unknown, Succeeded()) == "lost"
        both = [Lease(again.id, again.fence), Lease(former.id, former.fence)]
        assert await store.reconcile(WORKER, both) == 0
        assert await settle(store, again, Succeeded()) == "settled"

    async def test_reconcile_of_an_unknown_worker_does_nothing(self, store: FullStore) -> None:
        await enqueue_claimed(store)
        assert await store.reconcile("nobody", []) == 0
