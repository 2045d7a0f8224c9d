# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Exchange, the claiming half: fair, ordered, guarded by pools, queues, pauses and suspicion."""

from collections import Counter

from headrace.core.model import ClaimRequest, Failure, GivenBack, Pool, Retried, Settle, Snoozed, Succeeded
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
    ids_of,
    new_job,
    record_of,
    register,
    request,
    settle,
)


class ClaimSuite(StoreSuite):
    """What a claim promises."""

    async def test_a_claim_starts_the_job(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        record = await record_of(store, job.id)
        assert (record.state, record.worker, record.attempt) == (JobState.RUNNING, WORKER, 1)
        assert record.fence == job.fence
        assert record.offset == job.offset
        assert record.started_at is not None
        assert await claim(store) == []

    async def test_first_in_first_out_within_a_lane(self, store: FullStore) -> None:
        jobs = [new_job() for _ in range(25)]
        await store.enqueue(jobs[:10])
        await store.enqueue(jobs[10:])
        assert ids_of(await claim(store, 20)) == ids_of(jobs[:20])
        assert ids_of(await claim(store, 20)) == ids_of(jobs[20:])

    async def test_priority_comes_first_within_a_lane(self, store: FullStore) -> None:
        jobs = [new_job(priority=priority) for priority in (0, -5, 9, 0, 9)]
        await store.enqueue(jobs)
        order = [jobs[index].id for index in (2, 4, 0, 3, 1)]
        assert [(await claim(store, 1))[0].id for _ in jobs] == order

    async def test_a_returned_job_lines_up_behind(self, store: FullStore) -> None:
        first, second = new_job(), new_job()
        await store.enqueue([first, second])
        (claimed,) = await claim(store, 1)
        await settle(store, claimed, Retried(Failure("E", "no")))
        assert ids_of(await claim(store)) == [second.id, first.id]

    async def test_a_promoted_job_lines_up_behind(self, store: FullStore, time: TimeControl) -> None:
        later = new_job(delay_s=time.tick)
        ready = new_job()
        await store.enqueue([later, ready])
        await time.pass_time(time.tick)
        await store.promote(10)
        assert ids_of(await claim(store)) == [ready.id, later.id]

    async def test_a_claim_tells_how_long_the_job_was_ready(self, store: FullStore, time: TimeControl) -> None:
        later, ready = new_job(delay_s=time.tick), new_job()
        await store.enqueue([later, ready])
        await time.pass_time(time.tick)
        await store.promote(10)
        waited = {job.id: job.waited_s for job in await claim(store)}
        longer, shorter = waited[ready.id], waited[later.id]
        if longer is not None and shorter is not None:  # a store need not know
            assert longer >= time.tick - 0.001
            assert 0.0 <= shorter <= longer - time.tick + 0.001

    async def test_a_long_lane_does_not_starve_another(self, store: FullStore) -> None:
        many = [new_job(priority=100) for _ in range(1000)]
        for start in range(0, 1000, 250):
            await store.enqueue(many[start : start + 250])
        lone = [new_job(task="refund"), new_job(queue="mail"), new_job(lane_key="tenant-2")]
        await store.enqueue(lone)
        assert set(ids_of(lone)) <= set(ids_of(await claim(store, 20)))

    async def test_lanes_take_turns_beside_a_pool_whose_own_lane_is_never_empty(self, store: FullStore) -> None:
        await store.enqueue([new_job(task="refund") for _ in range(20)])
        jobs = [new_job(lane_key=tenant) for tenant in "abcd" for _ in range(20)]
        await store.enqueue(jobs)
        tenants = {job.id: job.lane_key for job in jobs}
        pools = Pool(frozenset({"charge"}), 1), Pool(frozenset({"refund"}), 1)
        served: Counter[str] = Counter()
        for _ in range(12):
            claimed = (await store.exchange(WORKER, (), ClaimRequest(pools))).claimed
            served.update(tenants[job.id] for job in claimed if job.task == "charge")
        assert served == dict.fromkeys("abcd", 3)

    async def test_lanes_take_turns_when_one_job_is_taken_at_a_time(self, store: FullStore) -> None:
        jobs = [new_job(lane_key=tenant) for tenant in "aaaaaaaaaabc"]
        await store.enqueue(jobs)
        tenants = {job.id: job.lane_key for job in jobs}
        served = [tenants[(await claim(store, 1))[0].id] for _ in range(6)]
        assert set(served) == {"a", "b", "c"}

    async def test_a_share_that_a_lane_does_not_use_goes_to_the_others(self, store: FullStore) -> None:
        await store.enqueue([new_job(lane_key="a") for _ in range(30)] + [new_job(lane_key="b") for _ in range(2)])
        assert len(await claim(store, 20)) == 20

    async def test_only_tasks_that_the_worker_knows(self, store: FullStore) -> None:
        known, unknown = new_job(task="charge"), new_job(task="unheard-of")
        await store.enqueue([unknown, known])
        answer = await store.exchange(WORKER, (), request(tasks=["charge"]))
        assert ids_of(answer.claimed) == [known.id]
        assert not answer.more
        assert (await record_of(store, unknown.id)).state is JobState.READY

    async def test_only_queues_that_the_worker_serves(self, store: FullStore) -> None:
        mail, billing = new_job(queue="mail"), new_job(queue="billing")
        await store.enqueue([mail, billing])
        assert ids_of(await claim(store, queues=["mail", "empty"])) == [mail.id]
        assert await claim(store, queues=[]) == []
        assert ids_of(await claim(store)) == [billing.id]

    async def test_pools_have_limits_of_their_own(self, store: FullStore) -> None:
        await store.enqueue([new_job(task="charge") for _ in range(10)] + [new_job(task="refund") for _ in range(10)])
        pools = (Pool(frozenset({"charge"}), 3), Pool(frozenset({"refund"}), 5))
        answer = await store.exchange(WORKER, (), ClaimRequest(pools))
        assert Counter(job.task for job in answer.claimed) == {"charge": 3, "refund": 5}
        assert answer.more

    async def test_a_pool_without_room_takes_nothing(self, store: FullStore) -> None:
        await store.enqueue([new_job(task="charge"), new_job(task="refund")])
        pools = (Pool(frozenset({"charge"}), 0), Pool(frozenset({"refund"}), 5))
        answer = await store.exchange(WORKER, (), ClaimRequest(pools))
        assert [job.task for job in answer.claimed] == ["refund"]

    async def test_more_says_whether_work_was_left(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(4)])
        assert (await store.exchange(WORKER, (), request(3))).more
        assert not (await store.exchange(WORKER, (), request(3))).more
        assert not (await store.exchange(WORKER, (), request(3))).more

    async def test_a_paused_queue_is_held_and_released(self, store: FullStore) -> None:
        held, free = new_job(queue="mail"), new_job()
        await store.enqueue([held, free])
        await store.pause("mail", paused=True)
        answer = await store.exchange(WORKER, (), request())
        assert ids_of(answer.claimed) == [free.id]
        assert not answer.more
        assert (await record_of(store, held.id)).state is JobState.READY
        late = new_job(queue="mail")
        await store.enqueue([late])
        assert await claim(store) == []
        await store.pause("mail", paused=False)
        assert ids_of(await claim(store)) == [held.id, late.id]

    async def test_a_queue_may_be_paused_before_it_has_jobs(self, store: FullStore) -> None:
        await store.pause("mail", paused=True)
        await store.enqueue([new_job(queue="mail")])
        assert await claim(store) == []

    async def test_an_unknown_worker_claims_nothing_but_settles(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await store.enqueue([new_job()])
        answer = await store.exchange("nobody", [Settle(job.id, job.fence, Succeeded())], request())
        assert answer.settled == ("settled",)
        assert answer.claimed == ()

    async def test_an_unregistered_worker_claims_nothing(self, store: FullStore) -> None:
        await store.enqueue([new_job()])
        await store.unregister(WORKER)
        assert await claim(store) == []

    async def test_every_claim_raises_the_fence(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        fences = [job.fence]
        await settle(store, job, Retried(Failure("E", "no")))
        fences.append((job := await claim_one(store)).fence)
        await settle(store, job, GivenBack(started=False))
        fences.append((job := await claim_one(store)).fence)
        await settle(store, job, Snoozed(0))
        await store.promote(10)
        fences.append((job := await claim_one(store)).fence)
        await store.reconcile(WORKER, [])
        fences.append((job := await claim_one(store)).fence)
        await store.reap([WORKER])
        await register(store)
        fences.append((job := await claim_one(store, suspects=True)).fence)
        await store.cancel([job.id])
        await settle(store, job, GivenBack(started=True))
        await store.retry([job.id])
        fences.append((await claim_one(store, suspects=None)).fence)
        assert fences == sorted(set(fences))

    async def test_settle_and_claim_in_one_exchange(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        answer = await store.exchange(WORKER, [Settle(job.id, job.fence, Retried(Failure("E", "no")))], request())
        assert answer.settled == ("settled",)
        assert [(again.id, again.attempt, again.failures) for again in answer.claimed] == [(job.id, 2, 1)]

    async def test_no_claim_asked_none_made(self, store: FullStore) -> None:
        await store.enqueue([new_job()])
        assert (await store.exchange(WORKER, (), None)).claimed == ()
        assert (await store.exchange(WORKER, (), ClaimRequest(()))).claimed == ()

    async def test_the_next_due_job_is_told(self, store: FullStore) -> None:
        assert (await store.exchange(WORKER, (), request())).next_due_s is None
        await store.enqueue([new_job(delay_s=FOREVER_S), new_job(delay_s=1000)])
        due_s = (await store.exchange(WORKER, (), request())).next_due_s
        assert due_s is not None
        assert 900 < due_s <= 1000

    async def test_due_jobs_become_ready_only_by_promote(self, store: FullStore, time: TimeControl) -> None:
        await store.enqueue([new_job(delay_s=time.tick)])
        await time.pass_time(2 * time.tick)
        answer = await store.exchange(WORKER, (), request())
        assert answer.claimed == ()
        assert answer.next_due_s == 0
