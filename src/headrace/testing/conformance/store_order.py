# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Ordered tasks: of each key one job after the other, whatever becomes of the one whose turn it is."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from headrace.core.limits import Limit, RateLimit, ScopeState, TaskLimit, turn_of
from headrace.core.model import (
    Cancelled,
    ClaimedJob,
    Exchanged,
    Failed,
    Failure,
    GivenBack,
    JobId,
    NewJob,
    Outcome,
    Retried,
    Settle,
    Snoozed,
    Succeeded,
)
from headrace.ports.store import Store, StoreSettings
from headrace.testing.conformance.store_base import (
    WORKER,
    FullStore,
    MakeStore,
    StoreSuite,
    TimeControl,
    claim,
    crash,
    ids_of,
    new_job,
    opened,
    record_of,
    register,
    request,
    settle,
)

ORDERED = TaskLimit("charge", ordered=True)
NO = Failure("E", "no")


async def ask(
    store: Store,
    most: int = 10,
    *,
    limit: TaskLimit = ORDERED,
    worker: str = WORKER,
    settles: Sequence[Settle] = (),
    suspects: bool | None = None,
) -> Exchanged:
    """An exchange of a worker that knows that the task is ordered."""
    answer = await store.exchange(worker, settles, replace(request(most, suspects=suspects), limits=(limit,)))
    assert all(result == "settled" for result in answer.settled)
    return answer


async def take(
    store: Store, most: int = 10, *, limit: TaskLimit = ORDERED, worker: str = WORKER, suspects: bool | None = None
) -> list[ClaimedJob]:
    """What such a claim takes."""
    return list((await ask(store, most, limit=limit, worker=worker, suspects=suspects)).claimed)


async def enqueue(store: Store, keys: str = "aaa", **fields: Any) -> list[NewJob]:
    """A job of each key, in order."""
    jobs = [new_job(lane_key=key, **fields) for key in keys]
    await store.enqueue(jobs)
    return jobs


class OrderSuite(StoreSuite):
    """What a claim promises about ordered tasks."""

    # -- turns --------------------------------------------------------------------------------

    async def test_of_each_key_one_at_a_time_and_in_order(self, store: FullStore) -> None:
        jobs = await enqueue(store, "aabab")
        by_key = {key: [job.id for job in jobs if job.lane_key == key] for key in "ab"}
        first = await ask(store)
        assert sorted(ids_of(first.claimed)) == sorted([by_key["a"][0], by_key["b"][0]])
        assert (first.more, first.next_start_s) == (False, None)
        again = await ask(store)
        assert (again.claimed, again.more) == ((), False)
        order: list[JobId] = []
        running = list(first.claimed)
        while running:
            order += ids_of(running)
            running = list(
                (await ask(store, settles=[Settle(job.id, job.fence, Succeeded()) for job in running])).claimed
            )
        for wanted in by_key.values():
            assert [each for each in order if each in wanted] == wanted

    async def test_what_there_was_no_room_for_is_more(self, store: FullStore) -> None:
        await enqueue(store, "aabb")
        assert (await ask(store, 1)).more
        assert not (await ask(store, 1)).more

    async def test_other_tasks_are_taken_beside_it(self, store: FullStore) -> None:
        await enqueue(store)
        await enqueue(store, "aaaa", task="refund")
        assert sorted(job.task for job in await take(store)) == ["charge"] + ["refund"] * 4

    async def test_workers_share_one_line(self, store: FullStore) -> None:
        await register(store, "worker-2")
        first, second, _ = await enqueue(store)
        (job,) = await take(store)
        assert await take(store, worker="worker-2") == []
        await settle(store, job, Succeeded())
        assert (job.id, ids_of(await take(store, worker="worker-2"))) == (first.id, [second.id])

    async def test_queues_of_a_task_share_the_turns_of_a_key(self, store: FullStore) -> None:
        await enqueue(store, "ab", queue="mail")
        await enqueue(store, "ab", queue="billing")
        claimed = await take(store)
        assert len(claimed) == 2
        assert await take(store) == []
        await store.exchange(WORKER, [Settle(job.id, job.fence, Succeeded()) for job in claimed], None)
        assert len(await take(store)) == 2

    async def test_of_a_batch_the_order_is_that_in_which_it_was_given(self, store: FullStore) -> None:
        jobs = await enqueue(store, "a" * 50)
        order: list[JobId] = []
        settles: list[Settle] = []
        for _ in jobs:
            (job,) = (await ask(store, settles=settles)).claimed
            order.append(job.id)
            settles = [Settle(job.id, job.fence, Succeeded())]
        assert order == ids_of(jobs)

    async def test_scopes_tell_whose_turn_it_is(self, store: FullStore) -> None:
        names = [turn_of("charge", "a"), turn_of("charge", "b")]
        assert await store.scopes(names) == [ScopeState(0, None, None)] * 2
        first, _, other = await enqueue(store, "aab")
        await take(store)
        assert [state.holder for state in await store.scopes(names)] == [first.id, other.id]
        await store.reconcile(WORKER, [])
        await store.cancel([other.id])
        assert [state.holder for state in await store.scopes(names)] == [first.id, None]

    # -- whose turn it is keeps it ----------------------------------------------------------------

    @pytest.mark.parametrize(
        "outcome",
        [Retried(NO), Snoozed(0.0), GivenBack(started=True), GivenBack(started=False)],
        ids=["retry", "snooze", "given back", "given back unstarted"],
    )
    async def test_who_is_ready_again_goes_before_the_others(self, store: FullStore, outcome: Outcome) -> None:
        first, *_ = await enqueue(store)
        (job,) = await take(store)
        await settle(store, job, outcome)
        await store.promote(10)
        assert ids_of(await take(store)) == [first.id]
        assert await take(store) == []

    @pytest.mark.parametrize("outcome", [Retried(NO, 1.0), Snoozed(1.0)], ids=["retry", "snooze"])
    async def test_nobody_passes_one_that_waits_for_its_time(
        self, store: FullStore, time: TimeControl, outcome: Retried | Snoozed
    ) -> None:
        first, *_ = await enqueue(store)
        (job,) = await take(store)
        await settle(store, job, replace(outcome, delay_s=time.tick))
        answer = await ask(store)
        assert (answer.claimed, answer.more, answer.next_start_s) == ((), False, None)
        await time.pass_time(time.tick)
        assert (await store.promote(10))[0] == 1
        assert ids_of(await take(store)) == [first.id]

    async def test_a_suspect_keeps_its_turn_and_runs_among_suspects(self, store: FullStore) -> None:
        first, second, _ = await enqueue(store)
        await take(store)
        await crash(store)
        assert await take(store, suspects=False) == []
        (job,) = await take(store, suspects=True)
        assert job.id == first.id
        await settle(store, job, Succeeded())
        assert ids_of(await take(store, suspects=False)) == [second.id]

    async def test_one_in_quarantine_lets_the_next_one_pass(self, make_store: MakeStore) -> None:
        async with opened(make_store, StoreSettings(crashes_max=1)) as store:
            await register(store)
            first, second, _ = await enqueue(store)
            assert ids_of(await take(store)) == [first.id]
            for _ in range(2):
                await crash(store)
                assert await take(store, suspects=False) == []
                assert ids_of(await take(store, suspects=True)) == [first.id]
            await crash(store)
            assert (await record_of(store, first.id)).state == "failed"
            assert ids_of(await take(store, suspects=False)) == [second.id]

    async def test_what_a_worker_leaves_behind_keeps_its_turn(self, store: FullStore) -> None:
        first, *_ = await enqueue(store)
        await take(store)
        await store.reconcile(WORKER, [])
        assert ids_of(await take(store)) == [first.id]
        await store.unregister(WORKER)
        await register(store)
        assert ids_of(await take(store)) == [first.id]

    # -- and leaves it when it ends ---------------------------------------------------------------

    @pytest.mark.parametrize("outcome", [Succeeded(), Failed(NO), Cancelled()], ids=["success", "failure", "cancelled"])
    async def test_every_end_lets_the_next_one_pass(self, store: FullStore, outcome: Outcome) -> None:
        _, second, third = await enqueue(store)
        (job,) = await take(store)
        (job,) = (await ask(store, settles=[Settle(job.id, job.fence, outcome)])).claimed
        assert job.id == second.id
        await settle(store, job, outcome)
        assert ids_of(await take(store)) == [third.id]

    async def test_one_that_is_cancelled_while_it_waits_lets_the_next_one_pass(
        self, store: FullStore, time: TimeControl
    ) -> None:
        first, second, third = await enqueue(store)
        (job,) = await take(store)
        await settle(store, job, Retried(NO, 100 * time.tick))
        await store.cancel([first.id])
        (job,) = await take(store)
        assert job.id == second.id
        await settle(store, job, GivenBack(started=False))
        await store.cancel([second.id])
        assert ids_of(await take(store)) == [third.id]

    async def test_one_that_is_asked_to_stop_keeps_its_turn_until_it_has(self, store: FullStore) -> None:
        first, second, _ = await enqueue(store)
        (job,) = await take(store)
        await store.cancel([first.id])
        assert await take(store) == []
        await settle(store, job, Retried(NO))  # it ends as cancelled
        assert ids_of(await take(store)) == [second.id]

    async def test_one_that_is_made_ready_again_comes_last(self, store: FullStore) -> None:
        first, second, third = await enqueue(store)
        (job,) = await take(store)
        (job,) = (await ask(store, settles=[Settle(job.id, job.fence, Failed(NO))])).claimed
        await store.retry([first.id])
        order: list[JobId] = []
        while True:
            order.append(job.id)
            claimed = (await ask(store, settles=[Settle(job.id, job.fence, Succeeded())])).claimed
            if not claimed:
                break
            (job,) = claimed
        assert order == [second.id, third.id, first.id]

    async def test_one_that_is_made_ready_again_before_the_next_has_started_goes_on(self, store: FullStore) -> None:
        first, *_ = await enqueue(store)
        (job,) = await take(store)
        await settle(store, job, Failed(NO))
        await store.retry([first.id])
        assert ids_of(await take(store)) == [first.id]

    async def test_a_suspect_that_is_made_ready_again_waits_in_the_same_line(self, store: FullStore) -> None:
        first, second, third = await enqueue(store)
        await take(store)
        await crash(store)
        await store.cancel([first.id])
        (job,) = await take(store)
        await store.retry([first.id])
        await settle(store, job, Succeeded())
        assert await take(store, suspects=True) == []  # it comes after the third
        (next_one,) = await take(store, suspects=False)
        await settle(store, next_one, Succeeded())
        assert await take(store, suspects=False) == []
        assert ids_of([job, next_one, *await take(store, suspects=True)]) == ids_of([second, third, first])

    async def test_what_was_claimed_without_order_has_no_turn(self, store: FullStore) -> None:
        jobs = await enqueue(store)
        await claim(store, 1)  # by a worker that does not know that the task is ordered
        assert ids_of(await take(store)) == [jobs[1].id]

    # -- with limits ------------------------------------------------------------------------------

    async def test_a_limit_over_all_keys_counts_too(self, store: FullStore) -> None:
        jobs = await enqueue(store, "aabbcc")
        limit = replace(ORDERED, concurrency=Limit(2))
        answer = await ask(store, limit=limit)
        assert (len(answer.claimed), answer.more) == (2, False)
        first = answer.claimed[0]
        again = await ask(store, limit=limit, settles=[Settle(first.id, first.fence, Retried(NO, 1000.0))])
        keys = {job.id: job.lane_key for job in jobs}
        assert sorted(keys[job.id] for job in (*answer.claimed, *again.claimed)) == ["a", "b", "c"]

    async def test_a_rate_over_all_keys_counts_too(self, store: FullStore) -> None:
        await enqueue(store, "aabbcc")
        limit = replace(ORDERED, rate=RateLimit(2, 1000.0))
        answer = await ask(store, limit=limit)
        assert len(answer.claimed) == 2
        assert answer.next_start_s is not None
        settles = [Settle(job.id, job.fence, Succeeded()) for job in answer.claimed]
        assert (await ask(store, limit=limit, settles=settles)).claimed == ()

    async def test_a_lane_in_which_nobody_has_a_turn_waits_for_no_rate(self, store: FullStore) -> None:
        await enqueue(store, "aa")
        answer = await ask(store, limit=replace(ORDERED, rate=RateLimit(1, 1000.0)))
        assert (len(answer.claimed), answer.next_start_s) == (1, None)

    # -- all of it --------------------------------------------------------------------------------

    @pytest.mark.timeout(120)
    @pytest.mark.parametrize(
        ("limit", "jobs"),
        [(ORDERED, 1_500), (replace(ORDERED, concurrency=Limit(7)), 300)],
        ids=["ordered", "limited"],
    )
    async def test_many_jobs_of_many_keys_whatever_becomes_of_them(
        self, store: FullStore, time: TimeControl, limit: TaskLimit, jobs: int
    ) -> None:
        await register(store, "worker-2")
        story = _Story(store, time, limit, random.Random(7), jobs)  # noqa: S311 - to be repeatable
        await story.run()
        for key, wanted in story.enqueued.items():
            assert story.started[key] == wanted, key


class _Story:
    """Two workers over jobs of many keys with every outcome; nobody starts while one before it lives."""

    keys = 40

    def __init__(self, store: FullStore, time: TimeControl, limit: TaskLimit, rng: random.Random, jobs: int) -> None:
        self.store, self.time, self.limit, self.rng, self.jobs = store, time, limit, rng, jobs
        self.enqueued: defaultdict[str, list[JobId]] = defaultdict(list)
        self.started: defaultdict[str, list[JobId]] = defaultdict(list)
        self._keys: dict[JobId, str] = {}
        self._running: dict[str, list[ClaimedJob]] = {WORKER: [], "worker-2": []}
        self._alive: dict[str, JobId] = {}
        self._left = 0

    async def run(self) -> None:
        while len(self._keys) < self.jobs or self._left:
            if len(self._keys) < self.jobs:
                await self._enqueue()
            moved = await self.store.promote(1000)
            for worker in self._running:
                await self._work(worker)
            if not any(self._running.values()) and len(self._keys) == self.jobs:
                await self.time.pass_time(self.time.tick if moved[1] is None else min(moved[1], self.time.tick))

    async def _enqueue(self) -> None:
        jobs = [new_job(lane_key=f"{self.rng.randrange(self.keys):02x}", args="[]") for _ in range(100)]
        await self.store.enqueue(jobs)
        self._left += len(jobs)
        for job in jobs:
            self._keys[job.id] = job.lane_key
            self.enqueued[job.lane_key].append(job.id)

    async def _work(self, worker: str) -> None:
        if self.rng.random() < 0.05:
            await self._crash(worker)
        settles = [Settle(job.id, job.fence, self._outcome()) for job in self._running[worker]]
        for entry in settles:
            if isinstance(entry.outcome, Succeeded | Failed | Cancelled):
                self._ended(entry.id)
        suspects = self.rng.choice((False, None, True))
        answer = await ask(
            self.store, self.rng.choice((1, 20)), limit=self.limit, worker=worker, settles=settles, suspects=suspects
        )
        self._running[worker] = list(answer.claimed)
        for job in answer.claimed:
            self._start(job)

    def _start(self, job: ClaimedJob) -> None:
        key = self._keys[job.id]
        assert self._alive.setdefault(key, job.id) == job.id, "it passed one that has begun and not ended"
        if job.id not in self.started[key]:
            self.started[key].append(job.id)

    async def _crash(self, worker: str) -> None:
        held, self._running[worker] = self._running[worker], []
        await crash(self.store, worker)
        for record in await self.store.get(ids_of(held)):
            if record is not None and record.state.terminal:
                self._ended(record.id)

    def _ended(self, job: JobId) -> None:
        self._left -= 1
        assert self._alive.pop(self._keys[job]) == job

    def _outcome(self) -> Outcome:
        delay_s = self.time.tick * self.rng.choice((0.0, 0.1))
        outcomes: list[Outcome] = [
            *[Succeeded()] * 6, Failed(NO), Cancelled(), Retried(NO), Retried(NO, delay_s), Snoozed(delay_s),
            GivenBack(started=False), GivenBack(started=True),
        ]  # fmt: skip
        return self.rng.choice(outcomes)
