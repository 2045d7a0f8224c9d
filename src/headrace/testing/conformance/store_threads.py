# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Many at once: nothing is claimed twice, nothing is lost by a caller that goes away."""

import asyncio
import threading
from collections import Counter

from headrace.core.model import ClaimedJob, Failed, Failure, JobFilter, Lease, Settle, Succeeded
from headrace.core.states import JobState
from headrace.testing.conformance.store_base import (
    FOREVER_S,
    FullStore,
    StoreSuite,
    claim,
    new_job,
    register,
    request,
    told,
)


class ThreadsSuite(StoreSuite):
    """What concurrency must not break."""

    async def test_many_exchanges_never_claim_a_job_twice(self, store: FullStore) -> None:
        jobs = [new_job(lane_key=str(n % 7)) for n in range(300)]
        await store.enqueue(jobs)
        claimed: list[ClaimedJob] = []

        async def work(worker: str) -> None:
            await register(store, worker)
            done: list[Settle] = []
            while True:
                answer = await store.exchange(worker, done, request(5))
                assert set(answer.settled) <= {"settled"}
                if not answer.claimed:
                    return
                claimed.extend(answer.claimed)
                done = [Settle(job.id, job.fence, Succeeded()) for job in answer.claimed]

        await asyncio.gather(*(work(f"worker-{n}") for n in range(8)))
        assert Counter(job.id for job in claimed) == Counter(job.id for job in jobs)
        states = {record.state for record in await store.get([job.id for job in jobs]) if record}
        assert states == {JobState.SUCCEEDED}

    async def test_a_look_has_each_job_once_while_they_end_and_come_back(self, store: FullStore) -> None:
        jobs = [new_job() for _ in range(40)]
        await store.enqueue(jobs)
        newest_first = [job.id for job in reversed(jobs)]

        async def work() -> None:
            for _ in range(5):
                while claimed := await claim(store, 5):
                    settles = [Settle(job.id, job.fence, Failed(Failure("E", "no"))) for job in claimed]
                    await store.exchange("worker-1", settles, None)
                await store.retry(newest_first)

        async with asyncio.TaskGroup() as group:
            working = group.create_task(work())
            while not working.done():
                page = await store.find(JobFilter(), limit=100)
                assert [record.id for record in page.jobs] == newest_first
                await asyncio.sleep(0)  # a store in memory does not give way by itself

    async def test_many_enqueues_of_one_id_land_once(self, store: FullStore) -> None:
        job = new_job()
        answers = await asyncio.gather(*(store.enqueue([job, new_job()]) for _ in range(20)))
        assert sum(answer[0].created for answer in answers) == 1
        assert len(await claim(store, 100)) == 21

    async def test_many_enqueues_of_one_key_land_once(self, store: FullStore) -> None:
        answers = await asyncio.gather(*(store.enqueue([new_job(key="k", key_digest="d")]) for _ in range(20)))
        assert sum(answer[0].created for answer in answers) == 1
        assert len({answer[0].id for answer in answers}) == 1

    async def test_one_settle_wins(self, store: FullStore) -> None:
        await store.enqueue([new_job()])
        (job,) = await claim(store)
        settles = [Settle(job.id, job.fence, Succeeded(str(n))) for n in range(10)]
        answers = await asyncio.gather(*(store.exchange("worker-1", [settle], None) for settle in settles))
        assert Counter(answer.settled[0] for answer in answers) == {"settled": 1, "repeated": 9}

    async def test_calls_come_from_several_event_loops(self, store: FullStore) -> None:
        ids: list[bytes] = []
        errors: list[BaseException] = []

        def enqueue_in_a_loop_of_its_own() -> None:
            async def enqueue() -> None:
                for _ in range(10):
                    answers = await store.enqueue([new_job(), new_job()])
                    ids.extend(answer.id for answer in answers)

            try:
                asyncio.run(enqueue())
            except BaseException as error:  # noqa: BLE001 - it is looked at below, in the test's own thread
                errors.append(error)

        threads = [threading.Thread(target=enqueue_in_a_loop_of_its_own) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join, 30)
        assert errors == []
        assert len(set(ids)) == 80
        assert {job.id for job in await claim(store, 100)} == set(ids)

    async def test_callers_that_go_away_lose_nothing(self, store: FullStore) -> None:
        jobs = [new_job() for _ in range(60)]
        calls = [asyncio.ensure_future(store.enqueue([job])) for job in jobs]
        for turn, call in enumerate(calls):
            if turn % 2:
                await asyncio.sleep(0)
            if turn % 3:
                call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await store.enqueue(jobs)  # whoever does not know repeats it
        claimed: list[Lease] = []
        for _ in range(400):
            exchange = asyncio.ensure_future(store.exchange("worker-1", (), request(5)))
            await asyncio.sleep(0)
            exchange.cancel()
            answer = (await asyncio.gather(exchange, return_exceptions=True))[0]
            if isinstance(answer, asyncio.CancelledError):
                # The claim may have happened: what nobody took is given back.
                await store.reconcile("worker-1", claimed)
                answer = await store.exchange("worker-1", (), request(5))
            assert not isinstance(answer, BaseException)
            claimed += [Lease(job.id, job.fence) for job in answer.claimed]
            if len(claimed) >= len(jobs):
                break
        assert sorted(lease.id for lease in claimed) == sorted(job.id for job in jobs)
        for job in jobs:
            assert (await told(store, job.id))[-1] == "running#1"
        assert (await store.renew("worker-1", FOREVER_S)).cancels == ()
