# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Limits on tasks: what a claim leaves, what frees a slot, rates, keys, and fair shares between them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from headrace.core.limits import Limit, RateLimit, ScopeState, TaskLimit, scope_of
from headrace.core.model import (
    Cancelled,
    ClaimedJob,
    ClaimRequest,
    Exchanged,
    Failed,
    Failure,
    GivenBack,
    NewJob,
    Outcome,
    Pool,
    Retried,
    Settle,
    Snoozed,
    Succeeded,
)
from headrace.testing.conformance.store_base import (
    WORKER,
    FullStore,
    StoreSuite,
    TimeControl,
    claim,
    crash,
    ids_of,
    new_job,
    register,
    request,
    settle,
)

TWO = TaskLimit("charge", Limit(2))
TWO_EACH = TaskLimit("charge", Limit(2, key="tenant"))


async def ask(
    store: FullStore, *limits: TaskLimit, most: int = 10, worker: str = WORKER, settles: Sequence[Settle] = ()
) -> Exchanged:
    """An exchange under limits; in the end it must not have settled too little."""
    answer = await store.exchange(worker, settles, replace(request(most, suspects=None), limits=limits))
    assert all(result == "settled" for result in answer.settled)
    return answer


async def take(store: FullStore, *limits: TaskLimit, most: int = 10, worker: str = WORKER) -> tuple[ClaimedJob, ...]:
    """What a claim under limits takes."""
    return (await ask(store, *limits, most=most, worker=worker)).claimed


class LimitsSuite(StoreSuite):
    """What a claim promises about tasks with limits."""

    # -- how many run at once -----------------------------------------------------------------

    async def test_no_more_run_than_the_limit_and_the_rest_is_no_more(self, store: FullStore) -> None:
        jobs = [new_job() for _ in range(5)]
        await store.enqueue(jobs)
        answer = await ask(store, TWO)
        assert ids_of(answer.claimed) == ids_of(jobs[:2])
        assert (answer.more, answer.next_start_s) == (False, None)
        again = await ask(store, TWO)
        assert (again.claimed, again.more) == ((), False)

    async def test_what_is_left_within_the_limit_is_more(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(5)])
        assert (await ask(store, TWO, most=1)).more
        assert not (await ask(store, TWO, most=1)).more

    async def test_other_tasks_are_taken_beside_a_full_one(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(5)])
        await store.enqueue([new_job(task="refund") for _ in range(20)])
        answer = await ask(store, TWO, most=10)
        assert Counter(job.task for job in answer.claimed) == {"charge": 2, "refund": 8}
        assert answer.more
        answer = await ask(store, TWO, most=20)
        assert Counter(job.task for job in answer.claimed) == {"refund": 12}
        assert not answer.more

    async def test_it_is_one_limit_for_all_workers(self, store: FullStore) -> None:
        await register(store, "worker-2")
        await store.enqueue([new_job() for _ in range(5)])
        assert len(await take(store, TWO, most=1)) == 1
        assert len(await take(store, TWO, worker="worker-2")) == 1
        assert await take(store, TWO) == ()

    async def test_it_is_one_limit_for_all_queues_of_the_task(self, store: FullStore) -> None:
        await store.enqueue([new_job(queue=queue) for queue in "abcd" for _ in range(2)])
        assert len(await take(store, TWO)) == 2
        assert await take(store, TWO) == ()

    async def test_a_key_has_a_limit_of_its_own(self, store: FullStore) -> None:
        await store.enqueue([new_job(lane_key=key) for key in "aaaabbbbc"])
        assert len(await take(store, TWO_EACH)) == 5
        assert await take(store, TWO_EACH) == ()
        await store.enqueue([new_job(lane_key="d")])
        assert len(await take(store, TWO_EACH)) == 1

    async def test_a_limit_over_all_keys_is_shared_by_them_in_turn(self, store: FullStore) -> None:
        jobs = [new_job(lane_key=key) for key in "aaaaaabc"]
        await store.enqueue(jobs)
        tenants = {job.id: job.lane_key for job in jobs}
        one = TaskLimit("charge", Limit(1))
        served: list[str] = []
        settles: list[Settle] = []
        for _ in range(4):
            (job,) = (await ask(store, one, settles=settles)).claimed
            served.append(tenants[job.id])
            settles = [Settle(job.id, job.fence, Succeeded())]
        assert sorted(served[:3]) == ["a", "b", "c"]

    async def test_claims_without_the_limit_do_not_count(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(6)])
        assert len(await claim(store, 3)) == 3
        assert len(await take(store, TWO)) == 2

    async def test_a_pool_takes_no_more_of_them_than_it_says(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(5)])
        await store.enqueue([new_job(task="refund") for _ in range(3)])
        limits = (TaskLimit("charge", Limit(5)),)
        pools = (Pool(frozenset({"charge", "refund"}), 20, limited=2),)
        answer = await store.exchange(WORKER, (), ClaimRequest(pools, limits=limits))
        assert Counter(job.task for job in answer.claimed) == {"charge": 2, "refund": 3}
        assert not answer.more
        none = (Pool(frozenset({"charge", "refund"}), 20, limited=0),)
        answer = await store.exchange(WORKER, (), ClaimRequest(none, limits=limits))
        assert (answer.claimed, answer.more) == ((), False)

    async def test_a_paused_queue_is_held_under_limits_too(self, store: FullStore) -> None:
        await store.enqueue([new_job(queue="mail"), new_job()])
        await store.pause("mail", paused=True)
        answer = await ask(store, TWO)
        assert [job.queue for job in answer.claimed] == ["billing"]
        assert not answer.more

    async def test_only_queues_that_the_worker_serves_under_limits_too(self, store: FullStore) -> None:
        mail, billing = new_job(queue="mail"), new_job(queue="billing")
        await store.enqueue([mail, billing])
        wanted = replace(request(queues=["mail"]), limits=(TWO,))
        assert ids_of((await store.exchange(WORKER, (), wanted)).claimed) == [mail.id]

    async def test_priority_and_order_hold_under_limits(self, store: FullStore) -> None:
        jobs = [new_job(priority=priority) for priority in (0, -5, 9, 0, 9)]
        await store.enqueue(jobs)
        order: list[bytes] = []
        settles: list[Settle] = []
        for _ in jobs:
            (job,) = (await ask(store, TaskLimit("charge", Limit(1)), settles=settles)).claimed
            order.append(job.id)
            settles = [Settle(job.id, job.fence, Succeeded())]
        assert order == [jobs[index].id for index in (2, 4, 0, 3, 1)]

    async def test_an_unknown_worker_claims_nothing_under_limits(self, store: FullStore) -> None:
        await store.enqueue([new_job()])
        assert await take(store, TWO, worker="nobody") == ()
        assert len(await take(store, TWO)) == 1

    # -- what frees a slot --------------------------------------------------------------------

    async def test_every_outcome_frees_a_slot(self, store: FullStore) -> None:
        no = Failure("E", "no")
        outcomes: list[Outcome] = [
            Succeeded(), Failed(no), Retried(no, 1000.0), Snoozed(1000.0), Cancelled(), GivenBack(started=False)
        ]  # fmt: skip
        await store.enqueue([new_job() for _ in range(len(outcomes) + 1)])
        (job,) = await take(store, TaskLimit("charge", Limit(1)))
        for outcome in outcomes:
            assert await take(store, TaskLimit("charge", Limit(1))) == ()
            settles = [Settle(job.id, job.fence, outcome)]
            (job,) = (await ask(store, TaskLimit("charge", Limit(1)), settles=settles)).claimed

    async def test_a_job_that_is_ready_again_takes_a_slot_again(self, store: FullStore) -> None:
        await store.enqueue([new_job()])
        (job,) = await take(store, TWO)
        await settle(store, job, Retried(Failure("E", "no")))
        (again,) = await take(store, TWO)
        await store.enqueue([new_job() for _ in range(3)])
        assert len(await take(store, TWO)) == 1
        assert again.id == job.id

    async def test_a_slot_ends_with_its_attempt_even_if_the_job_runs_again(self, store: FullStore) -> None:
        await store.enqueue([new_job()])
        (job,) = await take(store, TWO)
        await settle(store, job, GivenBack(started=False))
        assert ids_of(await claim(store)) == [job.id]  # by a worker that knows of no limit
        await store.enqueue([new_job() for _ in range(3)])
        assert len(await take(store, TWO)) == 2

    async def test_a_dead_worker_frees_its_slots(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(4)])
        assert len(await take(store, TWO)) == 2
        await crash(store)
        assert len(await take(store, TWO)) == 2
        assert await take(store, TWO) == ()

    async def test_what_is_given_back_frees_its_slot(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(6)])
        await take(store, TWO)
        await store.reconcile(WORKER, [])
        assert len(await take(store, TWO)) == 2
        await store.unregister(WORKER)
        await register(store)
        assert len(await take(store, TWO)) == 2

    async def test_a_job_that_is_asked_to_stop_keeps_its_slot_until_it_has(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(2)])
        (job,) = await take(store, TaskLimit("charge", Limit(1)))
        await store.cancel([job.id])
        assert await take(store, TaskLimit("charge", Limit(1))) == ()
        await settle(store, job, Cancelled())
        assert len(await take(store, TaskLimit("charge", Limit(1)))) == 1

    async def test_a_lower_limit_waits_for_what_runs_and_a_higher_one_does_not(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(9)])
        four = TaskLimit("charge", Limit(4))
        jobs = await take(store, four)
        assert len(jobs) == 4
        for job in jobs[:2]:
            await settle(store, job, Succeeded())
            assert await take(store, TWO) == ()
        assert len(await take(store, four)) == 2

    # -- rates --------------------------------------------------------------------------------

    async def test_no_more_start_than_the_rate(self, store: FullStore, time: TimeControl) -> None:
        rate = TaskLimit("charge", rate=RateLimit(2, 20 * time.tick))
        await store.enqueue([new_job() for _ in range(6)])
        answer = await ask(store, rate)
        assert (len(answer.claimed), answer.more) == (2, False)
        assert answer.next_start_s is not None
        assert 0 < answer.next_start_s <= 10 * time.tick + 0.001
        assert (await ask(store, rate)).claimed == ()
        await time.pass_time(10 * time.tick)
        assert len((await ask(store, rate, most=1)).claimed) == 1

    async def test_the_end_of_an_attempt_gives_a_rate_nothing_back(self, store: FullStore) -> None:
        rate = TaskLimit("charge", rate=RateLimit(2, 1000.0))
        await store.enqueue([new_job() for _ in range(4)])
        jobs = await take(store, rate)
        settles = [Settle(job.id, job.fence, Succeeded()) for job in jobs]
        assert (await ask(store, rate, settles=settles)).claimed == ()

    async def test_a_burst_of_its_own(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(9)])
        assert len(await take(store, TaskLimit("charge", rate=RateLimit(1, 1000.0, burst=3)))) == 3

    async def test_a_rate_for_each_key(self, store: FullStore) -> None:
        await store.enqueue([new_job(lane_key=key) for key in "aaabc"])
        jobs = await take(store, TaskLimit("charge", rate=RateLimit(1, 1000.0, key="tenant")))
        assert len(jobs) == 3

    async def test_nothing_ready_waits_for_no_rate(self, store: FullStore) -> None:
        rate = TaskLimit("charge", rate=RateLimit(1, 1000.0))
        await store.enqueue([new_job()])
        assert (await ask(store, rate)).next_start_s is None
        assert (await ask(store, rate)).next_start_s is None

    async def test_both_limits_of_a_task_count(self, store: FullStore) -> None:
        both = TaskLimit("charge", Limit(2, key="tenant"), RateLimit(3, 3000.0))
        await store.enqueue([new_job(lane_key=key) for key in "aaaabbbb"])
        answer = await ask(store, both)
        assert len(answer.claimed) == 3
        assert (answer.more, answer.next_start_s is not None) == (False, True)

    async def test_an_end_and_not_a_rate_is_waited_for_where_both_are_used_up(self, store: FullStore) -> None:
        both = TaskLimit("charge", Limit(1), RateLimit(1, 1000.0))
        await store.enqueue([new_job() for _ in range(2)])
        answer = await ask(store, both)
        assert (len(answer.claimed), answer.next_start_s) == (1, None)

    async def test_scopes_tell_what_runs_and_where_rates_stand(self, store: FullStore, time: TimeControl) -> None:
        limit = TaskLimit("charge", Limit(3, key="tenant"), RateLimit(4, 400 * time.tick))
        names = [scope_of("charge", "a"), scope_of("charge", "b"), scope_of("charge", None)]
        assert await store.scopes(names) == [ScopeState(0, None)] * 3
        await store.enqueue([new_job(lane_key=key) for key in "aaab"])
        jobs = await take(store, limit, most=2)
        await settle(store, next(job for job in jobs if job.id == jobs[0].id), Succeeded())
        found = await store.scopes(names)
        assert sum(state.running for state in found) == 1
        assert [state.rate_at for state in found[:2]] == [None, None]
        ahead_s = found[2].rate_at
        assert ahead_s is not None
        assert 190 * time.tick < ahead_s <= 200 * time.tick
        assert await store.scopes([]) == []

    # -- fair shares --------------------------------------------------------------------------

    async def test_one_key_with_thousands_does_not_delay_the_one_job_of_another(self, store: FullStore) -> None:
        for _ in range(10):
            await store.enqueue([new_job(lane_key="busy", args="[]") for _ in range(1000)])
        lone = new_job(lane_key="quiet", args="[]")
        await store.enqueue([lone])
        taken: list[bytes] = []
        for _ in range(2):
            taken += ids_of(await claim(store, 1))
        assert lone.id in taken

    async def test_keys_take_turns_under_limits(self, store: FullStore) -> None:
        jobs = [new_job(lane_key=key) for key in "aaaaaaaabc"]
        await store.enqueue(jobs)
        tenants = {job.id: job.lane_key for job in jobs}
        limit = TaskLimit("charge", Limit(100, key="tenant"))
        served = [tenants[(await take(store, limit, most=1))[0].id] for _ in range(4)]
        assert sorted(served[:3]) == ["a", "b", "c"]

    async def test_a_full_key_does_not_hold_up_the_others(self, store: FullStore) -> None:
        await store.enqueue([new_job(lane_key="full") for _ in range(50)])
        await take(store, TWO_EACH)
        await store.enqueue([new_job(lane_key=key) for key in ("a", "z")])
        assert len(await take(store, TWO_EACH, most=2)) == 2

    async def test_limited_and_unlimited_tasks_share_a_worker(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(40)])
        await store.enqueue([new_job(task="refund") for _ in range(40)])
        served: Counter[str] = Counter()
        settles: list[Settle] = []
        for _ in range(20):
            claimed = (await ask(store, TaskLimit("charge", Limit(100)), most=1, settles=settles)).claimed
            served.update(job.task for job in claimed)
            settles = [Settle(job.id, job.fence, Succeeded()) for job in claimed]
        assert min(served["charge"], served["refund"]) >= 5, served

    # -- all at once --------------------------------------------------------------------------

    async def test_many_claimers_at_once_never_pass_it(self, store: FullStore) -> None:
        names = [f"worker-{number}" for number in range(8)]
        for name in names:
            await register(store, name)
        jobs: list[NewJob] = [new_job(lane_key=key) for key in "abc" for _ in range(40)]
        await store.enqueue(jobs)
        tenants = {job.id: job.lane_key for job in jobs}
        running: Counter[str] = Counter()
        most: Counter[str] = Counter()
        left = len(jobs)

        async def work(name: str) -> None:
            nonlocal left
            settles: list[Settle] = []
            while left > 0:
                for entry in settles:
                    running[tenants[entry.id]] -= 1
                claimed = (await ask(store, TWO_EACH, most=3, worker=name, settles=settles)).claimed
                for job in claimed:
                    running[tenants[job.id]] += 1
                    most[tenants[job.id]] = max(most[tenants[job.id]], running[tenants[job.id]])
                left -= len(claimed)
                await asyncio.sleep(0.001)
                settles = [Settle(job.id, job.fence, Succeeded()) for job in claimed]
            await store.exchange(name, settles, None)

        async with asyncio.timeout(60):
            await asyncio.gather(*(work(name) for name in names))
        assert left == 0
        assert max(most.values()) <= 2
