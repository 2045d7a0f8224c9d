"""How webhooks and their deliveries are shown, in HTTP answers, on the page and with `--json` alike."""

import json
from typing import Any

from headrace.app.webhooks import WebhookRecord
from headrace.core.ids import as_uuid
from headrace.core.model import JobRecord
from headrace.core.states import JobState
from headrace.core.wire import instant


def webhook_view(record: WebhookRecord) -> dict[str, object]:
    """One webhook. Where it is and what it gets is known to a process that has defined it."""
    defined, upstream = record.defined, record.upstream
    names = None if defined is None or defined.types.names is None else sorted(defined.types.names)
    return {
        "name": record.name,
        "endpoint": None if defined is None else defined.origin,
        "types": names,
        "enabled": record.enabled,
        "state": None if upstream is None else upstream.state.value,
        "since": None if upstream is None else instant(upstream.since_at),
        "reason": "" if upstream is None else upstream.reason,
        "last": None if record.last is None else delivery_view(record.last),
    }


def delivery_view(job: JobRecord) -> dict[str, object]:
    """One delivery: which event, and how it was answered last."""
    event = event_of(job)
    return {
        "job": str(as_uuid(job.id)),
        "event": event.get("id"),
        "type": event.get("type"),
        "state": job.state.value,
        "failures": job.failures,
        "created_at": instant(job.created_at),
        "answer": last_answer(job),
    }


def event_of(job: JobRecord) -> dict[str, Any]:
    """The arguments of a delivery's job."""
    found: dict[str, Any] = json.loads(job.args)
    return found


def last_answer(job: JobRecord) -> str | None:
    """What the endpoint said last, or what was in the way; None: nothing was sent yet, or it is forgotten."""
    if job.state is JobState.SUCCEEDED and job.result is not None and not job.result_expired:
        result: dict[str, Any] = json.loads(job.result)
        return f"it answered {result['status']} after {result['seconds']:g} s"
    return None if job.failure is None else job.failure.message
