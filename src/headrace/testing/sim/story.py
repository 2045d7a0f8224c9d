"""A world's history in lines that a person can read."""

from collections.abc import Callable
from typing import Any

from headrace.core.fleet import BreakerState, Fleet
from headrace.core.model import JobId, UpdateKind
from headrace.testing.sim import call_events as c
from headrace.testing.sim import events as e
from headrace.testing.sim import strain_events as s

ENDS: dict[bool | None, str] = {None: "without an outcome", False: "well", True: "failed"}


def name(job: JobId) -> str:
    """A job's id, short: the end of its instant, its counter and the end of its noise."""
    return job.hex()[9:16] + job.hex()[-4:]


def tell(event: e.Event) -> str | None:
    """One line about an event; None: it says too little."""
    line: str | None = _LINES[type(event)](event)
    return line


def _died(event: e.Died) -> str:
    how = f"killed by signal {-event.code}" if event.code < 0 else f"status {event.code}"
    return f"{event.node}{f' ({event.worker})' if event.worker else ''} ends, {how}"


def _reaped(event: e.Reaped) -> str:
    how = "known to be dead" if event.named else "by their leases"
    jobs = ", ".join(f"{name(job)} ({state.value})" for job, state in event.freed) or "none"
    return f"store: reaped {', '.join(event.workers)} ({how}); jobs: {jobs}"


def _renewed(event: e.Renewed) -> str | None:
    return f"store: the lease of {event.worker} had ended when it was to be renewed" if event.lost else None


def _added(event: e.Added) -> str:
    how = "is added" if event.answer.created else f"lands on {name(event.answer.id)}"
    return f"{name(event.job.id)} store: {how}, {event.answer.state.value}"


def _claimed(event: e.Claimed) -> str:
    job = event.job
    suspect = ", a suspect" if job.suspect else ""
    return f"{name(job.id)} store: claimed by {event.worker}, fence {job.fence}, attempt {job.attempt}{suspect}"


def _settled(event: e.Settled) -> str:
    settle = event.settle
    outcome = type(settle.outcome).__name__
    return f"{name(settle.id)} store: {event.worker} settles fence {settle.fence} as {outcome}: {event.result.value}"


def _retried(event: e.RetryApplied) -> str:
    before, state = (each.value if each else "unknown" for each in (event.before, event.state))
    return f"{name(event.job)} store: asked to retry, was {before}, is {state}"


def _returned(event: e.Returned) -> str:
    how = "settled itself" if event.outcome is None else type(event.outcome).__name__
    return f"{name(event.job)} {event.node}: the body of fence {event.fence} ends: {how}"


def _stood(event: e.Stood) -> str:
    how = "" if event.recovered else ", by a snapshot"
    return f"{name(event.job)} {event.reader} stands at {event.position.offset}{how}"


def _saw(event: e.Saw) -> str:
    update = event.update
    place = f"at {update.offset}" if update.kind is UpdateKind.PROGRESS else f"{update.offset}"
    return f"{name(event.job)} {event.reader} sees {update.kind.value} {place}: {update.data}"


def _amended(event: c.Amended) -> str:
    fleet, said = Fleet.of(event.after, 0.0), event.said
    if event.forgot is not None:
        return f"store: {event.forgot} is dead, and forgotten by {event.upstream}"
    who = "a person" if said is None else said.process
    probed, permits = fleet.probed.calls, ", ".join(fleet.permits)
    probes = f"; {probed} probes ended, permits: {permits or 'none'}" if fleet.state is BreakerState.HALF_OPEN else ""
    return f"store: {who} speaks of {event.upstream}: {fleet.state.value}, generation {fleet.generation}{probes}"


def _allowed(event: c.Allowed) -> str:
    known = ", ".join(f"{name} {state.value}{' by a permit' * permit}" for name, state, permit in event.known)
    return f"{name(event.job)} {event.node}: may start as {event.task}: {known}"


def _refused(event: s.Refused) -> str:
    jobs, again = ", ".join(name(job.id) for job in event.jobs), event.retry_in_s
    why = f"{event.queue}, for {event.reason.value}; to come again in {again}"
    return f"{event.node}: refuses {jobs} because of {why} s"


_LINES: dict[type, Callable[[Any], str | None]] = {
    e.Fault: lambda it: f"*** {it.text}",
    e.Said: lambda it: f"{it.node}: {it.text}",
    e.Up: lambda it: f"{it.node} begins",
    e.Died: _died,
    e.Registered: lambda it: f"store: {it.worker.id} ({it.worker.role}) has a lease of {it.lease_s:g} s",
    e.Renewed: _renewed,
    e.Unregistered: lambda it: f"store: {it.worker} is unregistered",
    e.Reaped: _reaped,
    e.Attempted: lambda it: f"{name(it.job.id)} a producer enqueues it ({it.job.task}, {it.job.args})",
    e.Added: _added,
    e.Acknowledged: lambda it: f"{name(it.job.id)} its producer is told that it is durable",
    e.Claimed: _claimed,
    e.Settled: _settled,
    e.Joined: lambda it: f"{name(it.job)} store: the transaction of fence {it.fence}: {it.result.value}",
    e.Reconciled: lambda it: f"store: {it.worker} knows of {len(it.held)} claims; {it.count} others are given back",
    e.Appended: lambda it: (
        f"{name(it.write.id)} store: {it.write.kind.value} of fence {it.write.fence}: offset {it.offset}"
    ),
    e.CancelApplied: lambda it: (
        f"{name(it.job)} store: asked to cancel, is {it.state.value if it.state else 'unknown'}"
    ),
    e.RetryApplied: _retried,
    e.Started: lambda it: f"{name(it.job)} {it.node}: the body of attempt {it.attempt}, fence {it.fence}, starts",
    e.Returned: _returned,
    e.Emitted: lambda it: f"{name(it.job)} the body of fence {it.fence} is told that item {it.number} is durable",
    e.Succeeded: lambda it: f"{name(it.job)} the body of fence {it.fence} is told that its success is durable",
    e.Stood: _stood,
    e.Saw: _saw,
    e.Dialled: lambda it: f"{it.reader} opens connection {it.line} to {it.node}",
    e.Linked: lambda it: f"connection {it.line}: {it.node} serves it",
    e.Heard: lambda it: f"connection {it.line}: is asked {it.text[:CHARS]}",
    e.Framed: lambda it: f"connection {it.line}: says {it.text[:CHARS]}",
    e.Taken: lambda _: None,
    e.Closing: lambda it: f"connection {it.line}: is closed with {it.code}",
    e.Unlinked: lambda it: f"connection {it.line}: is given up{f', but for {it.left}' if it.left else ''}",
    e.HungUp: lambda it: f"{it.reader}: connection {it.line} is over, code {it.code}",
    c.Amended: _amended,
    c.Retrying: lambda it: f"{it.process}: may try {it.upstream} once more",
    c.Allowed: _allowed,
    c.Called: lambda it: f"call {it.call}: {it.node} calls {it.upstream}{f' by {it.permit}' if it.permit else ''}",
    c.Served: lambda it: f"call {it.call}: the service is done with it",
    c.CallEnded: lambda it: f"call {it.call}: ends, {ENDS[it.failed]}",
    s.Looked: lambda it: f"{it.node}: {'cannot see' if it.loads is None else 'sees'} how much waits",
    s.Admitted: lambda it: f"{it.node}: lets in {', '.join(name(job.id) for job in it.jobs)}",
    s.Refused: _refused,
    s.Pressed: lambda it: f"{it.node}: is {it.late_s:.2f} s late, level {it.level}" if it.level else None,
    s.TurnedAway: lambda it: f"connection {it.line}: {it.node} takes no further ones",
    e.Puzzled: lambda it: f"{it.reader} is puzzled: {it.text}",
}

CHARS = 120
