"""A world's history in lines that a person can read."""

from headrace.core.model import JobId, UpdateKind
from headrace.testing.sim import events as e


def name(job: JobId) -> str:
    """A job's id, short: its counter and random part."""
    return job.hex()[9:16] + job.hex()[-4:]


def tell(event: e.Event) -> str | None:
    """One line about an event; None: it says too little."""
    match event:
        case e.Fault(text):
            return f"*** {text}"
        case e.Said(node, text):
            return f"{node}: {text}"
        case e.Up(node):
            return f"{node} begins"
        case e.Died(node, worker, code):
            return f"{node}{f' ({worker})' if worker else ''} ends, {_exit(code)}"
        case e.Renewed(worker, lost=True):
            return f"store: the lease of {worker} had ended when it was to be renewed"
        case e.Registered(worker, lease_s):
            return f"store: {worker.id} ({worker.role}) has a lease of {lease_s:g} s"
        case e.Unregistered(worker):
            return f"store: {worker} is unregistered"
        case e.Reaped(named, workers, freed):
            how = "known to be dead" if named else "by their leases"
            jobs = ", ".join(f"{name(job)} ({state.value})" for job, state in freed) or "none"
            return f"store: reaped {', '.join(workers)} ({how}); jobs: {jobs}"
        case e.Renewed():
            return None
        case _:
            return _tell_job(event)


def _tell_job(event: e.Event) -> str | None:
    match event:
        case e.Attempted(job):
            return f"{name(job.id)} a producer enqueues it ({job.task}, {job.args})"
        case e.Added(job, answer):
            how = "is added" if answer.created else f"lands on {name(answer.id)}"
            return f"{name(job.id)} store: {how}, {answer.state.value}"
        case e.Acknowledged(job):
            return f"{name(job.id)} its producer is told that it is durable"
        case e.Claimed(worker, job):
            suspect = ", a suspect" if job.suspect else ""
            return f"{name(job.id)} store: claimed by {worker}, fence {job.fence}, attempt {job.attempt}{suspect}"
        case e.Settled(worker, settle, result):
            outcome = type(settle.outcome).__name__
            return f"{name(settle.id)} store: {worker} settles fence {settle.fence} as {outcome}: {result.value}"
        case e.Joined(job, fence, result):
            return f"{name(job)} store: the transaction of fence {fence}: {result.value}"
        case e.Reconciled(worker, held, count):
            return f"store: {worker} knows of {len(held)} jobs; {count} others are given back"
        case e.Appended(write, offset):
            return f"{name(write.id)} store: {write.kind.value} of fence {write.fence}: offset {offset}"
        case e.CancelApplied(job, state):
            return f"{name(job)} store: asked to cancel, is {state.value if state else 'unknown'}"
        case e.RetryApplied(job, before, state) if before is not None and state is not None:
            return f"{name(job)} store: asked to retry, was {before.value}, is {state.value}"
        case _:
            return _tell_witness(event)


def _tell_witness(event: e.Event) -> str | None:
    match event:
        case e.Started(job, fence, attempt, _, node):
            return f"{name(job)} {node}: the body of attempt {attempt}, fence {fence}, starts"
        case e.Returned(job, fence, _, node, outcome):
            how = "settled itself" if outcome is None else type(outcome).__name__
            return f"{name(job)} {node}: the body of fence {fence} ends: {how}"
        case e.Emitted(job, fence, _, number):
            return f"{name(job)} the body of fence {fence} is told that item {number} is durable"
        case e.Succeeded(job, fence):
            return f"{name(job)} the body of fence {fence} is told that its success is durable"
        case e.Stood(reader, job, position, recovered):
            return f"{name(job)} {reader} stands at {position.offset}{'' if recovered else ', by a snapshot'}"
        case e.Saw(reader, job, update):
            place = f"at {update.offset}" if update.kind is UpdateKind.PROGRESS else f"{update.offset}"
            return f"{name(job)} {reader} sees {update.kind.value} {place}: {update.data}"
        case _:
            return None


def _exit(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"status {code}"
