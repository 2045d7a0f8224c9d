"""Saying what should have been enqueued."""

import asyncio
import json
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from headrace.app import Headrace, Job, Task
from headrace.core.model import JobFilter, JobId, JobRecord
from headrace.core.states import JobState

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

PAGE = 500
SHOWN_MAX = 10


def enqueued(task: Task[..., R]) -> list[Job[R]]:
    """Every job of the task in its app's store, oldest first; not those of a transaction that is open."""
    hr = task.headrace
    found = list(_in_thread(_records(hr, task.name)))
    return [Job[R](hr, each.id, task.definition.decode_result).looked_up(each) for each in reversed(found)]


def assert_enqueued(
    task: Task[..., R],
    /,
    *args: Any,
    queue: str | None = None,
    key: str | None = None,
    tags: tuple[str, ...] | None = None,
    priority: int | None = None,
    state: JobState | str | None = None,
    count: int | None = None,
    with_args: dict[str, Any] | None = None,
) -> Job[R]:
    """The newest job of the task that fits what is given here; arguments by position or by `with_args`.

    Without arguments, any fit. `count` says how many must fit; without it, one or more.

    Raises:
        AssertionError: shows what was enqueued instead.
    """
    wanted = _wanted(task, args, with_args)
    jobs = enqueued(task)
    expected = {"queue": queue, "key": key, "tags": tags, "priority": priority, "state": state}
    fitting = [job for job in jobs if _fits(job, wanted, expected)]
    if (fitting and count is None) or (fitting and len(fitting) == count):
        return fitting[-1]
    said = {name: value for name, value in expected.items() if value is not None}
    number = "a job" if count is None else f"{count} jobs"
    what = (
        f"{number} of {task.name}" + (f" with {wanted}" if wanted is not None else "") + (f", {said}" if said else "")
    )
    raise AssertionError(f"expected {what}; {len(fitting)} fit. {_shown(task, jobs)}")


def refute_enqueued(task: Task[..., Any], /, *args: Any, with_args: dict[str, Any] | None = None) -> None:
    """No job of the task, with these arguments if some are given, was enqueued.

    Raises:
        AssertionError: shows what was enqueued.
    """
    wanted = _wanted(task, args, with_args)
    jobs = enqueued(task)
    if any(_fits(job, wanted, {}) for job in jobs):
        raise AssertionError(f"expected no such job. {_shown(task, jobs)}")


def _wanted(task: Task[..., Any], args: tuple[Any, ...], named: dict[str, Any] | None) -> dict[str, Any] | None:
    """The arguments as they would be stored, so that a default form of writing them does not matter."""
    if not args and named is None:
        return None
    found: dict[str, Any] = json.loads(task.definition.encode_args(args, named or {}))
    return found


def _fits(job: Job[Any], wanted: dict[str, Any] | None, expected: dict[str, Any]) -> bool:
    if wanted is not None and job.args != wanted:
        return False
    return all(value is None or getattr(job.record, name) == value for name, value in expected.items())


def _shown(task: Task[..., Any], jobs: list[Job[Any]]) -> str:
    if not jobs:
        return f"No job of {task.name} was enqueued."
    lines = [f"  {job.args} queue={job.record and job.record.queue} {job.state.value}" for job in jobs[-SHOWN_MAX:]]
    return "\n".join([f"{len(jobs)} of {task.name} were enqueued:", *lines])


async def _records(hr: Headrace, task: str) -> list[JobRecord]:
    found: list[JobRecord] = []
    unopened = hr.services.home is None
    if unopened:
        await hr.store.open()
    try:
        after: JobId | None = None
        while True:
            page = await hr.store.find(JobFilter(task=task), after=after, limit=PAGE)
            found += page.jobs
            after = page.next_after
            if after is None:
                return found
    finally:
        if unopened:
            await hr.store.close()


def _in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Ask the store from a thread: an assertion is no `await`, and a store answers any event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
