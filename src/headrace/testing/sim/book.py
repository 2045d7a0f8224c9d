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
    Lease,
    NewJob,
    Outcome,
    Retried,
    SettleResult,
    Snoozed,
    Succeeded,
    Suspicion,
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
    suspicion: tuple[Suspicion, ...]
    started: bool = False  # a body began under it
    returned: bool = False
    ended: str | None = None  # settled | reconciled | unregistered | reaped | joined
    outcome: Outcome | None = None  # what settled it

    @property
    def unstarted(self) -> bool:
        """Whether it was given back as not started, and so was no attempt."""
        return self.ended == "reconciled" or (isinstance(self.outcome, GivenBack) and not self.outcome.started)


@dataclass(slots=True)
class JobFacts:
    """What is known of a job."""

    new: NewJob
    acknowledged: bool = False
    claims: list[Claim] = field(default_factory=list[Claim])
    fences: dict[int, Claim] = field(default_factory=dict[int, Claim])
    settled_fence: int | None = None  # the last that a settle ended
    cancel_asked: bool = False  # since it was last revived
    end: JobState | None = None  # as the events tell it
    ended_at: float = 0.0  # on the store's clock
    revived: int = 0
    attempts: int = 0  # those that were claimed and not given back unstarted
    failures: int = 0  # these three since it was last revived
    crashes: int = 0
    snoozes: int = 0
    suspect: Suspicion = Suspicion.NONE
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

    def unknown(self, held: frozenset[Lease]) -> dict[JobId, Claim]:
        """What it holds beyond what it names."""
        return {job: claim for job, claim in self.holds.items() if Lease(job, claim.job.fence) not in held}


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
                self._note_person(event, store_at)
            case e.Claimed() | e.Settled() | e.Joined() | e.Reconciled():
                self._note_attempt(event, store_at)
            case _:
                pass

    def _note_body(self, event: e.Started | e.Returned) -> None:
        claim = self.jobs[event.job].fences[event.fence]
        claim.started = claim.started or isinstance(event, e.Started)
        claim.returned = isinstance(event, e.Returned)

    def _note_worker(
        self, event: e.Registered | e.Renewed | e.Died | e.Unregistered | e.Reaped, store_at: float
    ) -> None:
        match event:
            case e.Registered(record, lease_s):
                known = self.workers.get(record.id)
                if known is None or known.gone is not None:
                    dead = known is not None and known.process_dead
                    self.workers[record.id] = WorkerFacts(record, store_at + lease_s, dead)
                else:
                    known.record, known.lease_ends_at = record, store_at + lease_s
            case e.Renewed(worker, lease_s, lost=lost) if not lost:
                self.workers[worker].lease_ends_at = store_at + lease_s
            case e.Died(worker=worker) if worker in self.workers:
                self.workers[worker].process_dead = True
            case e.Unregistered(worker) if worker in self.workers:
                self._let_go(self.workers[worker], "unregistered", store_at)
            case e.Reaped(workers=workers, freed=freed):
                for job_id, _ in freed:
                    facts = self.jobs[job_id]
                    facts.crashes += facts.suspect is Suspicion.ALONE
                    facts.suspect = Suspicion(min(facts.suspect + 1, Suspicion.ALONE))
                for worker in workers:
                    self._let_go(self.workers[worker], "reaped", store_at)
                for job_id, state in freed:
                    self._finish(self.jobs[job_id], state if state.terminal else None, store_at)
            case _:
                pass

    def _note_person(self, event: e.CancelApplied | e.RetryApplied, store_at: float) -> None:
        facts = self.jobs.get(event.job)
        if facts is None:
            return
        match event:
            case e.CancelApplied(state=state):
                facts.cancel_asked = facts.cancel_asked or state is JobState.RUNNING
                if state is JobState.CANCELLED and facts.end is None:
                    self._finish(facts, state, store_at)
            case e.RetryApplied(before=before, state=JobState.READY) if before in _REVIVABLE:
                facts.end, facts.cancel_asked = None, False
                facts.revived += 1
                facts.failures = facts.crashes = facts.snoozes = 0
            case _:
                pass

    def _note_attempt(self, event: e.Claimed | e.Settled | e.Joined | e.Reconciled, store_at: float) -> None:
        match event:
            case e.Claimed(worker, job, suspicion):
                claim = Claim(job, worker, suspicion)
                facts = self.jobs[job.id]
                facts.claims.append(claim)
                facts.fences[job.fence] = claim
                facts.attempts += 1
                self.workers[worker].holds[job.id] = claim
            case e.Settled(_, settle, SettleResult.SETTLED):
                self._settle(settle.id, settle.fence, settle.outcome, "settled", store_at)
            case e.Joined(job, fence, SettleResult.SETTLED):
                self.jobs[job].effects.append(fence)
                self._settle(job, fence, Succeeded("null"), "joined", store_at)
            case e.Reconciled(worker, held) if worker in self.workers:
                for job_id in self.workers[worker].unknown(held):
                    self.jobs[job_id].attempts -= 1
                    self._end_or_cancel(job_id, "reconciled", store_at)
            case _:
                pass

    def _settle(self, job: JobId, fence: int, outcome: Outcome, how: str, store_at: float) -> None:
        facts = self.jobs[job]
        claim = self._end(job, how)
        if claim is not None:
            claim.outcome = outcome
        facts.settled_fence = fence
        if not isinstance(outcome, GivenBack):
            facts.suspect = Suspicion.NONE
        end = JobState.CANCELLED if facts.cancel_asked else None
        match outcome:
            case Succeeded():
                end = JobState.SUCCEEDED
            case Failed():
                end = JobState.FAILED
                facts.failures += 1
            case Cancelled():
                end = JobState.CANCELLED
            case Retried():
                facts.failures += 1
            case Snoozed():
                facts.snoozes += 1
            case GivenBack(started):
                facts.attempts -= not started
        self._finish(facts, end, store_at)

    def _finish(self, facts: JobFacts, end: JobState | None, store_at: float) -> None:
        facts.end, facts.ended_at = end, store_at

    def _let_go(self, worker: WorkerFacts, how: str, store_at: float) -> None:
        worker.gone = how
        for job_id in list(worker.holds):
            self._end_or_cancel(job_id, how, store_at)

    def _end_or_cancel(self, job_id: JobId, how: str, store_at: float) -> None:
        self._end(job_id, how)
        facts = self.jobs[job_id]
        if facts.cancel_asked:
            self._finish(facts, JobState.CANCELLED, store_at)

    def _end(self, job_id: JobId, how: str) -> Claim | None:
        claim = self.jobs[job_id].claim
        if claim is not None:
            claim.ended = how
            self.workers[claim.worker].holds.pop(job_id, None)
        return claim


_REVIVABLE = (JobState.FAILED, JobState.CANCELLED)
