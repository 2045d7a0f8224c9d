"""`headrace queues` and `headrace workers`: what waits where, and who runs it."""

from collections import Counter
from typing import TYPE_CHECKING, Final

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.params import Listing, json_option
from headrace.cli.reach import Where, opened, store_options, waits
from headrace.core.states import JobState

if TYPE_CHECKING:
    from headrace.core.model import WorkerRecord

WAITING: Final = (JobState.READY, JobState.SCHEDULED, JobState.RUNNING)


@click.group("queues", cls=Listing)
def queues_command() -> None:
    """What waits where; pause and resume.

    Without a command, the list.
    """


@queues_command.command("list")
@json_option
@store_options
@waits
async def list_(where: Where, *, as_json: bool) -> None:
    """Every queue that has or had jobs."""
    async with opened(where) as hr:
        found = await hr.store.queues()
    if as_json:
        from headrace.runtime.views import queue_view

        output.write_json({"queues": [queue_view(queue) for queue in found]})
        return
    rows = [
        (
            queue.name,
            "paused" if queue.paused else "open",
            *(queue.counts.get(state, 0) for state in WAITING),
            queue.counts.get(JobState.FAILED, 0),
            None if queue.oldest_ready_s is None else output.span(queue.oldest_ready_s),
        )
        for queue in found
    ]
    columns = ("queue", "held", *(state.value for state in WAITING), "failed", "oldest")
    output.table(columns, rows, empty="No queue has had a job yet.")


@queues_command.command()
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...")
@store_options
@waits
async def pause(where: Where, *, queues: tuple[str, ...]) -> None:
    """Hold queues: running attempts go on, nothing new starts."""
    await _set(where, queues, paused=True)


@queues_command.command()
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...")
@store_options
@waits
async def resume(where: Where, *, queues: tuple[str, ...]) -> None:
    """Release held queues."""
    await _set(where, queues, paused=False)


async def _set(where: Where, queues: tuple[str, ...], *, paused: bool) -> None:
    async with opened(where) as hr:
        known = {queue.name for queue in await hr.store.queues()}
        strange = [name for name in queues if name not in known]
        if strange:
            there = f"there are {', '.join(sorted(known))}" if known else "no queue has had a job yet"
            raise Fail(f"there is no queue {', '.join(strange)}", there)
        for name in queues:
            await hr.store.pause(name, paused=paused)
            output.line(f"{name}: {'paused' if paused else 'resumed'}")


@click.command("workers")
@json_option
@store_options
@waits
async def workers_command(where: Where, *, as_json: bool) -> None:
    """Who runs jobs, and which version of the code."""
    async with opened(where) as hr:
        found = sorted(await hr.store.workers(), key=lambda worker: (worker.host, worker.started_at))
        now = hr.clock.wall()
    if as_json:
        output.write_json({"workers": [worker_json(worker) for worker in found]})
        return
    rows = [
        (
            worker.id,
            worker.host,
            worker.pid or None,
            worker.role,
            state_of(worker),
            f"{worker.running}/{worker.concurrency}" if worker.concurrency else worker.running,
            worker.version,
            ",".join(worker.queues) if worker.queues is not None else "all",
            len(worker.tasks),
            output.when(worker.started_at, now),
        )
        for worker in found
    ]
    columns = ("id", "host", "pid", "role", "state", "running", "version", "queues", "tasks", "started")
    output.table(columns, rows, empty="No worker is known here: start one with `headrace worker APP`.")
    for text in differences(found):
        output.note(f"headrace: {text}")


def worker_json(worker: "WorkerRecord") -> dict[str, object]:
    """One worker as the HTTP side shows it, and what tells versions of the code apart."""
    from headrace.runtime.views import worker_view

    return {
        **worker_view(worker),
        "state": state_of(worker),
        "supervisor_pid": worker.supervisor_pid,
        "signatures": dict(sorted(worker.tasks.items())),
    }


def state_of(worker: "WorkerRecord") -> str:
    """Alive, starting, draining or dead."""
    if not worker.alive:
        return "dead"
    if not worker.pid:
        return "starting"
    return "draining" if worker.draining else "alive"


def differences(workers: "list[WorkerRecord]") -> list[str]:
    """How living workers differ: versions of Headrace, and tasks whose parameters changed."""
    alive = [worker for worker in workers if worker.alive and worker.role != "standby"]
    said: list[str] = []
    versions = Counter(worker.version for worker in alive)
    if len(versions) > 1:
        counted = ", ".join(f"{count} with {version}" for version, count in sorted(versions.items()))
        said.append(f"workers of different versions: {counted}; fine during a deploy")
    signatures: dict[str, set[str]] = {}
    for worker in alive:
        for task, signature in worker.tasks.items():
            signatures.setdefault(task, set()).add(signature)
    changed = sorted(task for task, known in signatures.items() if len(known) > 1)
    if changed:
        said.append(f"workers disagree on the parameters of {', '.join(changed)}; fine during a deploy")
    return said
