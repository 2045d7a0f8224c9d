"""A message without a broker: what a test of an `hr.on` begins with."""

from collections.abc import Mapping
from typing import Any

from headrace.app import Headrace, Job
from headrace.app.bridging import post_of
from headrace.app.consuming import SourceDef
from headrace.core.errors import UsageError
from headrace.core.message import Message
from headrace.core.model import Enqueued
from headrace.core.states import JobState
from headrace.ports.post import Intake
from headrace.runtime.encode import encode

BYTES_MAX = 1 << 30


async def deliver(
    hr: Headrace,
    source: str,
    body: object,
    *,
    id: str | None = None,  # noqa: A002 - as brokers call it
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    content_type: str | None = None,
) -> Job[Any] | None:
    """Have a source take one message, as if its broker had brought it; the job, or None: it was one before.

    `source` is the source's name, or, where only one is meant by it, the queue, topic, subject or stream. `body` is
    bytes as they are, or anything that JSON can carry. A message that does not fit becomes a letter, as it would.

    Raises:
        UsageError: there is no such source here, or several.
    """
    found = _named(hr, source)
    raw = body if isinstance(body, bytes) else encode(body, "the message", BYTES_MAX).encode()
    message = Message(found.name, id=id, key=key, headers=headers or {}, content_type=content_type,
                      at=hr.clock.wall(), body=raw)  # fmt: skip
    await hr.open()
    (arrival,) = hr.sources.decoder(found.name).arrivals([message])
    received = await post_of(hr).receive(found.name, Intake([arrival]))
    if not received.added[0]:
        return None
    if hr.after_enqueue is not None:
        await hr.after_enqueue([Enqueued(arrival.job.id, JobState.READY, 1, created=True)])
    job: Job[Any] = Job(
        hr, arrival.job.id, found.task.decode_result, task=found.task.name, args=arrival.job.args, created=True
    )
    return job.landed(JobState.READY, 1)


def _named(hr: Headrace, source: str) -> SourceDef:
    found = hr.sources.get(source)
    if found is not None:
        return found
    near = [each for each in hr.sources if source in each.name.split(":")]
    if len(near) == 1:
        return near[0]
    known = ", ".join(each.name for each in near or hr.sources) or "none"
    raise UsageError(f"{source!r} names {'several sources' if near else 'no source'} here; there are: {known}")
