"""Runs the body of one attempt, as a coroutine, in a thread or in a child process, and says how it ended.

Invariant: `run` returns an outcome for whatever the body does, and returns only when it has ended.
"""

import asyncio
import contextvars
import logging
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from headrace.core.errors import InvalidArguments, JobTimedOut, LeaseLost, UsageError
from headrace.core.model import (
    Cancelled,
    Cause,
    ClaimedJob,
    Failed,
    Failure,
    GivenBack,
    Json,
    Outcome,
    Retried,
    Snoozed,
    Succeeded,
)
from headrace.core.worker_events import StopReason
from headrace.ports.clock import Clock
from headrace.runtime.attempt import Attempt
from headrace.runtime.blame import Blame, blamed_upstream
from headrace.runtime.context import JobContext, SyncJobContext, current_attempt
from headrace.runtime.cpu import CpuPool
from headrace.runtime.depends import Dependencies, Overrides
from headrace.runtime.failures import after_failure, failure_of
from headrace.runtime.letter import is_letter
from headrace.runtime.letters import Letters, LetterUnread
from headrace.runtime.registry import Kind, Registry, TaskDef
from headrace.runtime.steering import RetryAfter, Snooze, Steer

logger = logging.getLogger(__name__)

FOREIGN_SNOOZES_MAX = 20
FOREIGN_SNOOZE_S = 5.0
SNOOZE_S_MIN = 0.1


class Bodies:
    """How this process runs bodies; one per worker."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        rng: random.Random,
        *,
        threads: int,
        cpu: CpuPool | None,
        overrides: Callable[[], Overrides],
        snoozes_max: Mapping[str, int] | None = None,
        letters: Letters | None = None,
    ) -> None:
        """`overrides` gives the host app's `dependency_overrides` when a body starts.

        `snoozes_max` says of each upstream how often its failures may send a job back to wait. `letters` reads
        the messages that did not fit their task.
        """
        self._registry = registry
        self._clock = clock
        self._rng = rng
        self._threads_max = threads
        self._threads: ThreadPoolExecutor | None = None
        self._cpu = cpu
        self._overrides = overrides
        self._snoozes_max: Mapping[str, int] = {} if snoozes_max is None else snoozes_max
        self._letters = letters

    def open(self) -> None:
        """Make the pools; on the loop that will run the bodies."""
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(self._threads_max, thread_name_prefix="headrace-task")

    async def warm(self) -> None:
        """Have a child process ready for the first cpu task."""
        if self._cpu is not None:
            await self._cpu.warm()

    async def close(self) -> None:
        """Let go of the pools; threads that still run are left to end by themselves."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        if self._cpu is not None:
            await self._cpu.close()

    async def run(self, attempt: Attempt) -> Outcome | None:
        """Run it to its end; None: it settled itself."""
        task = self._registry.get(attempt.job.task)
        attempt.encode_result = task.encode_result
        if attempt.stopping is not None:
            return self._stopped(attempt.stopping, asyncio.CancelledError(), task, attempt)
        try:
            if task.kind is Kind.CPU:
                outcome = await self._in_child(task, attempt)
            else:
                result = await self._here(task, attempt)
                outcome = None if attempt.settled else Succeeded(task.encode_result(result))
        except (asyncio.CancelledError, Exception, Steer, SystemExit, GeneratorExit) as error:  # noqa: BLE001 - any end
            attempt.interruptible = False  # the body has ended
            try:
                outcome = await self._ended_by(error, task, attempt)
            except asyncio.CancelledError:  # it was asked to stop at that very moment
                if attempt.stopping is None:
                    raise
                outcome = self._stopped(attempt.stopping, error, task, attempt)
        return outcome

    # -- where it runs ----------------------------------------------------------------------------

    async def _here(self, task: TaskDef, attempt: Attempt) -> object:
        job = attempt.job
        arguments = task.decode_args(await self._read(task, job) if is_letter(job.args) else job.args)
        deadline_at = None if job.deadline_in_s is None else self._clock.wall() + job.deadline_in_s - self._clock.now()
        context: JobContext | SyncJobContext
        if task.kind is Kind.ASYNC:
            context = JobContext(
                job, attempt, deadline_at, item_bytes_max=task.item_bytes_max, publisher=task.publisher
            )
        else:
            attempt.interruptible = False
            context = SyncJobContext(
                job, attempt, deadline_at, self._loop, item_bytes_max=task.item_bytes_max, publisher=task.publisher
            )
        current_attempt.set(context)
        plan = task.dependencies
        if plan is None:
            return await self._call(task, context, arguments)
        dependencies = Dependencies(plan, self._overrides(), context)
        attempt.closer = dependencies.close
        try:
            return await self._call(task, context, arguments | await dependencies.open())
        except BaseException as error:
            dependencies.failed(error)
            raise

    async def _call(self, task: TaskDef, context: JobContext | SyncJobContext, arguments: dict[str, Any]) -> object:
        positional = (context,) if task.takes_context else ()
        if task.kind is Kind.ASYNC:
            return await task.fn(*positional, **arguments)
        if self._threads is None:
            raise UsageError("this worker is closed")
        whole = contextvars.copy_context()
        body = partial(_in_thread, partial(task.fn, *positional, **arguments))
        return await self._loop.run_in_executor(self._threads, partial(whole.run, body))

    async def _in_child(self, task: TaskDef, attempt: Attempt) -> Outcome | None:
        if self._cpu is None:
            raise UsageError(f"this worker has no processes for the cpu task {task.name!r}")
        job = attempt.job
        if is_letter(job.args):
            job = replace(job, args=await self._read(task, job))
        task.decode_args(job.args)
        return await self._cpu.run(task, job, attempt)

    async def _read(self, task: TaskDef, job: ClaimedJob) -> Json:
        if self._letters is None:
            raise LetterUnread("", "this store keeps no messages")
        return await self._letters.args(task, job)

    # -- how it ended -----------------------------------------------------------------------------

    async def _ended_by(self, error: BaseException, task: TaskDef, attempt: Attempt) -> Outcome | None:
        if attempt.settled:
            logger.warning("%s has succeeded; an error after that changes nothing", attempt, exc_info=error)
            return None
        if attempt.stopping is not None:
            return self._stopped(attempt.stopping, error, task, attempt)
        blamed = blamed_upstream(error) if task.needs and isinstance(error, Exception) else None
        if blamed is not None and blamed[0] in task.needs:
            snoozed = await self._held_up(error, blamed, task, attempt)
            if snoozed is not None:
                return snoozed
        return self._raised(error, task, attempt)

    async def _held_up(self, error: BaseException, blamed: Blame, task: TaskDef, attempt: Attempt) -> Snoozed | None:
        """A needed upstream is why it failed: the job waits, and this is no failure; None: too often already."""
        name, retry_in_s = blamed
        count = await attempt.snoozes_for_upstreams()
        if count >= self._snoozes_max.get(name, 0):
            return None
        delay_s = task.retry.delay_s(count + 1, self._rng) if retry_in_s is None else retry_in_s
        delay_s = max(delay_s, SNOOZE_S_MIN) * self._rng.uniform(1.0, 1.1)  # not all of them at once
        failure = failure_of(error, Cause.UPSTREAM)
        logger.info("%s: the upstream %r failed it (%s); again in %.1f s", attempt, name, failure.message, delay_s)
        return Snoozed(delay_s, f"the upstream {name!r} failed it", failure)

    def _raised(self, error: BaseException, task: TaskDef, attempt: Attempt) -> Outcome:
        match error:
            case Steer():
                return self._steered(error, task, attempt)
            case LeaseLost():
                return GivenBack(started=True)  # refused by its fence, and so harmless
            case LetterUnread():
                logger.warning("%s is of a message that does not fit: %s", attempt, error)
                return Failed(error.failure)
            case InvalidArguments():
                return self._misfit(error, task, attempt)
            case UsageError():
                logger.warning("%s failed for good: %s", attempt, error)
                return Failed(failure_of(error))
            case _:
                return self._failed(failure_of(error), type(error), task, attempt)

    def _steered(self, steer: Steer, task: TaskDef, attempt: Attempt) -> Outcome:
        match steer:
            case Snooze():
                return Snoozed(steer.delay_s, str(steer))
            case RetryAfter() if steer.delay_s is not None:
                if attempt.job.failures + 1 >= task.retry.max_attempts:
                    return Failed(failure_of(steer))
                return Retried(failure_of(steer), steer.delay_s)
            case RetryAfter():
                return self._failed(failure_of(steer), type(steer), task, attempt)
            case _:
                return Failed(failure_of(steer, Cause.ABANDONED))

    def _stopped(self, reason: StopReason, error: BaseException, task: TaskDef, attempt: Attempt) -> Outcome:
        if not isinstance(error, asyncio.CancelledError | Steer):
            logger.info("%s was asked to stop (%s) and raised", attempt, reason.value, exc_info=error)
        match reason:
            case StopReason.CANCEL:
                return Cancelled("cancelled while it ran")
            case StopReason.DRAIN | StopReason.LOST:
                return GivenBack(started=True)
            case StopReason.DEADLINE:
                return Failed(Failure("headrace.JobTimedOut", "the job's deadline passed while it ran", Cause.DEADLINE))
            case StopReason.TIMEOUT:
                message = f"the attempt ran longer than its timeout of {attempt.job.timeout_s:g} s"
                failure = Failure("headrace.JobTimedOut", message, Cause.TIMEOUT, fingerprint=f"timeout {task.name}")
                return self._failed(failure, JobTimedOut, task, attempt)

    def _misfit(self, error: InvalidArguments, task: TaskDef, attempt: Attempt) -> Outcome:
        """Arguments that do not fit: of another version of the task they wait for its worker, else they fail."""
        job = attempt.job
        if job.signature != task.signature and job.snoozes < FOREIGN_SNOOZES_MAX:
            logger.warning("%s: its arguments are of another version of the task; left to a worker of that", attempt)
            return Snoozed(FOREIGN_SNOOZE_S, "the arguments are of another version of the task")
        return Failed(failure_of(error, Cause.ARGUMENTS))

    def _failed(self, failure: Failure, error: type[BaseException], task: TaskDef, attempt: Attempt) -> Outcome:
        outcome = after_failure(failure, error, task.retry, attempt.job.failures, self._rng)
        if isinstance(outcome, Retried):
            logger.warning(
                "%s failed (%s: %s); again in %.1f s", attempt, failure.type, failure.message, outcome.delay_s
            )
        else:
            logger.warning("%s failed for good (%s: %s)", attempt, failure.type, failure.message)
        return outcome


def _in_thread(body: Callable[[], object]) -> object:
    """Call it; an end of iteration, which no future can carry, becomes the error that it is in a coroutine."""
    try:
        return body()
    except StopIteration as error:
        raise RuntimeError("the task raised StopIteration") from error
