"""The life of a job: six states and one transition table.

Every edge lives in `TRANSITIONS`; the diagram in the docs is made from it.
"""

from enum import StrEnum
from typing import TypeAlias

from headrace.core.errors import IllegalTransition


class JobState(StrEnum):
    """Where a job is in its life; the last three are terminal."""

    SCHEDULED = "scheduled"
    READY = "ready"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self in TERMINAL


class SpoolState(StrEnum):
    """Where a job is that the store does not know yet: a state of answers alone, in no table and in no store."""

    SPOOLED = "spooled"

    @property
    def terminal(self) -> bool:
        """It has not even begun."""
        return False


ShownState: TypeAlias = JobState | SpoolState
"""What a job is said to be."""

TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class JobEvent(StrEnum):
    """What can happen to a job."""

    DUE = "due"
    CLAIM = "claim"
    SUCCEED = "succeed"
    RETRY = "retry"
    RETRY_LATER = "retry later"
    SNOOZE = "snooze"
    FAIL = "fail"
    CANCEL = "cancel"
    GIVE_BACK = "give back"
    CRASH = "crash"
    CRASH_ALONE = "crash alone"
    QUARANTINE = "quarantine"
    REVIVE = "retry by a person"


TRANSITIONS: dict[tuple[JobState, JobEvent], JobState] = {
    (JobState.SCHEDULED, JobEvent.DUE): JobState.READY,
    (JobState.SCHEDULED, JobEvent.CANCEL): JobState.CANCELLED,
    (JobState.READY, JobEvent.CLAIM): JobState.RUNNING,
    (JobState.READY, JobEvent.CANCEL): JobState.CANCELLED,
    (JobState.RUNNING, JobEvent.SUCCEED): JobState.SUCCEEDED,
    (JobState.RUNNING, JobEvent.RETRY): JobState.READY,
    (JobState.RUNNING, JobEvent.RETRY_LATER): JobState.SCHEDULED,
    (JobState.RUNNING, JobEvent.SNOOZE): JobState.SCHEDULED,
    (JobState.RUNNING, JobEvent.FAIL): JobState.FAILED,
    (JobState.RUNNING, JobEvent.CANCEL): JobState.CANCELLED,
    (JobState.RUNNING, JobEvent.GIVE_BACK): JobState.READY,
    (JobState.RUNNING, JobEvent.CRASH): JobState.READY,
    (JobState.RUNNING, JobEvent.CRASH_ALONE): JobState.SCHEDULED,
    (JobState.RUNNING, JobEvent.QUARANTINE): JobState.FAILED,
    (JobState.FAILED, JobEvent.REVIVE): JobState.READY,
    (JobState.CANCELLED, JobEvent.REVIVE): JobState.READY,
}


def transition(state: JobState, event: JobEvent) -> JobState:
    """The state after `event`.

    Raises:
        IllegalTransition: the table has no such edge.
    """
    after = TRANSITIONS.get((state, event))
    if after is None:
        allowed = sorted({edge.value for at, edge in TRANSITIONS if at is state})
        raise IllegalTransition(
            f"a job that is {state.value} cannot '{event.value}'; possible: {', '.join(allowed) or 'nothing'}"
        )
    return after


def diagram() -> str:
    """The table as a Mermaid state diagram, edges of one pair of states on one line."""
    edges: dict[tuple[JobState, JobState], list[str]] = {}
    for (before, event), after in TRANSITIONS.items():
        edges.setdefault((before, after), []).append(event.value)
    lines = ["stateDiagram-v2", "    [*] --> scheduled: enqueue for later", "    [*] --> ready: enqueue"]
    lines += [f"    {a.value} --> {b.value}: {', '.join(names)}" for (a, b), names in edges.items()]
    lines += [f"    {state.value} --> [*]" for state in JobState if state.terminal]
    return "\n".join(lines)
