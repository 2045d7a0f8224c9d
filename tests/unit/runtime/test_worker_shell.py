"""The worker's shell with real bodies on the memory store: what each kind of end does to its job."""

import asyncio
import gc
import logging
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import Depends

from headrace.core.errors import NotEncodable, StoreUnavailable
from headrace.core.ids import IdMaker
from headrace.core.model import (
    AttemptOutcome,
    Cause,
    ClaimRequest,
    Exchanged,
    JobId,
    JobRecord,
    NewJob,
    Settle,
    Succeeded,
    Suspicion,
    UpdateKind,
    WorkerRecord,
)
from headrace.core.retry import Retry
from headrace.core.states import JobState
from headrace.core.worker_events import PoolSettings, Woken, WorkerSettings
from headrace.notifiers.local import LocalNotifier
from headrace.observers.tally import ATTEMPT, ATTEMPTS, EXCHANGE, EXCHANGE_FAILURES, SETTLES, WAIT, Tally
from headrace.runtime.attempt import Attempt
from headrace.runtime.beat import Beat
from headrace.runtime.bodies import Bodies
from headrace.runtime.clock import SystemClock
from headrace.runtime.context import JobContext, SyncJobContext
from headrace.runtime.depends import Injected
from headrace.runtime.registry import Policies, Registry, TaskDef
from headrace.runtime.worker import Worker
from headrace.stores.memory import MemoryStore

DEADLINE_S = 30.0
NOW = Retry(max_attempts=3, initial=0.0)


class Rig:
    """A worker on a memory store, and a way to wait for what it does."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.notifier = LocalNotifier(None)
        self.store = MemoryStore(wall=self.clock.wall, notify=self.notifier.publish, wants=self.notifier.wants)
        self.registry = Registry()
        self.ids = IdMaker()
        self.tally = Tally(self.clock.now)

    def task(self, fn: Callable[..., Any], **policies: Any) -> TaskDef:
        """Register `fn` under its own name."""
        definition = TaskDef(fn.__name__, fn, Policies(**policies))
        self.registry.add(definition)
        return definition

    async def enqueue(self, task: TaskDef, *args: object, **options: Any) -> JobId:
        """Enqueue one job."""
        job = NewJob(
            id=self.ids.make(self.clock.wall(), os.urandom(8)),
            task=task.name,
            queue=task.queue,
            args=task.encode_args(args, {}),
            max_attempts=task.retry.max_attempts,
            signature=task.signature,
            **{"timeout_s": task.timeout_s, **options},
        )
        await self.store.enqueue([job])
        return job.id

    @asynccontextmanager
    async def worker(self, slots: int = 4, beat: Beat | None = None, **settings: Any) -> AsyncIterator[Worker]:
        """A running worker; drained without grace at the end."""
        names = frozenset(self.registry.names())
        record = WorkerRecord("w_test", "host", os.getpid(), "worker", "0", None, {}, slots, self.clock.wall())
        bodies = Bodies(self.registry, self.clock, random.Random(1), threads=2, cpu=None, overrides=dict)
        pools = {"all": PoolSettings(names, slots)}
        worker = Worker(
            self.store,
            self.notifier,
            self.clock,
            bodies,
            record=record,
            settings=WorkerSettings(pools=pools, poll_s=0.1, kill_grace_s=0.5, **settings),
            lease_s=60.0,
            beat=beat,
            observer=self.tally,
        )
        await self.notifier.start()
        running = asyncio.get_running_loop().create_task(worker.run())
        try:
            yield worker
        finally:
            if not running.done():
                await worker.drain(0.0)
            await asyncio.wait_for(running, DEADLINE_S)
            await self.notifier.stop()

    async def record(self, job: JobId) -> JobRecord:
        """What the store knows of it."""
        (found,) = await self.store.get([job])
        assert found is not None
        return found

    async def until(self, job: JobId, *states: JobState) -> JobRecord:
        """Wait for one of the states."""
        async with asyncio.timeout(DEADLINE_S):
            while (found := await self.record(job)).state not in states:  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0.005)
        return found

    async def when(self, what: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                answer = what()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await asyncio.sleep(0.005)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A fresh one."""
    made = Rig()
    await made.store.open()
    yield made
    await made.store.close()


ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


async def test_a_coroutine_and_a_thread_give_their_results(rig: Rig) -> None:
    async def add(ctx: JobContext, one: int, two: int) -> int:
        return one + two + ctx.attempt

    def name(ctx: SyncJobContext) -> str:
        ctx.progress(1, 2)
        return threading.current_thread().name

    added = await rig.enqueue(rig.task(add), 3, 4)
    named = await rig.enqueue(rig.task(name))
    async with rig.worker():
        assert (await rig.until(added, *ENDED)).result == "8"
        assert "headrace-task" in str((await rig.until(named, *ENDED)).result)


async def test_a_failure_is_retried_until_it_succeeds_and_counts(rig: Rig) -> None:
    async def flaky(ctx: JobContext) -> str:
        if ctx.attempt < 3:
            raise ValueError(f"not yet {ctx.attempt}")
        return "done"

    job = await rig.enqueue(rig.task(flaky, retry=NOW))
    async with rig.worker():
        record = await rig.until(job, *ENDED)
    assert (record.state, record.attempt, record.failures) == (JobState.SUCCEEDED, 3, 2)
    assert [each.outcome for each in await rig.store.attempts(job)] == [
        AttemptOutcome.RETRY,
        AttemptOutcome.RETRY,
        AttemptOutcome.SUCCEEDED,
    ]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), asyncio.CancelledError()])
async def test_whatever_a_body_raises_the_worker_lives_and_the_job_fails(rig: Rig, error: BaseException) -> None:
    async def broken() -> None:
        raise error

    async def fine() -> int:
        return 1

    job = await rig.enqueue(rig.task(broken, retry=Retry(max_attempts=1)))
    task = rig.task(fine)
    async with rig.worker():
        record = await rig.until(job, *ENDED)
        assert record.failure is not None
        assert record.failure.type.endswith(type(error).__name__)
        assert (await rig.until(await rig.enqueue(task), *ENDED)).result == "1"


async def test_steering_goes_where_it_says(rig: Rig) -> None:
    async def steer(ctx: JobContext, where: str) -> str:
        if ctx.attempt > 1:
            return "second"
        if where == "snooze":
            raise ctx.snooze(0.01, "a little later")
        if where == "retry":
            raise ctx.retry(after=0.01)
        raise ctx.abandon("no such invoice")

    task = rig.task(steer)
    snoozed, retried, abandoned = [await rig.enqueue(task, where) for where in ("snooze", "retry", "abandon")]
    async with rig.worker():
        one, two, three = [await rig.until(job, *ENDED) for job in (snoozed, retried, abandoned)]
    assert (one.state, one.failures, one.snoozes) == (JobState.SUCCEEDED, 0, 1)
    assert (two.state, two.failures, two.snoozes) == (JobState.SUCCEEDED, 1, 0)
    assert three.state is JobState.FAILED
    assert three.failure is not None
    assert (three.failure.cause, three.failure.message) == (Cause.ABANDONED, "no such invoice")


async def test_a_timeout_interrupts_a_coroutine_and_counts_as_a_failure(rig: Rig) -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    job = await rig.enqueue(rig.task(slow, timeout_s=0.05, retry=Retry(max_attempts=1)))
    async with rig.worker():
        record = await rig.until(job, *ENDED)
    assert record.failure is not None
    assert record.failure.cause is Cause.TIMEOUT


async def test_a_deadline_ends_the_job_whatever_retry_says(rig: Rig) -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    job = await rig.enqueue(rig.task(slow, retry=NOW), deadline_s=0.05)
    async with rig.worker():
        record = await rig.until(job, *ENDED)
    assert record.failure is not None
    assert record.failure.cause is Cause.DEADLINE


async def test_a_cancel_interrupts_a_coroutine_and_shows_in_a_thread(rig: Rig) -> None:
    seen = threading.Event()

    async def waits() -> None:
        await asyncio.sleep(60)

    def looks(ctx: SyncJobContext) -> None:
        ends = time.monotonic() + DEADLINE_S
        while not ctx.cancelled and time.monotonic() < ends:
            time.sleep(0.005)
        seen.set()
        raise RuntimeError("stopped")

    jobs = [await rig.enqueue(rig.task(waits)), await rig.enqueue(rig.task(looks))]
    async with rig.worker() as worker:
        for job in jobs:
            await rig.until(job, JobState.RUNNING)
        await rig.store.cancel(jobs)
        worker.cancel((await rig.store.renew("w_test", 60.0)).cancels)
        assert [(await rig.until(job, *ENDED)).state for job in jobs] == [JobState.CANCELLED] * 2
    assert seen.is_set()


async def test_draining_gives_a_running_job_back_without_a_failure(rig: Rig) -> None:
    async def waits() -> None:
        await asyncio.sleep(60)

    job = await rig.enqueue(rig.task(waits))
    async with rig.worker() as worker:
        await rig.until(job, JobState.RUNNING)
        await worker.drain(0.02)
        record = await rig.until(job, JobState.READY)
    assert (record.failures, record.crashes) == (0, 0)
    assert not await rig.store.workers()


async def test_an_outcome_whose_exchange_hangs_is_sent_again_before_the_worker_ends(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def quick() -> str:
        return "done"

    exchange, hung = rig.store.exchange, asyncio.Event()

    async def hang_once(worker: str, settles: Sequence[Settle], claim: ClaimRequest | None) -> Exchanged:
        if settles and not hung.is_set():
            hung.set()
            await asyncio.get_running_loop().create_future()
        return await exchange(worker, settles, claim)

    monkeypatch.setattr(rig.store, "exchange", hang_once)
    monkeypatch.setattr("headrace.runtime.worker.CLEAN_UP_S", 0.2)
    job = await rig.enqueue(rig.task(quick))
    async with rig.worker() as worker:
        await hung.wait()
        await worker.drain(0.0)
    assert (await rig.record(job)).state is JobState.SUCCEEDED


async def test_an_outcome_that_is_refused_at_the_very_end_fails_its_job_and_holds_up_no_other(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def returns(what: str) -> str:
        return what

    exchange, hung = rig.store.exchange, asyncio.Event()

    async def hang_once_then_refuse(worker: str, settles: Sequence[Settle], claim: ClaimRequest | None) -> Exchanged:
        if settles and not hung.is_set():
            hung.set()
            await asyncio.get_running_loop().create_future()
        if any(settle.outcome == Succeeded('"bad"') for settle in settles):
            raise NotEncodable("one of these outcomes cannot be stored")
        return await exchange(worker, settles, claim)

    monkeypatch.setattr(rig.store, "exchange", hang_once_then_refuse)
    monkeypatch.setattr("headrace.runtime.worker.CLEAN_UP_S", 0.2)
    task = rig.task(returns)
    bad, good, fine = [await rig.enqueue(task, what) for what in ("bad", "good", "fine")]
    async with rig.worker() as worker:
        await hung.wait()
        async with asyncio.timeout(DEADLINE_S):
            while worker.running:  # noqa: ASYNC110 - it is asked
                await asyncio.sleep(0)
        await worker.drain(0.0)
    assert [(await rig.record(job)).state for job in (good, fine)] == [JobState.SUCCEEDED] * 2
    failure = (await rig.record(bad)).failure
    assert failure is not None
    assert failure.type == "headrace.NotStored"


async def test_a_success_whose_answer_never_comes_is_asked_for_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def told(ctx: JobContext) -> str:
        return await ctx.succeed("done")

    exchange, hung = rig.store.exchange, asyncio.Event()

    async def hang_once(worker: str, settles: Sequence[Settle], claim: ClaimRequest | None) -> Exchanged:
        answer = await exchange(worker, settles, claim)
        if settles and not hung.is_set():
            hung.set()
            await asyncio.get_running_loop().create_future()
        return answer

    monkeypatch.setattr(rig.store, "exchange", hang_once)
    monkeypatch.setattr("headrace.runtime.attempt.ANSWER_S", 0.1)
    job = await rig.enqueue(rig.task(told))
    async with rig.worker() as worker:
        await hung.wait()
        assert (await rig.until(job, *ENDED)).state is JobState.SUCCEEDED
        await rig.when(lambda: worker.running == 0)  # the body goes on, and its slot is free again


async def test_items_and_progress_reach_the_feed_and_a_second_attempt_skips_what_is_there(rig: Rig) -> None:
    made: list[tuple[int, str]] = []

    async def emits(ctx: JobContext) -> None:
        for key in ("a", "b"):
            if ctx.emitted(key):
                continue
            made.append((ctx.attempt, key))
            await ctx.emit({"is": key}, key=key)
            if ctx.attempt == 1:
                raise ValueError("after the first")

    job = await rig.enqueue(rig.task(emits, retry=NOW))
    async with rig.worker():
        await rig.until(job, JobState.SUCCEEDED)
    assert made == [(1, "a"), (2, "b")]
    page = await rig.store.read_updates(job, 0, 100)
    assert page is not None
    items = [update for update in page.updates if update.kind is UpdateKind.ITEM]
    assert [(item.attempt, '"a"' in item.data) for item in items] == [(1, True), (2, False)]


async def test_a_success_that_was_told_stands_whatever_the_body_does_then(rig: Rig) -> None:
    async def early(ctx: JobContext) -> int:
        await ctx.succeed(7)
        raise ValueError("too late to matter")

    job = await rig.enqueue(rig.task(early))
    async with rig.worker():
        record = await rig.until(job, *ENDED)
        await asyncio.sleep(0)
    assert (record.state, record.result) == (JobState.SUCCEEDED, "7")


async def test_a_lost_lease_stops_the_body_and_writes_nothing(rig: Rig) -> None:
    stopped = asyncio.Event()

    async def writes(ctx: JobContext) -> None:
        try:
            while True:
                await ctx.emit("still here")
                await asyncio.sleep(0.01)
        finally:
            stopped.set()

    job = await rig.enqueue(rig.task(writes))
    async with rig.worker():
        await rig.until(job, JobState.RUNNING)
        reaped = await rig.store.reap(["w_test"])
        assert reaped.jobs == (job,)
        async with asyncio.timeout(DEADLINE_S):
            await stopped.wait()
        record = await rig.record(job)
    assert (record.state, record.suspect) == (JobState.READY, Suspicion.SHARED)
    assert rig.tally.totals(ATTEMPTS) == {("writes", "lost"): 1}


async def test_nothing_begins_past_the_lease_that_a_supervisor_tells_of(rig: Rig) -> None:
    """The process was held up for longer: it waits for word, and claims nothing meanwhile."""

    async def quick() -> None: ...

    beat = Beat.private()
    beat.held_until = rig.clock.now()
    job = await rig.enqueue(rig.task(quick))
    async with rig.worker(beat=beat) as worker:
        await asyncio.sleep(0.1)
        assert worker.running == 0
        assert (await rig.record(job)).state is JobState.READY
        beat.held_until = rig.clock.now() + 60.0
        await rig.until(job, JobState.SUCCEEDED)


async def test_a_stop_between_two_steps_lets_no_body_begin_past_the_lease(rig: Rig) -> None:
    began: list[float] = []

    async def stands_still() -> None:
        began.append(rig.clock.now())
        if len(began) == 1:
            beat.held_until = rig.clock.now() + 0.1
            time.sleep(0.3)  # noqa: ASYNC251 - as a process that a signal stops
            await asyncio.sleep(0.2)

    beat = Beat.private()
    task = rig.task(stands_still)
    jobs = [await rig.enqueue(task) for _ in range(4)]
    async with rig.worker(beat=beat):
        await rig.when(lambda: bool(began))
        await rig.until(jobs[0], JobState.SUCCEEDED)
        assert len(began) == 1
        beat.held_until = rig.clock.now() + 60.0
        for job in jobs:
            assert (await rig.until(job, JobState.SUCCEEDED)).attempt == 1  # those given back had not begun
    assert len(began) == 4
    assert sum(rig.tally.totals(ATTEMPTS).values()) == 4


async def test_what_is_heard_before_it_is_set_up_waits(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def quick() -> None: ...

    register = rig.store.register

    async def slowly(record: WorkerRecord, lease_s: float) -> None:
        await register(record, lease_s)
        worker.post(Woken())
        await asyncio.sleep(0.2)

    monkeypatch.setattr(rig.store, "register", slowly)
    job = await rig.enqueue(rig.task(quick))
    async with rig.worker() as worker:
        assert (await rig.until(job, *ENDED)).attempt == 1


async def test_dependencies_are_cleaned_up_after_the_outcome_is_stored(rig: Rig) -> None:
    seen: list[str] = []
    task: TaskDef

    async def session() -> AsyncIterator[str]:
        yield "session"
        seen.append((await rig.record(job)).state.value)

    async def uses(ctx: JobContext, *, session: Annotated[str, Depends(session)] = Injected) -> str:
        return session

    task = rig.task(uses)
    job = await rig.enqueue(task)
    async with rig.worker():
        assert (await rig.until(job, *ENDED)).result == '"session"'
        await rig.when(lambda: seen == ["succeeded"])


async def test_arguments_of_another_version_wait_and_misfits_of_this_one_fail(rig: Rig) -> None:
    async def typed(number: int) -> int:
        return number

    task = rig.task(typed)
    mine = await rig.enqueue(task, 1)
    await rig.store.cancel([mine])
    foreign = NewJob(rig.ids.make(rig.clock.wall(), os.urandom(8)), "typed", "default", '{"n": 1}', signature="other")
    broken = NewJob(
        rig.ids.make(rig.clock.wall(), os.urandom(8)), "typed", "default", '{"n": 1}', signature=task.signature
    )
    await rig.store.enqueue([foreign, broken])
    async with rig.worker():
        failed = await rig.until(broken.id, *ENDED)
        waits = await rig.until(foreign.id, JobState.SCHEDULED)
    assert failed.failure is not None
    assert failed.failure.cause is Cause.ARGUMENTS
    assert (waits.failures, waits.snoozes) == (0, 1)


async def test_a_result_that_json_cannot_carry_fails_for_good(rig: Rig) -> None:
    async def odd() -> object:
        return object()

    job = await rig.enqueue(rig.task(odd, retry=NOW))
    async with rig.worker():
        record = await rig.until(job, *ENDED)
    assert (record.state, record.attempt) == (JobState.FAILED, 1)


async def test_many_jobs_all_run_once(rig: Rig) -> None:
    ran: list[int] = []

    async def count(number: int) -> None:
        ran.append(number)

    task = rig.task(count)
    jobs = [await rig.enqueue(task, number) for number in range(200)]
    async with rig.worker(slots=10):
        for job in jobs:
            await rig.until(job, JobState.SUCCEEDED)
    assert sorted(ran) == list(range(200))


async def test_an_attempt_that_ended_is_let_go_of_at_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """What only the garbage collector finds was a third of a worker's time."""

    async def quick(ctx: JobContext) -> None: ...

    def threaded(ctx: SyncJobContext) -> None: ...

    async def given(ctx: JobContext, *, thing: Annotated[int, Depends(lambda: 1)] = Injected) -> None: ...

    async def broken(ctx: JobContext) -> None:
        raise ValueError("no")

    tasks = [rig.task(quick), rig.task(threaded), rig.task(given), rig.task(broken, retry=Retry(max_attempts=1))]
    caplog.set_level(logging.CRITICAL, "headrace")  # records that are kept for the report name attempts

    def kept(jobs: Sequence[JobId]) -> bool:
        return any(isinstance(each, Attempt) and each.job.id in jobs for each in gc.get_objects())

    gc.disable()
    try:
        jobs = [await rig.enqueue(task) for task in tasks for _ in range(5)]
        async with rig.worker():
            for job in jobs:
                await rig.until(job, *ENDED)
        await rig.when(lambda: not kept(jobs))  # the thread of a body lets go of it a moment later
    finally:
        gc.enable()


async def test_the_observer_is_told_of_every_attempt_and_exchange(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def twice(ctx: JobContext) -> None:
        if ctx.attempt == 1:
            raise ValueError("not yet")

    async def itself(ctx: JobContext) -> None:
        await ctx.succeed(None)

    whole, failures = rig.store.exchange, iter([StoreUnavailable("away")])

    async def away_once(worker: str, settles: Sequence[Settle], claim: ClaimRequest | None) -> Exchanged:
        for error in failures:
            raise error
        return await whole(worker, settles, claim)

    monkeypatch.setattr(rig.store, "exchange", away_once)
    jobs = [await rig.enqueue(rig.task(twice, retry=NOW)), await rig.enqueue(rig.task(itself, queue="mail"))]
    async with rig.worker() as worker:
        for job in jobs:
            await rig.until(job, *ENDED)
        await rig.when(lambda: worker.running == 0)
    tally = rig.tally
    assert tally.totals(ATTEMPTS) == {("twice", "retry"): 1, ("twice", "succeeded"): 1, ("itself", "succeeded"): 1}
    assert {key: sum(counts) for key, (counts, _) in tally.spreads(ATTEMPT).items()} == {("twice",): 2, ("itself",): 1}
    assert {key: sum(counts) for key, (counts, _) in tally.spreads(WAIT).items()} == {("default",): 2, ("mail",): 1}
    assert tally.totals(SETTLES) == {("settled",): 2}  # `succeed` is an exchange of its own
    assert tally.totals(EXCHANGE_FAILURES) == {(): 1}
    assert sum(tally.spreads(EXCHANGE)[()][0]) >= 3
