"""What may be believed of each job and worker, kept from the events alone: the checkers' memory.

It knows no store. Each checker sees an event before it is booked here, and so can compare.
"""

from dataclasses import dataclass, field

from headrace.core.model import (
    Cancelled,
    ClaimedJob,
    Failed,
    GivenBack,
    JobId,
    NewJob,
    SettleResult,
    Succeeded,
    WorkerId,
    WorkerRecord,
)
from headrace.core.states import JobState
from headrace.testing.sim import events as e


@dataclass(slots=True)
class Claim:
    """One time that a job was given to a worker; `ended` says how that ended, None while it holds."""

    job: ClaimedJob
    worker: WorkerId
    suspects: bool | None
    started: bool = False  # a body began under it
    returned: bool = False
    ended: str | None = None  # settled | reconciled | unregistered | reaped | joined


@dataclass(slots=True)
class JobFacts:
    """What is known of a job."""

    new: NewJob
    acknowledged: bool = False
    claims: list[Claim] = field(default_factory=list[Claim])
    cancel_asked: bool = False  # since it last began to wait or was revived
    end: JobState | None = None  # as the events tell it
    revived: int = 0
    effects: list[int] = field(default_factory=list[int])  # fences whose joined transaction was committed

    @property
    def claim(self) -> Claim | None:
        """The claim that holds it now."""
        return self.claims[-1] if self.claims and self.claims[-1].ended is None else None


@dataclass(slots=True)
class WorkerFacts:
    """What is known of a worker; `lease_ends_at` is on the store's clock."""

    record: WorkerRecord
    lease_ends_at: float
    process_dead: bool = False
    gone: str | None = None  # unregistered | reaped
    holds: dict[JobId, Claim] = field(default_factory=dict[JobId, Claim])


class Book:
    """Jobs by id and workers by name."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.jobs: dict[JobId, JobFacts] = {}
        self.workers: dict[WorkerId, WorkerFacts] = {}

    def note(self, event: e.Event, store_at: float) -> None:
        """Take an event in; `store_at` is the store's wall clock."""
        match event:
            case e.Added(job, answer) if answer.created:
                self.jobs[job.id] = JobFacts(job)
            case e.Acknowledged(_, answer) if answer.id in self.jobs:
                self.jobs[answer.id].acknowledged = True
            case e.Started() | e.Returned():
                self._note_body(event)
            case e.Registered() | e.Renewed() | e.Died() | e.Unregistered() | e.Reaped():
                self._note_worker(event, store_at)
            case e.CancelApplied() | e.RetryApplied():
                self._note_person(event)
            case e.Claimed() | e.Settled() | e.Joined() | e.Reconciled():
                self._note_attempt(event)
            case _:
                pass

    def _note_body(self, event: e.Started | e.Returned) -> None:
        for claim in self.jobs[event.job].claims:
            if claim.job.fence == event.fence:
                claim.started = claim.started or isinstance(event, e.Started)
                claim.returned = isinstance(event, e.Returned)

    def _note_worker(
        self, event: e.Registered | e.Renewed | e.Died | e.Unregistered | e.Reaped, store_at: float
    ) -> None:
        match event:
            case e.Registered(record, lease_s):
                known = self.workers.get(record.id)
                if known is None or known.gone is not None:
                    self.workers[record.id] = WorkerFacts(record, store_at + lease_s)
                else:
                    known.record, known.lease_ends_at = record, store_at + lease_s
            case e.Renewed(worker, lease_s, lost=lost) if not lost:
                self.workers[worker].lease_ends_at = store_at + lease_s
            case e.Died(worker=worker) if worker in self.workers:
                self.workers[worker].process_dead = True
            case e.Unregistered(worker) if worker in self.workers:
                self._let_go(self.workers[worker], "unregistered")
            case e.Reaped(workers=workers, freed=freed):
                for worker in workers:
                    self._let_go(self.workers[worker], "reaped")
                for job_id, state in freed:
                    self.jobs[job_id].end = state if state.terminal else None
            case _:
                pass

    def _note_person(self, event: e.CancelApplied | e.RetryApplied) -> None:
        facts = self.jobs.get(event.job)
        if facts is None:
            return
        match event:
            case e.CancelApplied(state=state):
                facts.cancel_asked = facts.cancel_asked or state is JobState.RUNNING
                if state is JobState.CANCELLED:
                    facts.end = state
            case e.RetryApplied(before=before, state=JobState.READY) if before in _REVIVABLE:
                facts.end, facts.cancel_asked = None, False
                facts.revived += 1
            case _:
                pass

    def _note_attempt(self, event: e.Claimed | e.Settled | e.Joined | e.Reconciled) -> None:
        match event:
            case e.Claimed(worker, job, suspects):
                claim = Claim(job, worker, suspects)
                self.jobs[job.id].claims.append(claim)
                self.workers[worker].holds[job.id] = claim
            case e.Settled(_, settle, SettleResult.SETTLED):
                self._end(settle.id, "settled")
                self._note_end(self.jobs[settle.id], settle.outcome)
            case e.Joined(job, fence, SettleResult.SETTLED):
                self._end(job, "joined")
                self.jobs[job].effects.append(fence)
                self._note_end(self.jobs[job], Succeeded("null"))
            case e.Reconciled(worker, held) if worker in self.workers:
                for job_id in [job_id for job_id in self.workers[worker].holds if job_id not in held]:
                    self._end_or_cancel(job_id, "reconciled")
            case _:
                pass

    def _note_end(self, facts: JobFacts, outcome: object) -> None:
        match outcome:
            case Succeeded():
                facts.end = JobState.SUCCEEDED
            case Failed():
                facts.end = JobState.FAILED
            case Cancelled():
                facts.end = JobState.CANCELLED
            case GivenBack() | _ if facts.cancel_asked:
                facts.end = JobState.CANCELLED
            case _:
                pass

    def _let_go(self, worker: WorkerFacts, how: str) -> None:
        worker.gone = how
        for job_id in list(worker.holds):
            self._end_or_cancel(job_id, how)

    def _end_or_cancel(self, job_id: JobId, how: str) -> None:
        self._end(job_id, how)
        facts = self.jobs[job_id]
        if facts.cancel_asked:
            facts.end = JobState.CANCELLED

    def _end(self, job_id: JobId, how: str) -> None:
        claim = self.jobs[job_id].claim
        if claim is not None:
            claim.ended = how
            self.workers[claim.worker].holds.pop(job_id, None)


_REVIVABLE = (JobState.FAILED, JobState.CANCELLED)
