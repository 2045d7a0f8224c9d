"""What becomes of the jobs of one enqueue when they go to the spool: keys, and instants for durations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.core.errors import Conflict
from headrace.core.model import Enqueued, JobId, NewJob
from headrace.core.states import SpoolState

if TYPE_CHECKING:
    from concurrent.futures import Future


@dataclass(frozen=True, slots=True)
class Keyed:
    """The job that holds a key here; `done` when it is on the disk."""

    id: JobId
    digest: str
    done: "Future[None]"


def sort_out(
    jobs: Sequence[NewJob], held: dict[tuple[str, str], Keyed], done: "Future[None]"
) -> tuple[list[Enqueued], list[NewJob], dict[tuple[str, str], Keyed], list["Future[None]"]]:
    """Where each lands, which are new, the keys of those, and whose writing to wait for."""
    landed: list[Enqueued] = []
    new: list[NewJob] = []
    keys: dict[tuple[str, str], Keyed] = {}
    waits: list[Future[None]] = []
    for job in jobs:
        name = None if job.key is None else (job.task, job.key)
        known = None if name is None else keys.get(name) or held.get(name)
        if known is None:
            new.append(job)
            landed.append(Enqueued(job.id, SpoolState.SPOOLED, 0, created=True))
            if name is not None:
                keys[name] = Keyed(job.id, job.key_digest, done)
        elif known.digest != job.key_digest:
            raise Conflict(f"the key {job.key!r} belongs to a job of {job.task} with other arguments", known.id)
        else:
            landed.append(Enqueued(known.id, SpoolState.SPOOLED, 0, created=False))
            if known.done is not done:
                waits.append(known.done)
    return landed, new, keys, waits


def dated(job: NewJob, now_at: float) -> NewJob:
    """The job with instants for durations, since nobody knows when the store will see it."""
    run_at = job.run_at if job.run_at is not None or not job.delay_s else now_at + job.delay_s
    deadlines = [job.deadline_at, None if job.deadline_s is None else now_at + job.deadline_s]
    deadline_at = min((at for at in deadlines if at is not None), default=None)
    return replace(job, delay_s=0.0, run_at=run_at, deadline_s=None, deadline_at=deadline_at, fresh=False)
