"""How a job goes to a cpu child as JSON, and how its outcome comes back."""

import base64
from dataclasses import asdict
from typing import Any, Final

from headrace.core.event import Event
from headrace.core.model import (
    Cancelled,
    Cause,
    ClaimedJob,
    Failed,
    Failure,
    GivenBack,
    Outcome,
    Retried,
    Snoozed,
    Succeeded,
)

CPU_FD: Final = "HEADRACE_CPU_FD"  # the child's end of the socket, by number
_OUTCOMES: dict[str, type[Outcome]] = {
    cls.__name__: cls for cls in (Succeeded, Retried, Failed, Snoozed, Cancelled, GivenBack)
}


def job_to_wire(job: ClaimedJob) -> dict[str, Any]:
    """A claimed job as JSON can carry it."""
    return {**asdict(job), "id": job.id.hex(), "emitted": sorted(job.emitted)}


def job_from_wire(data: dict[str, Any]) -> ClaimedJob:
    """What `job_to_wire` made."""
    fields: dict[str, Any] = dict(data)
    fields["id"] = bytes.fromhex(data["id"])
    fields["tags"] = tuple(data["tags"])
    fields["emitted"] = frozenset(data["emitted"])
    return ClaimedJob(**fields)


def outcome_to_wire(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON can carry it."""
    return {"is": type(outcome).__name__, **asdict(outcome)}


def outcome_from_wire(data: dict[str, Any]) -> Outcome:
    """What `outcome_to_wire` made."""
    fields = {name: value for name, value in data.items() if name != "is"}
    failure = fields.get("failure")
    if failure is not None:
        fields["failure"] = Failure(**{**failure, "cause": Cause(failure["cause"])})
    return _OUTCOMES[data["is"]](**fields)


def event_to_wire(event: Event) -> dict[str, Any]:
    """An event as JSON can carry it."""
    return {**asdict(event), "id": event.id.hex(), "body": base64.b64encode(event.body).decode("ascii")}


def event_from_wire(data: dict[str, Any]) -> Event:
    """What `event_to_wire` made."""
    fields: dict[str, Any] = {**data, "id": bytes.fromhex(data["id"]), "body": base64.b64decode(data["body"])}
    return Event(**fields)
