"""How SQL stores write states and failures."""

import json
from typing import Final

from headrace.core.model import Cause, Failure, Json
from headrace.core.states import JobState

SCHEDULED: Final = 0
READY: Final = 1
RUNNING: Final = 2
SUCCEEDED: Final = 3
FAILED: Final = 4
CANCELLED: Final = 5
STATES: Final[tuple[JobState, ...]] = (
    JobState.SCHEDULED,
    JobState.READY,
    JobState.RUNNING,
    JobState.SUCCEEDED,
    JobState.FAILED,
    JobState.CANCELLED,
)


def state_of(number: int) -> JobState:
    """The state that a row's number means."""
    return STATES[number]


NUMBERS: Final = {state: number for number, state in enumerate(STATES)}


def failure_text(failure: Failure | None) -> Json | None:
    """A failure as kept."""
    if failure is None:
        return None
    fields = {
        "type": failure.type,
        "message": failure.message,
        "cause": failure.cause.value,
        "traceback": failure.traceback,
        "fingerprint": failure.fingerprint,
    }
    return json.dumps(fields, ensure_ascii=False)


def failure_of(text: Json | None) -> Failure | None:
    """A kept failure."""
    if text is None:
        return None
    fields: dict[str, str] = json.loads(text)
    return Failure(
        fields["type"], fields["message"], Cause(fields["cause"]), fields["traceback"], fields["fingerprint"]
    )
