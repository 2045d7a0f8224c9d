"""The shapes of requests and answers, as OpenAPI publishes them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from headrace.app.job import JobAnswer
from headrace.core.fleet import BreakerState
from headrace.core.states import JobState, ShownState

Scope = Literal["read", "enqueue", "operate"]


class Strict(BaseModel):
    """A request's body: what it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid")


class NewJobBody(Strict):
    """One job to enqueue."""

    task: Annotated[str, Field(min_length=1, max_length=200, description="The name of a public task.")]
    args: dict[str, Any] = Field(default_factory=dict[str, Any], description="Arguments by name.")
    options: dict[str, Any] = Field(
        default_factory=dict[str, Any],
        description="delay, run_at, queue, priority, key, tags, timeout, deadline; durations in seconds.",
    )


class BatchBody(Strict):
    """Jobs to enqueue in one transaction, all or none."""

    jobs: Annotated[list[NewJobBody], Field(min_length=1, max_length=1_000)]


class EditBody(Strict):
    """Other arguments for a failed job."""

    args: dict[str, Any]


class RetryBody(Strict):
    """Which failed or cancelled jobs to run again, at a capped rate."""

    task: str | None = None
    queue: str | None = None
    tag: str | None = None
    state: Literal["failed", "cancelled"] = "failed"
    created_after: datetime | None = None
    created_before: datetime | None = None
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    per_second: Annotated[int, Field(ge=1, le=1_000, description="How many become ready per second.")] = 100


class SessionBody(Strict):
    """An API key to exchange for a session cookie; without it, the app's own `auth=` is asked."""

    key: Annotated[str, Field(max_length=500)] | None = None


class Links(BaseModel):
    """Where a job is found."""

    self: str
    updates: str
    attempts: str
    cancel: str
    retry: str
    token: str


class ErrorView(BaseModel):
    """Why an attempt failed; the traceback only for credentials that see every job."""

    type: str
    message: str
    cause: str
    fingerprint: str | None = None
    traceback: str | None = None


class Hold(BaseModel):
    """What keeps a waiting job from running."""

    kind: str
    reason: str


class UpstreamHold(BaseModel):
    """A hold by an upstream that its task needs."""

    kind: Literal["upstream"]
    reason: str
    upstream: str
    state: BreakerState
    since: str
    next_try: str | None = Field(default=None, description="While it is open: when it is tried again.")


class JobView(BaseModel):
    """Everything about one job."""

    id: UUID
    task: str
    queue: str
    state: ShownState
    attempt: int
    failures: int
    max_attempts: int
    priority: int
    key: str | None
    tags: list[str]
    args: Any
    created_at: str
    due_at: str | None
    started_at: str | None
    finished_at: str | None
    deadline_at: str | None
    worker: str | None
    cancelling: bool
    suspect: bool
    progress: Any
    result: Any
    result_expired: bool
    error: ErrorView | None
    position: str
    links: Links
    holds: list[UpstreamHold | Hold] = Field(default_factory=list[UpstreamHold | Hold])
    why: str | None = None


class JobPageView(BaseModel):
    """One page of jobs, newest first; `next_page_token` is empty on the last one."""

    jobs: list[JobView]
    next_page_token: str


class BatchAnswer(BaseModel):
    """The enqueued jobs, in order."""

    jobs: list[JobAnswer]


class AttemptView(BaseModel):
    """One start of a job's body."""

    attempt: int
    worker: str | None
    started_at: str
    ended_at: str | None
    outcome: str
    error: ErrorView | None


class AttemptsView(BaseModel):
    """Every attempt, in order."""

    attempts: list[AttemptView]


class StateAnswer(BaseModel):
    """A job's state after the request."""

    id: UUID
    state: JobState


class RetriedAnswer(BaseModel):
    """The jobs that were made ready again."""

    retried: int
    more: bool = Field(description="Whether more jobs matched than the limit let through.")


class TokenAnswer(BaseModel):
    """A new token for one job."""

    token: str
    expires_in_s: float


class TaskView(BaseModel):
    """One task and the JSON schema of its arguments."""

    name: str
    queue: str
    kind: str
    public: bool
    timeout_s: float
    max_attempts: int
    args_schema: dict[str, Any]


class TasksView(BaseModel):
    """The tasks that this process knows."""

    tasks: list[TaskView]


class QueueView(BaseModel):
    """One queue; counts by state."""

    name: str
    paused: bool
    counts: dict[str, int]
    oldest_ready_s: float | None


class QueuesView(BaseModel):
    """Every queue that has or had jobs."""

    queues: list[QueueView]


class PausedAnswer(BaseModel):
    """Whether the queue is held now."""

    name: str
    paused: bool


class UpstreamView(BaseModel):
    """One upstream, as the fleet sees it; `calls`, `failures` and `slow` are of the windows, or of the probes."""

    name: str
    state: BreakerState
    generation: int
    since: str
    reason: str = Field(description="Why it is not closed.")
    retry_in_s: float | None = Field(description="While it is open: how long until it is tried again.")
    ramp_s: float | None = Field(description="How long ago it closed after probes.")
    calls: int
    failures: int
    slow: int
    permits: int = Field(description="Probes under way, or about to be.")
    slots: int = Field(description="How much of max_concurrency is with processes.")
    processes: int = Field(description="That were heard of within a minute.")
    definitions: int = Field(description="That processes heard of lately have of it; two: they disagree.")
    tasks: list[str] = Field(description="That need it.")


class UpstreamsView(BaseModel):
    """Every upstream that any process has had."""

    upstreams: list[UpstreamView]


class SourceView(BaseModel):
    """One source of messages, and what the processes that take from it now have counted."""

    name: str
    task: str | None = Field(description="What its messages are for, if this process defines it.")
    queue: str | None
    state: Literal["consuming", "full", "store_away", "away", "draining", "unattended"]
    why: str | None = Field(description="What it waits for.")
    processes: int = Field(description="That take from it.")
    taken: int = Field(description="Messages that became jobs.")
    repeated: int = Field(description="Messages that were jobs already.")
    letters: int = Field(description="Of those taken, messages that fit their task not.")
    without_id: int = Field(description="Of those taken, messages whose repeat nobody would know.")
    taken_age_s: float | None = Field(description="How long ago it last took something.")
    bookmarks: dict[str, int] = Field(description="By part of the stream, the next place.")


class SourcesView(BaseModel):
    """Every source that is defined here, has bookmarks or is taken from."""

    sources: list[SourceView]


class WorkerView(BaseModel):
    """One process that runs attempts."""

    id: str
    host: str
    pid: int
    role: str
    version: str
    queues: list[str] | None
    tasks: list[str]
    concurrency: int
    running: int
    started_at: str
    alive: bool
    draining: bool


class WorkersView(BaseModel):
    """Every worker that is known."""

    workers: list[WorkerView]


class NotifierView(BaseModel):
    """How well hints of other processes arrive in this one; without them, it polls."""

    kind: str
    working: bool | None = Field(None, description="Null: it is never known, as on one machine.")
    echo_s: float | None = Field(None, description="How long the last probe took to come back.")
    trouble: str | None = None


class StatsView(BaseModel):
    """The whole store in a few numbers."""

    counts: dict[str, int]
    oldest_ready_s: float | None
    queues_paused: int
    workers_alive: int
    running: int
    notifier: NotifierView


class SessionAnswer(BaseModel):
    """What the new session may do."""

    scopes: list[Scope]
    expires_in_s: float


class SpoolView(BaseModel):
    """What this process keeps until the store can take it."""

    files: int
    bytes: int
    jobs: int
    oldest_s: float | None = Field(description="The age of the oldest file.")
    drained: int
    rejected: int
    trouble: str | None = Field(description="Why the store takes nothing, where a person is needed.")


class HealthView(BaseModel):
    """Alive, or ready to serve; the rest only for a credential with the scope read.

    `spooling`: the store does not answer, and enqueues are kept until it does.
    """

    status: Literal["live", "ready", "spooling"]
    store: str | None = None
    version: str | None = None
    notifier: NotifierView | None = None
    spool: SpoolView | None = None
    bridges: dict[str, str] | None = Field(None, description="How the sources and sinks of this process stand.")
