"""What `headrace doctor` asks an open store: workers, what waits and for whom, queues, who may ask."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final

from headrace.cli.checks import Check, ok, warn
from headrace.cli.jobs import each
from headrace.cli.queues import differences
from headrace.core.model import JobFilter
from headrace.core.states import JobState

if TYPE_CHECKING:
    from headrace.app import Headrace
    from headrace.core.model import WorkerRecord

LOOKED_AT: Final = 5_000
"""Waiting jobs whose tasks are looked at, the newest ones."""


async def check_fleet(hr: "Headrace") -> AsyncIterator[Check]:
    """All that an open store tells."""
    workers = await hr.store.workers()
    for check in _check_workers(workers):
        yield check
    async for check in _check_waiting(hr, [worker for worker in workers if worker.alive]):
        yield check
    async for check in _check_queues(hr):
        yield check
    async for check in _check_access(hr):
        yield check


def _check_workers(workers: "list[WorkerRecord]") -> Iterator[Check]:
    alive = [worker for worker in workers if worker.alive and worker.role in {"worker", "embedded"}]
    dead = [worker for worker in workers if not worker.alive]
    if alive:
        yield ok("workers", f"{len(alive)} alive, {sum(worker.running for worker in alive)} attempts running")
    else:
        yield warn("workers", "none is alive, so nothing runs", "`headrace worker APP`")
    if dead:
        held = sum(worker.running for worker in dead)
        names = ", ".join(f"{worker.id} (pid {worker.pid} on {worker.host})" for worker in dead)
        yield warn("workers", f"dead, not yet reaped: {names}; {held} jobs", "any living worker frees their jobs")
    for text in differences(workers):
        yield warn("versions", text, "`headrace workers` shows which; restart the old ones")


async def _check_waiting(hr: "Headrace", alive: "list[WorkerRecord]") -> AsyncIterator[Check]:
    """Jobs that wait for a task or a queue that no worker takes."""
    waiting: Counter[tuple[str, str]] = Counter()
    for state in (JobState.READY, JobState.SCHEDULED):
        async for job in each(hr, JobFilter(state=state), LOOKED_AT):
            waiting[job.task, job.queue] += 1
    stuck = False
    for (task, queue), count in sorted(waiting.items()):
        knows = [worker for worker in alive if task in worker.tasks]
        if not knows:
            stuck = True
            yield warn("tasks", f"{count} jobs wait for {task}, which no living worker knows",
                       "start a worker whose app registers it: `headrace worker APP`")  # fmt: skip
        elif not any(worker.queues is None or queue in worker.queues for worker in knows):
            stuck = True
            yield warn("queues", f"{count} jobs of {task} wait in {queue}, which no living worker takes",
                       f"`headrace worker APP --queues {queue}`")  # fmt: skip
    if not stuck:
        yield ok(
            "tasks", f"a worker knows each of the {sum(waiting.values())} waiting jobs" if waiting else "none waits"
        )


async def _check_queues(hr: "Headrace") -> AsyncIterator[Check]:
    queues = await hr.store.queues()
    paused = [queue for queue in queues if queue.paused]
    for queue in paused:
        count = queue.counts.get(JobState.READY, 0)
        yield warn(
            "queues", f"{queue.name} is paused; {count} ready jobs wait", f"`headrace queues resume {queue.name}`"
        )
    if not paused:
        yield ok("queues", f"{len(queues)}, none paused")


async def _check_access(hr: "Headrace") -> AsyncIterator[Check]:
    from headrace.settings import Auth

    if hr.settings.auth is Auth.OFF:
        yield warn(
            "auth", "off: answers anybody on this machine, and nobody else", "unset HEADRACE_AUTH to serve others"
        )
        return
    valid = [key for key in await hr.vault.api_keys() if key.revoked_at is None]
    if valid:
        yield ok("auth", f"on, {len(valid)} valid API keys")
    else:
        yield warn("auth", "on, and there is no API key: unless the app passes auth=, only job tokens open anything",
                   "`headrace keys create NAME`")  # fmt: skip
