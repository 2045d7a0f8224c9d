"""How jobs, attempts, queues and workers are shown, in HTTP answers, snapshots and `--json` alike.

Pure: records in, JSON-ready values out. Invariant: instants are RFC 3339 texts in UTC.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.core.event import route_of
from headrace.core.feed import Position
from headrace.core.fleet import BY_HAND, BreakerState
from headrace.core.fleet_record import UpstreamRecord
from headrace.core.ids import as_uuid
from headrace.core.model import AttemptRecord, Failure, JobId, JobRecord, Json, QueueRecord, Update, WorkerRecord
from headrace.core.sink_record import SinkStatus
from headrace.core.source_record import SourceStatus
from headrace.core.states import JobState
from headrace.core.wire import dump, instant
from headrace.ports.post import Parked
from headrace.runtime.reader import Snapshot

AHEAD_MAX = 100
"""How far a job's place in line is counted."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the store knows around a waiting job. `ahead` is None where nobody counted."""

    now_at: float
    queues: Sequence[QueueRecord] = ()
    workers: Sequence[WorkerRecord] = ()
    ahead: int | None = None
    limit: str | None = None  # how a limit of its task keeps it back
    upstreams: Sequence[UpstreamRecord] = ()


def links(job: JobId, base: str) -> dict[str, str]:
    """Where the job is found under `base`, the prefix as the client sees it."""
    here = f"{base}/api/jobs/{as_uuid(job)}"
    return {
        "self": here,
        "updates": f"{here}/updates",
        "attempts": f"{here}/attempts",
        "cancel": f"{here}/cancel",
        "retry": f"{here}/retry",
        "token": f"{here}/token",
    }


def job_view(
    record: JobRecord,
    epoch: str,
    base: str,
    *,
    traceback: bool = False,
    around: Surroundings | None = None,
) -> dict[str, object]:
    """Everything about one job; `holds` and `why` only where somebody looked around."""
    view: dict[str, object] = {
        "id": str(as_uuid(record.id)),
        "task": record.task,
        "queue": record.queue,
        "state": record.state.value,
        "attempt": record.attempt,
        "failures": record.failures,
        "max_attempts": record.max_attempts,
        "priority": record.priority,
        "key": record.key,
        "tags": list(record.tags),
        "args": _loaded(record.args),
        "created_at": instant(record.created_at),
        "due_at": _instant(record.run_at),
        "started_at": _instant(record.started_at),
        "finished_at": _instant(record.finished_at),
        "deadline_at": _instant(record.deadline_at),
        "worker": record.worker,
        "cancelling": record.cancelling,
        "suspect": bool(record.suspect),
        "progress": _loaded(record.progress),
        "result": None if record.result_expired else _loaded(record.result),
        "result_expired": record.result_expired,
        "error": failure_view(record.failure, traceback=traceback),
        "position": str(Position(epoch, record.offset)),
        "links": links(record.id, base),
    }
    if around is not None:
        holds, why = explain(record, around)
        view |= {"holds": holds, "why": why}
    return view


def failure_view(failure: Failure | None, *, traceback: bool) -> dict[str, object] | None:
    """An error as shown; the traceback only to those who may see inside."""
    if failure is None:
        return None
    view: dict[str, object] = {"type": failure.type, "message": failure.message, "cause": failure.cause.value}
    if failure.fingerprint:
        view["fingerprint"] = failure.fingerprint
    if traceback and failure.traceback:
        view["traceback"] = failure.traceback
    return view


def attempt_view(record: AttemptRecord, *, traceback: bool = False) -> dict[str, object]:
    """One attempt."""
    return {
        "attempt": record.attempt,
        "worker": record.worker,
        "started_at": instant(record.started_at),
        "ended_at": _instant(record.ended_at),
        "outcome": record.outcome.value,
        "error": failure_view(record.failure, traceback=traceback),
    }


def worker_view(record: WorkerRecord) -> dict[str, object]:
    """One worker."""
    return {
        "id": record.id,
        "host": record.host,
        "pid": record.pid,
        "role": record.role,
        "version": record.version,
        "queues": None if record.queues is None else list(record.queues),
        "tasks": sorted(record.tasks),
        "concurrency": record.concurrency,
        "running": record.running,
        "started_at": instant(record.started_at),
        "alive": record.alive,
        "draining": record.draining,
    }


def queue_view(record: QueueRecord) -> dict[str, object]:
    """One queue."""
    return {
        "name": record.name,
        "paused": record.paused,
        "counts": counts_view(record.counts),
        "oldest_ready_s": None if record.oldest_ready_s is None else round(record.oldest_ready_s, 3),
    }


def source_view(status: SourceStatus) -> dict[str, object]:
    """One source."""
    counts = status.counts
    return {
        "name": status.name,
        "task": status.task,
        "queue": status.queue,
        "state": status.state or "unattended",
        "why": status.why or None,
        "processes": status.processes,
        "taken": counts.taken,
        "repeated": counts.repeated,
        "letters": counts.letters,
        "without_id": counts.unnamed,
        "taken_age_s": None if status.taken_age_s is None else round(status.taken_age_s, 3),
        "bookmarks": {part: status.bookmarks[part].next for part in sorted(status.bookmarks)},
    }


def sink_view(status: SinkStatus) -> dict[str, object]:
    """One sink."""
    return {
        "name": status.name,
        "state": status.state,
        "why": status.why or None,
        "waiting": status.waiting,
        "more": status.more,
        "oldest_s": None if status.age_s is None else round(status.age_s, 3),
        "parked": status.parked,
        "process": status.process,
    }


def parked_view(parked: Parked) -> dict[str, object]:
    """One event that its sink has refused."""
    event = parked.event
    return {
        "place": parked.place,
        "id": str(as_uuid(event.id)),
        "target": event.target,
        "key": event.key,
        "head": json.loads(event.head),
        "bytes": len(event.body),
        "refused": parked.failures,
        "age_s": round(parked.age_s, 3),
        "why": parked.why,
    }


def target_text(target: str) -> str:
    """Where an event goes, for people: of RabbitMQ the queue, or the exchange and the routing key."""
    try:
        exchange, key = route_of(target)
    except (ValueError, TypeError):  # no JSON, or other JSON: a topic is named 7, say
        return target
    return f"{exchange} {key}".strip()


def counts_view(counts: Mapping[JobState, int]) -> dict[str, int]:
    """How many jobs are in each state."""
    return {state.value: counts.get(state, 0) for state in JobState}


def snapshot_view(snapshot: Snapshot, base: str, *, traceback: bool = False) -> Json:
    """The snapshot of a `subscribed` frame, as JSON text."""
    epoch = snapshot.position.epoch
    return dump(
        {
            "job": job_view(snapshot.job, epoch, base, traceback=traceback),
            "items": [item_view(item, epoch) for item in snapshot.items],
            "items_total": snapshot.items_total,
            "attempts": [attempt_view(attempt, traceback=traceback) for attempt in snapshot.attempts],
        }
    )


def item_view(update: Update, epoch: str) -> dict[str, object]:
    """One emitted item."""
    return {
        "position": str(Position(epoch, update.offset)),
        "attempt": update.attempt,
        "at": instant(update.at),
        **json.loads(update.data),
    }


# --- why isn't this running? -----------------------------------------------------------------


def explain(record: JobRecord, around: Surroundings) -> tuple[list[dict[str, str]], str]:
    """The holds that keep a waiting job from running, and one sentence for people."""
    match record.state:
        case JobState.READY:
            return _explain_ready(record, around)
        case JobState.SCHEDULED:
            return _holds(record, around), _explain_scheduled(record, around)
        case JobState.RUNNING:
            asked = "; it was asked to stop" if record.cancelling else ""
            return [], f"it is running: attempt {record.attempt} on worker {record.worker}{asked}"
        case JobState.FAILED if record.failure is not None:
            return [], f"it failed ({record.failure.cause.value}): {record.failure.type}: {record.failure.message}"
        case _:
            return [], f"it has ended: {record.state.value}"


def _explain_scheduled(record: JobRecord, around: Surroundings) -> str:
    again = f"; {record.failures} of {record.max_attempts} attempts have failed" if record.failures else ""
    if record.run_at is None:
        return f"it is scheduled{again}"
    wait = _span(record.run_at - around.now_at)
    return f"it is scheduled until {instant(record.run_at)}, {wait}{again}"


def _explain_ready(record: JobRecord, around: Surroundings) -> tuple[list[dict[str, str]], str]:
    holds = _holds(record, around)
    if holds:
        return holds, "it is held: " + "; ".join(hold["reason"] for hold in holds)
    able = [worker for worker in around.workers if _takes(worker, record)]
    busy = all(worker.running >= worker.concurrency for worker in able)
    if around.ahead:
        more = " or more" if around.ahead >= AHEAD_MAX else ""
        line = f"{around.ahead}{more} {'job is' if around.ahead == 1 else 'jobs are'} ahead of it"
    else:
        line = "it is first in line"
    crowd = f"{len(able)} {'worker knows' if len(able) == 1 else 'workers know'} its task"
    state = ", all of them busy" if busy else ""
    return [], f"it is ready: {line}; {crowd}{state}"


def _holds(record: JobRecord, around: Surroundings) -> list[dict[str, str]]:
    holds: list[dict[str, str]] = []
    if any(queue.paused and queue.name == record.queue for queue in around.queues):
        holds.append({"kind": "queue-paused", "reason": f"the queue {record.queue!r} is paused"})
    holds += [
        upstream_hold(upstream, around.now_at)
        for upstream in around.upstreams
        if upstream.holds and record.task in upstream.tasks
    ]
    alive = [worker for worker in around.workers if _works(worker)]
    if not alive:
        holds.append({"kind": "no-worker", "reason": "no worker is running"})
    elif not any(record.task in worker.tasks for worker in alive):
        holds.append({"kind": "unknown-task", "reason": f"no running worker knows the task {record.task!r}"})
    elif not any(_takes(worker, record) for worker in alive):
        reason = f"no running worker that knows its task takes from the queue {record.queue!r}"
        holds.append({"kind": "queue-untaken", "reason": reason})
    if around.limit is not None:
        holds.append({"kind": "limit", "reason": around.limit})
    return holds


def upstream_hold(upstream: UpstreamRecord, now_at: float) -> dict[str, str]:
    """The hold that an upstream puts on the tasks that need it."""
    since = instant(upstream.since_at)
    hold = {"kind": "upstream", "upstream": upstream.name, "state": upstream.state.value, "since": since}
    match upstream.state:
        case BreakerState.FORCED_OPEN:
            opened = "it was opened by hand, and" if upstream.reason == BY_HAND else "it"
            then = f"{opened} stays so until somebody closes it"
        case BreakerState.HALF_OPEN:
            then = "it is being tried with a few jobs"
        case _:
            retry_at = upstream.retry_at or now_at
            hold["next_try"] = instant(retry_at)
            wait = _span(retry_at - now_at)
            then = f"it is tried next {wait if retry_at > now_at else 'as soon as a worker is free'}"
    why = f" ({upstream.reason})" if upstream.reason and upstream.reason != BY_HAND else ""
    hold["reason"] = f"the upstream {upstream.name!r} is {_STATES[upstream.state]} since {since}{why}; {then}"
    return hold


_STATES = {BreakerState.HALF_OPEN: "half open", BreakerState.OPEN: "open", BreakerState.FORCED_OPEN: "open"}


def upstream_view(upstream: UpstreamRecord, now_at: float) -> dict[str, object]:
    """One upstream."""
    counts = upstream.probed if upstream.state is BreakerState.HALF_OPEN else upstream.counts
    return {
        "name": upstream.name,
        "state": upstream.state.value,
        "generation": upstream.generation,
        "since": instant(upstream.since_at),
        "reason": upstream.reason,
        "retry_in_s": None if upstream.retry_at is None else round(max(0.0, upstream.retry_at - now_at), 3),
        "ramp_s": None if upstream.ramp_at is None else round(now_at - upstream.ramp_at, 3),
        "calls": counts.calls,
        "failures": counts.failures,
        "slow": counts.slow,
        "permits": upstream.permits,
        "slots": upstream.slots,
        "processes": upstream.processes,
        "definitions": upstream.definitions,
        "tasks": list(upstream.tasks),
    }


def _works(worker: WorkerRecord) -> bool:
    return worker.alive and not worker.draining and worker.role != "standby"


def _takes(worker: WorkerRecord, record: JobRecord) -> bool:
    takes_queue = worker.queues is None or record.queue in worker.queues
    return _works(worker) and record.task in worker.tasks and takes_queue


def _span(seconds: float) -> str:
    if seconds <= 0:
        return "due now"
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"in {seconds / size:.0f} {name}"
    return f"in {seconds:.0f} seconds"


def _instant(at: float | None) -> str | None:
    return None if at is None else instant(at)


def _loaded(text: Json | None) -> object:
    return None if text is None else json.loads(text)
