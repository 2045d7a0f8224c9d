# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Reading: get, find with filters and pages, queues."""

from headrace.core.load import LoadAsked, QueueLoad
from headrace.core.model import Failed, Failure, JobFilter, JobId, Succeeded
from headrace.core.states import JobState
from headrace.testing.conformance.store_base import (
    FOREVER_S,
    FullStore,
    StoreSuite,
    TimeControl,
    accuse,
    claim,
    claim_one,
    enqueue_claimed,
    ids_of,
    new_job,
    record_of,
    settle,
)


async def find(store: FullStore, **where: object) -> list[JobId]:
    """The ids of all that match, over pages of two."""
    found: list[JobId] = []
    after = None
    while True:
        page = await store.find(JobFilter(**where), after=after, limit=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert len(page.jobs) <= 2
        found += ids_of(page.jobs)
        if page.next_after is None:
            return found
        after = page.next_after


class ReadSuite(StoreSuite):
    """What `get`, `find` and `queues` promise."""

    async def test_get_keeps_the_order_and_tells_the_unknown(self, store: FullStore) -> None:
        a, b = new_job(), new_job()
        await store.enqueue([a, b])
        assert await store.get([]) == []
        got = await store.get([b.id, new_job().id, a.id, b.id])
        assert [record.id if record else None for record in got] == [b.id, None, a.id, b.id]

    async def test_find_gives_newest_first_live_and_ended(self, store: FullStore) -> None:
        ended = await enqueue_claimed(store)
        await settle(store, ended, Succeeded())
        failed = await enqueue_claimed(store)
        await settle(store, failed, Failed(Failure("E", "no")))
        running = await enqueue_claimed(store)
        waiting, later = new_job(), new_job(delay_s=FOREVER_S)
        await store.enqueue([waiting, later])
        everything = [later.id, waiting.id, running.id, failed.id, ended.id]
        assert await find(store) == everything
        assert await find(store, state=JobState.SUCCEEDED) == [ended.id]
        assert await find(store, state=JobState.FAILED) == [failed.id]
        assert await find(store, state=JobState.RUNNING) == [running.id]
        assert await find(store, state=JobState.READY) == [waiting.id]
        assert await find(store, state=JobState.SCHEDULED) == [later.id]
        assert await find(store, state=JobState.CANCELLED) == []
        records = (await store.find(JobFilter(), limit=10)).jobs
        assert list(records) == await store.get(everything)

    async def test_find_on_an_empty_store(self, store: FullStore) -> None:
        page = await store.find(JobFilter())
        assert (page.jobs, page.next_after) == ((), None)

    async def test_the_last_page_knows_that_it_is_the_last(self, store: FullStore) -> None:
        jobs = [new_job() for _ in range(4)]
        await store.enqueue(jobs)
        await settle(store, (await claim(store, 1))[0], Succeeded())
        page = await store.find(JobFilter(), limit=4)
        assert (len(page.jobs), page.next_after) == (4, None)
        page = await store.find(JobFilter(), limit=3)
        assert page.next_after is not None
        page = await store.find(JobFilter(), after=page.next_after, limit=3)
        assert (ids_of(page.jobs), page.next_after) == ([jobs[0].id], None)

    async def test_pages_stay_right_while_jobs_arrive(self, store: FullStore) -> None:
        jobs = [new_job() for _ in range(4)]
        await store.enqueue(jobs)
        first = await store.find(JobFilter(), limit=2)
        await store.enqueue([new_job()])
        second = await store.find(JobFilter(), after=first.next_after, limit=2)
        assert [*ids_of(first.jobs), *ids_of(second.jobs)] == ids_of(jobs[::-1])

    async def test_find_by_task_queue_and_tag(self, store: FullStore) -> None:
        jobs = [
            new_job(task="charge", queue="billing", tags=("eu", "vip")),
            new_job(task="refund", queue="billing", tags=("eu",)),
            new_job(task="charge", queue="mail", tags=("e",)),
            new_job(task="refund", queue="mail", tags=('"eu"', "%")),
        ]
        await store.enqueue(jobs)
        await settle(store, (await claim(store, 1, ["charge"], queues=["billing"]))[0], Succeeded())
        a, b, c, d = ids_of(jobs)
        assert await find(store, task="charge") == [c, a]
        assert await find(store, queue="mail") == [d, c]
        assert await find(store, tag="eu") == [b, a]
        assert await find(store, tag="vip") == [a]
        assert await find(store, tag="%") == [d]
        assert await find(store, tag="none") == []
        assert await find(store, task="charge", queue="billing", tag="eu", state=JobState.SUCCEEDED) == [a]
        assert await find(store, task="charge", queue="billing", tag="eu", state=JobState.READY) == []
        assert await find(store, task="unheard-of") == []

    async def test_find_by_time_of_enqueue(self, store: FullStore, time: TimeControl) -> None:
        early, late = new_job(), new_job()
        await store.enqueue([early])
        await time.pass_time(time.tick)
        await store.enqueue([late])
        at = (await record_of(store, late.id)).created_at
        assert await find(store, created_after=at) == [late.id]
        assert await find(store, created_before=at) == [early.id]
        assert await find(store, created_after=at + 1) == []
        assert await find(store, created_before=at + 1) == [late.id, early.id]

    async def test_queues_are_counted(self, store: FullStore, time: TimeControl) -> None:
        assert await store.queues() == []
        await store.enqueue([new_job(queue="mail")])
        await time.pass_time(time.tick)
        await store.enqueue([new_job(queue="mail"), new_job(queue="mail", delay_s=FOREVER_S), new_job(queue="billing")])
        await claim(store, queues=["billing"])
        await store.pause("attic", paused=True)
        attic, billing, mail = await store.queues()
        assert [queue.name for queue in (attic, billing, mail)] == ["attic", "billing", "mail"]
        assert [queue.paused for queue in (attic, billing, mail)] == [True, False, False]
        live = (JobState.SCHEDULED, JobState.READY, JobState.RUNNING)
        assert [mail.counts.get(state, 0) for state in live] == [1, 2, 0]
        assert [billing.counts.get(state, 0) for state in live] == [0, 0, 1]
        assert [attic.counts.get(state, 0) for state in live] == [0, 0, 0]
        assert mail.oldest_ready_s is not None
        assert time.tick <= mail.oldest_ready_s < time.tick + 60
        assert (attic.oldest_ready_s, billing.oldest_ready_s) == (None, None)

    async def test_a_queue_stays_known_when_it_is_empty(self, store: FullStore) -> None:
        await settle(store, await enqueue_claimed(store), Succeeded())
        (queue,) = await store.queues()
        assert (queue.name, queue.oldest_ready_s) == ("billing", None)
        assert [queue.counts.get(state, 0) for state in (JobState.READY, JobState.RUNNING)] == [0, 0]

    async def test_the_record_follows_the_job(self, store: FullStore) -> None:
        job = new_job(queue="mail", max_attempts=7, timeout_s=3.0)
        await store.enqueue([job])
        record = await record_of(store, job.id)
        assert (record.task, record.queue, record.max_attempts, record.timeout_s) == ("charge", "mail", 7, 3.0)
        assert (record.attempt, record.fence, record.offset, record.worker) == (0, 0, 1, None)
        assert (record.started_at, record.finished_at, record.deadline_at, record.run_at) == (None, None, None, None)
        assert (record.result, record.failure, record.progress, record.result_expired) == (None, None, None, False)
        claimed = await claim_one(store)
        running = await record_of(store, job.id)
        assert (running.attempt, running.fence, running.offset) == (1, claimed.fence, claimed.offset)

    async def test_loads_tell_what_waits_by_task_and_priority(self, store: FullStore, time: TimeControl) -> None:
        await store.enqueue([new_job(priority=5), new_job(), new_job(task="refund")])
        await time.pass_time(2 * time.tick)
        await store.enqueue([new_job(priority=5), new_job(), new_job(delay_s=FOREVER_S), new_job(queue="mail")])
        await store.pause("attic", paused=True)
        asked = [LoadAsked("billing", 100, time.tick), LoadAsked("attic", 100), LoadAsked("gone", 100)]
        billing, attic, gone = await store.loads(asked)
        assert (attic, gone) == (QueueLoad("attic", paused=True), QueueLoad("gone"))
        assert (billing.name, billing.paused, billing.scheduled, billing.ready) == ("billing", False, 1, 5)
        told = [(load.priority, load.task, load.ready, load.older) for load in billing.tasks]
        assert told == [(5, "charge", 2, 1), (0, "charge", 2, 1), (0, "refund", 1, 1)]
        assert all(2 * time.tick - 0.002 <= load.oldest_s < 2 * time.tick + 60 for load in billing.tasks)
        assert await store.loads([]) == []

    async def test_loads_count_no_further_than_asked(self, store: FullStore) -> None:
        await store.enqueue([new_job() for _ in range(5)] + [new_job(priority=1) for _ in range(3)])
        await store.enqueue([new_job(delay_s=FOREVER_S) for _ in range(5)])
        for most, found in ((4, [3, 1]), (3, [3, 0]), (2, [2, 0]), (8, [3, 5])):
            (load,) = await store.loads([LoadAsked("billing", most)])
            assert [task.ready for task in load.tasks] == found
            assert [task.older for task in load.tasks] == found
            assert load.scheduled == min(most, 5)

    async def test_loads_leave_out_what_is_no_work_waiting_in_line(self, store: FullStore) -> None:
        await accuse(store)
        await settle(store, await enqueue_claimed(store), Succeeded())
        await enqueue_claimed(store, task="refund")
        (load,) = await store.loads([LoadAsked("billing", 100)])
        assert load == QueueLoad("billing")
