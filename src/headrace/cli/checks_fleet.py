"""What `headrace doctor` asks an open store: workers, what waits and for whom, queues, upstreams, who may ask."""

import shlex
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final

from headrace.cli.checks import Check, ok, warn
from headrace.cli.jobs import each
from headrace.cli.output import span
from headrace.cli.queues import differences
from headrace.core.fleet import BY_HAND, BreakerState
from headrace.core.model import JobFilter
from headrace.core.states import JobState

if TYPE_CHECKING:
    from headrace.app import Headrace
    from headrace.core.fleet_record import UpstreamRecord
    from headrace.core.model import WorkerRecord

LOOKED_AT: Final = 5_000
"""Waiting jobs whose tasks are looked at, the newest ones."""
HALF_OPEN_S: Final = 60.0
"""For so long, probes may take their time."""


async def check_fleet(hr: "Headrace") -> AsyncIterator[Check]:
    """All that an open store tells."""
    workers = await hr.store.workers()
    for check in _check_workers(workers):
        yield check
    async for check in _check_waiting(hr, [worker for worker in workers if worker.alive]):
        yield check
    async for check in _check_queues(hr):
        yield check
    for check in check_upstreams(await hr.upstreams(), workers, hr.clock.wall()):
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


def check_upstreams(upstreams: "list[UpstreamRecord]", workers: "list[WorkerRecord]", now_at: float) -> Iterator[Check]:
    """Breakers that are not closed, and upstreams of which processes have other definitions."""
    for upstream in upstreams:
        yield from _check_breaker(upstream, workers, now_at)
        if upstream.definitions > 1:
            yield warn(
                "upstreams",
                f"{upstream.name} has {upstream.definitions} definitions among the processes that were heard of lately",
                "fine for a minute during a deploy; after it, restart what still runs the old code",
            )
    if all(upstream.state is BreakerState.CLOSED for upstream in upstreams):
        yield ok("upstreams", f"{len(upstreams)}, all closed" if upstreams else "none")


def _check_breaker(upstream: "UpstreamRecord", workers: "list[WorkerRecord]", now_at: float) -> Iterator[Check]:
    name = upstream.name
    close = f"`headrace upstreams close {shlex.quote(name)}`"
    age = span(now_at - upstream.since_at)
    why = f" ({upstream.reason})" if upstream.reason else ""
    held = f"; it holds {', '.join(upstream.tasks)}" if upstream.tasks else ""
    match upstream.state:
        case BreakerState.FORCED_OPEN:
            how = f"by hand, for {age}" if upstream.reason == BY_HAND else f"until somebody closes it, for {age}{why}"
            yield warn("upstreams", f"{name} is open {how}{held}", close)
        case BreakerState.DISABLED:
            saw = f"{name} is disabled by hand, for {age}: its failures stop nothing"
            yield warn("upstreams", saw, close)
        case BreakerState.OPEN:
            wait_s = (upstream.retry_at or now_at) - now_at
            then = f"tried in {span(wait_s)}" if wait_s > 0 else "tried by the next call, or job that needs it"
            saw = f"{name} is open, for {age}{why}; {then}{held}"
            yield warn("upstreams", saw, f"{close}, if it is known to work again")
        case BreakerState.HALF_OPEN if now_at - upstream.since_at > HALF_OPEN_S:
            saw = f"{name} is half open, for {age}{why}: {upstream.probed.calls} probes have ended{held}"
            able = any(worker.alive and worker.tasks.keys() & set(upstream.tasks) for worker in workers)
            if upstream.tasks and not able:
                yield warn("upstreams", saw, "no living worker knows these tasks: `headrace worker APP`")
            else:
                yield warn("upstreams", saw, f"it closes when it was called a few times more; {close} does it now")
        case BreakerState.HALF_OPEN:
            yield ok("upstreams", f"{name} is half open, for {age}: it is being tried{held}")
        case _:
            pass


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
