"""A job's feed, told from its row: the updates that no store needs to keep.

Three updates are rebuilt from the row whenever somebody reads: the enqueue (always offset 1), the
first claim, and the end (always the last offset). All others are kept as feed rows when they
happen. Invariant: plain and kept updates together have the offsets 1 to the job's own, without gap.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from headrace.core.model import AttemptOutcome, Failure, Json, Update, UpdateKind
from headrace.core.states import JobState


@dataclass(frozen=True, slots=True)
class Story:
    """What a job's row, live or ended, knows of its life; `offset` is where its feed ends."""

    state: JobState
    attempt: int
    offset: int
    created_at: float
    first_due_at: float | None  # None: it was ready when it was enqueued
    first_claimed_at: float | None  # of fence 1
    first_claim_offset: int | None
    finished_at: float | None
    result: Json | None
    failure: Failure | None
    result_expired: bool = False


def plain_updates(story: Story) -> list[Update]:
    """The updates that the row alone tells, in order."""
    if story.first_due_at is None:
        first = state_data(JobState.READY, 0)
    else:
        first = state_data(JobState.SCHEDULED, 0, due_in_s=story.first_due_at - story.created_at)
    updates = [Update(1, UpdateKind.STATE, 0, first, story.created_at)]
    if story.first_claimed_at is not None and story.first_claim_offset is not None:
        data = state_data(JobState.RUNNING, 1)
        updates.append(Update(story.first_claim_offset, UpdateKind.STATE, 1, data, story.first_claimed_at))
    if story.finished_at is not None and story.state.terminal:
        updates.append(Update(story.offset, UpdateKind.END, story.attempt, end_data(story), story.finished_at))
    return updates


def tell(story: Story, kept: Iterable[Update], after: int, limit: int) -> tuple[Update, ...]:
    """Up to `limit` updates above offset `after`, in order; `kept` holds at least as many feed rows."""
    told = [update for update in (*plain_updates(story), *kept) if update.offset > after]
    told.sort(key=lambda update: update.offset)
    return tuple(told[:limit])


def state_data(
    state: JobState,
    attempt: int,
    *,
    outcome: AttemptOutcome | None = None,
    failure: Failure | None = None,
    due_in_s: float | None = None,
    reason: str = "",
) -> Json:
    """The data of a `state` update; fields that say nothing are left out."""
    data: dict[str, object] = {"state": state.value, "attempt": attempt}
    if outcome is not None:
        data["outcome"] = outcome.value
    if failure is not None:
        data["cause"] = failure.cause.value
        data["error"] = {"type": failure.type, "message": failure.message}
    if due_in_s is not None:
        data["due_in_s"] = round(due_in_s, 3)
    if reason:
        data["reason"] = reason
    return _text(data)


def end_data(story: Story) -> Json:
    """The data of the `end` update: the state, and the result or the error."""
    result = story.result if story.result is not None and not story.result_expired else "null"
    fields = [f'"state":"{story.state.value}"', f'"result":{result}']
    if story.result_expired:
        fields.append('"result_expired":true')
    if story.failure is not None:
        error = {
            "type": story.failure.type,
            "message": story.failure.message,
            "cause": story.failure.cause.value,
        }
        fields.append(f'"error":{_text(error)}')
    return "{" + ",".join(fields) + "}"


def former_end(story: Story) -> Update:
    """The end of a job that a person retries, to be kept as a `state` update at its old offset.

    After it the feed goes on with a `state` update of its own for the revival.
    """
    data = state_data(story.state, story.attempt, failure=story.failure)
    return Update(story.offset, UpdateKind.STATE, story.attempt, data, story.finished_at or story.created_at)


def _text(value: object) -> Json:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
