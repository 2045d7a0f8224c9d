"""What becomes of a job when its attempt ends: one decision for every store.

Invariant: a job that somebody asked to cancel never waits again. Where its attempt's outcome would
send it back to wait, it ends as cancelled; a success or a failure that was quicker stands.
"""

from dataclasses import dataclass
from typing import assert_never

from headrace.core.model import (
    AttemptOutcome,
    Cancelled,
    Cause,
    Failed,
    Failure,
    GivenBack,
    Outcome,
    Retried,
    Snoozed,
    Succeeded,
    Suspicion,
)
from headrace.core.states import JobEvent

CRASH_DELAY_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended and where its job goes.

    `delay_s` counts for jobs that become scheduled. `failures`, `crashes`, `snoozes` and `attempt`
    are added to the job's counters. `suspect` is what the job is afterwards; None leaves it.
    """

    event: JobEvent
    outcome: AttemptOutcome
    delay_s: float = 0.0
    failures: int = 0
    crashes: int = 0
    snoozes: int = 0
    attempt: int = 0
    suspect: Suspicion | None = Suspicion.NONE
    failure: Failure | None = None
    reason: str = ""


def judge(outcome: Outcome, *, cancelling: bool) -> Verdict:
    """The verdict on a settled attempt."""
    match outcome:
        case Succeeded():
            return Verdict(JobEvent.SUCCEED, AttemptOutcome.SUCCEEDED)
        case Failed(failure):
            return Verdict(JobEvent.FAIL, AttemptOutcome.FAILED, failures=1, failure=failure)
        case Cancelled(reason):
            return Verdict(JobEvent.CANCEL, AttemptOutcome.CANCELLED, reason=reason)
        case Retried(failure, delay_s):
            event = JobEvent.RETRY_LATER if delay_s > 0 else JobEvent.RETRY
            kept = AttemptOutcome.RETRY
            return Verdict(_unless(cancelling, event), kept, max(delay_s, 0.0), failures=1, failure=failure)
        case Snoozed(delay_s, reason, failure):
            event, kept = _unless(cancelling, JobEvent.SNOOZE), AttemptOutcome.SNOOZED
            return Verdict(event, kept, max(delay_s, 0.0), snoozes=1, failure=failure, reason=reason)
        case GivenBack(started):
            event, kept = JobEvent.GIVE_BACK, AttemptOutcome.GIVEN_BACK
            # It proved nothing: a suspect that is given back stays one.
            return Verdict(_unless(cancelling, event), kept, attempt=0 if started else -1, suspect=None)
        case _:
            assert_never(outcome)


def judge_crash(*, suspect: Suspicion, crashes: int, cancelling: bool, crashes_max: int, backoff_s: float) -> Verdict:
    """The verdict on an attempt whose worker died; `crashes` are those counted before.

    A crash beside others only narrows down who did it, since most of the jobs that a worker held
    are innocent: first all of them run among themselves, and if that ends in a crash too, each alone.
    """
    kept = AttemptOutcome.CRASHED
    if suspect is not Suspicion.ALONE:
        return Verdict(_unless(cancelling, JobEvent.CRASH), kept, suspect=Suspicion(suspect + 1))
    counted = crashes + 1
    if counted >= crashes_max and not cancelling:
        message = f"its worker died {counted} times while it ran alone"
        failure = Failure("headrace.Crashed", message, Cause.CRASHED, fingerprint="headrace.Crashed")
        return Verdict(JobEvent.QUARANTINE, kept, crashes=1, suspect=suspect, failure=failure)
    delay_s = min(CRASH_DELAY_MAX_S, backoff_s * 2.0 ** min(crashes, 32))
    return Verdict(_unless(cancelling, JobEvent.CRASH_ALONE), kept, delay_s, crashes=1, suspect=suspect)


def _unless(cancelling: bool, event: JobEvent) -> JobEvent:
    return JobEvent.CANCEL if cancelling else event
