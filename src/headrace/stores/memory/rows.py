"""One job as the memory store keeps it, live or ended."""

from dataclasses import dataclass, field, replace

from headrace.core.model import (
    AttemptOutcome,
    AttemptRecord,
    ClaimedJob,
    Failure,
    JobRecord,
    Json,
    NewJob,
    Suspicion,
    Update,
    UpdateKind,
    WorkerId,
    WorkerRecord,
)
from headrace.core.states import JobState
from headrace.core.story import Story, state_data


@dataclass(slots=True)
class Row:
    """A job; `offset` is where its feed ends, `settled_fence` the last fence that a settle ended."""

    job: NewJob
    state: JobState
    created_at: float
    first_due_at: float | None
    deadline_at: float | None
    seq: int = 0
    due_at: float | None = None
    ready_at: float = 0.0
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    snoozes: int = 0
    fence: int = 0
    settled_fence: int | None = None
    offset: int = 1
    first_claimed_at: float | None = None
    first_claim_offset: int | None = None
    started_at: float | None = None
    finished_at: float | None = None
    worker: WorkerId | None = None
    suspect: Suspicion = Suspicion.NONE
    cancelling: bool = False
    result: Json | None = None
    failure: Failure | None = None
    progress: Update | None = None
    items: int = 0
    kept: list[Update] = field(default_factory=list[Update])
    emitted: dict[str, int] = field(default_factory=dict[str, int])
    attempts: list[AttemptRecord] = field(default_factory=list[AttemptRecord])

    def tell_state(self, now: float, data: Json) -> None:
        """Keep a `state` update."""
        self.keep(UpdateKind.STATE, data, now)

    def keep(self, kind: UpdateKind, data: Json, now: float) -> int:
        """Add an update to the feed; its offset."""
        self.offset += 1
        self.kept.append(Update(self.offset, kind, self.attempt, data, now))
        return self.offset

    def start(self, worker: WorkerId, now: float) -> None:
        """A claim: raise the fence, open an attempt, tell the feed."""
        self.state, self.worker, self.started_at = JobState.RUNNING, worker, now
        self.fence += 1
        self.attempt += 1
        self.attempts.append(AttemptRecord(self.attempt, self.fence, worker, now, None, AttemptOutcome.RUNNING))
        if self.fence == 1:
            self.offset += 1
            self.first_claimed_at, self.first_claim_offset = now, self.offset
        else:
            self.tell_state(now, state_data(JobState.RUNNING, self.attempt))

    def end_attempt(self, outcome: AttemptOutcome, failure: Failure | None, now: float) -> None:
        """Close the running attempt; nobody runs the job any more."""
        self.attempts[-1] = replace(self.attempts[-1], ended_at=now, outcome=outcome, failure=failure)
        self.worker, self.progress = None, None

    def claimed(self, now: float) -> ClaimedJob:
        """What the worker gets."""
        job = self.job
        return ClaimedJob(
            id=job.id,
            fence=self.fence,
            task=job.task,
            queue=job.queue,
            args=job.args,
            attempt=self.attempt,
            failures=self.failures,
            crashes=self.crashes,
            snoozes=self.snoozes,
            max_attempts=job.max_attempts,
            timeout_s=job.timeout_s,
            deadline_in_s=None if self.deadline_at is None else self.deadline_at - now,
            tags=job.tags,
            signature=job.signature,
            offset=self.offset,
            suspect=self.suspect,
            traceparent=job.traceparent,
            emitted=frozenset(self.emitted),
            waited_s=max(0.0, now - self.ready_at),
        )

    def result_expired(self, now: float, retention_s: float) -> bool:
        """Whether the result is past its retention."""
        return self.result is not None and self.finished_at is not None and self.finished_at + retention_s <= now

    def record(self, now: float, result_retention_s: float) -> JobRecord:
        """The job as readers see it."""
        job = self.job
        expired = self.result_expired(now, result_retention_s)
        return JobRecord(
            id=job.id,
            task=job.task,
            queue=job.queue,
            state=self.state,
            args=job.args,
            priority=job.priority,
            key=job.key,
            tags=job.tags,
            attempt=self.attempt,
            failures=self.failures,
            crashes=self.crashes,
            snoozes=self.snoozes,
            max_attempts=job.max_attempts,
            fence=self.fence,
            offset=self.offset,
            timeout_s=job.timeout_s,
            created_at=self.created_at,
            run_at=self.due_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            deadline_at=self.deadline_at,
            worker=self.worker,
            suspect=self.suspect,
            cancelling=self.cancelling,
            result=None if expired else self.result,
            failure=self.failure,
            progress=None if self.progress is None else self.progress.data,
            result_expired=expired,
        )

    def story(self, now: float, result_retention_s: float) -> Story:
        """The facts from which the plain updates are rebuilt."""
        return Story(
            state=self.state,
            attempt=self.attempt,
            offset=self.offset,
            created_at=self.created_at,
            first_due_at=self.first_due_at,
            first_claimed_at=self.first_claimed_at,
            first_claim_offset=self.first_claim_offset,
            finished_at=self.finished_at,
            result=self.result,
            failure=self.failure,
            result_expired=self.result_expired(now, result_retention_s),
        )


@dataclass(slots=True)
class Key:
    """Who holds a `(task, key)`; `expires_at` is None while its job lives."""

    id: bytes
    digest: str
    expires_at: float | None = None


@dataclass(slots=True)
class Worker:
    """A registered worker, the end of its lease and the jobs it runs."""

    record: WorkerRecord
    lease_ends_at: float
    running: dict[bytes, Row] = field(default_factory=dict[bytes, Row])
