"""Ending attempts: the common success in bulk, every other outcome one by one.

Invariant: `(id, fence, running)` guards each; a fence that settled before answers `repeated`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from headrace.core.model import JobId, Json, Outcome, Settle, SettleResult, Succeeded
from headrace.core.outcomes import Verdict, judge
from headrace.core.states import JobState, transition
from headrace.core.story import state_data
from headrace.stores.encoding import NUMBERS, RUNNING, failure_text
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, LaneName, Row, Tx

_SETTLING_INSERT: Final = query("settling_insert")
_SETTLING_MOVE: Final = query("settling_move")
_SETTLING_LOST: Final = query("settling_lost")
_SETTLING_LEAVE: Final = query("settling_leave")
_SETTLING_CLEAR: Final = query("settling_clear")
_LIVE_BY_ID: Final = query("live_by_id")
_ENDED_FENCE: Final = query("ended_fence")
_WAIT: Final = query("wait")
_FINISH: Final = query("finish")
_JOB_DELETE: Final = query("job_delete")
_ATTEMPT_INSERT: Final = query("attempt_insert")
_FEED_INSERT: Final = query("feed_insert")
_FEW: Final = 3  # so many are settled one by one as fast


@dataclass(slots=True)
class Live:
    """What a move of one live job needs to know; fields in the order of `live_by_id`."""

    n: int
    id: JobId
    lane: int
    state: int
    suspect: int
    cancelling: int
    fence: int
    settled_fence: int
    attempt: int
    crashes: int
    feed_end: int
    worker: int | None
    started_at: int


def settle(tx: Tx, settles: Sequence[Settle]) -> tuple[SettleResult, ...]:
    """Settle a batch; an answer per settle, in order."""
    numbers = [tx.ledger.numbers.pop(entry.id, None) for entry in settles]
    rows: list[Row] = []
    if len(settles) > _FEW:
        rows = [
            (number, entry.id, entry.fence, entry.outcome.result)
            for entry, number in zip(settles, numbers, strict=True)
            if number is not None and isinstance(entry.outcome, Succeeded)
        ]
    if not rows:
        return tuple([settle_one(tx, entry) for entry in settles])
    moved = _move(tx, rows)
    if len(moved) == len(settles):
        return (SettleResult.SETTLED,) * len(settles)
    answers: list[SettleResult] = []
    for entry in settles:
        if entry.id in moved and entry.fence == moved[entry.id] and isinstance(entry.outcome, Succeeded):
            del moved[entry.id]
            answers.append(SettleResult.SETTLED)
        else:
            answers.append(settle_one(tx, entry))
    return tuple(answers)


def _move(tx: Tx, rows: list[Row]) -> dict[JobId, int]:
    """Move those that hold their lease; their ids and fences."""
    gathered = tx.many(_SETTLING_INSERT, rows)
    count = tx.run(_SETTLING_MOVE, (tx.now,))
    moved = {row[1]: row[2] for row in rows}
    if count != gathered or gathered != len(rows):
        moved = {row[1]: row[2] for row in reversed(rows)}  # of a repeated entry, the first counts
        for (lost,) in tx.all(_SETTLING_LOST):
            del moved[lost]
    tx.run(_SETTLING_LEAVE)
    tx.run(_SETTLING_CLEAR)
    tx.grown += moved
    return moved


def settle_one(tx: Tx, entry: Settle) -> SettleResult:
    """Settle one attempt."""
    row = tx.one(_LIVE_BY_ID, (entry.id,))
    if row is None:
        ended = tx.one(_ENDED_FENCE, (entry.id,))
        known = ended is not None and 0 < entry.fence == ended[0]
        return SettleResult.REPEATED if known else SettleResult.LOST
    live = Live(*row)
    if 0 < entry.fence == live.settled_fence:
        return SettleResult.REPEATED
    if live.state != RUNNING or live.fence != entry.fence:
        return SettleResult.LOST
    _settle_live(tx, live, entry.outcome)
    return SettleResult.SETTLED


def settle_alone(tx: Tx, entry: Settle) -> SettleResult:
    """Settle one attempt in a transaction of the user's."""
    result = settle_one(tx, entry)
    tx.hints.update(f"queue:{queue}" for queue, _, _ in freed(tx, (entry,)))
    return result


def freed(tx: Tx, settles: Sequence[Settle]) -> list[LaneName]:
    """The lanes of those that held a slot of a limit, as far as this process knows: others may want them."""
    held = tx.ledger.held
    return [lane for lane in (held.pop(entry.id, None) for entry in settles) if lane is not None] if held else []


def _settle_live(tx: Tx, live: Live, outcome: Outcome) -> None:
    result = outcome.result if isinstance(outcome, Succeeded) else None
    verdict = judge(outcome, cancelling=bool(live.cancelling))
    end_attempt(tx, live, verdict, result=result, settled_fence=live.fence)


def end_attempt(tx: Tx, live: Live, verdict: Verdict, *, result: Json | None = None, settled_fence: int) -> None:
    """Carry a verdict on a running attempt out."""
    state = transition(JobState.RUNNING, verdict.event)
    failure = failure_text(verdict.failure)
    if verdict.attempt == 0 and state is not JobState.SUCCEEDED:
        tx.run(
            _ATTEMPT_INSERT,
            (live.n, live.fence, live.attempt, live.worker, live.started_at, tx.now, verdict.outcome.value, failure),
        )
    suspect = None if verdict.suspect is None else int(verdict.suspect)
    counts = (verdict.attempt, verdict.failures, verdict.crashes, verdict.snoozes)
    tx.grown.append(live.id)
    if state.terminal:
        kept = failure if state is JobState.FAILED else None
        finish(tx, live.n, state, (suspect, settled_fence, *counts), failure=kept, result=result)
        return
    due = tx.now + int(verdict.delay_s * MICRO) if state is JobState.SCHEDULED else None
    place = tx.ledger.place(tx.now)
    tx.run(_WAIT, (live.n, NUMBERS[state], place, due, suspect, *counts, failure, settled_fence))
    data = state_data(
        state,
        live.attempt + verdict.attempt,
        outcome=verdict.outcome,
        failure=verdict.failure,
        due_in_s=None if due is None else verdict.delay_s,
        reason=verdict.reason,
    )
    tell(tx, live.n, live.feed_end + 1, live.attempt + verdict.attempt, data)
    tx.hints.add(f"queue:{tx.lane_name(live.lane)[0]}")


def finish(
    tx: Tx,
    n: int,
    state: JobState,
    changes: tuple[int | None, int, int, int, int, int],
    *,
    failure: Json | None = None,
    result: Json | None = None,
) -> None:
    """Move one live job to the history; `changes`: suspect, settled fence, and what is added to the counts."""
    tx.run(_FINISH, (n, NUMBERS[state], *changes, tx.now, failure, result))
    tx.run(_JOB_DELETE, (n,))


def tell(tx: Tx, n: int, offset: int, attempt: int, data: Json) -> None:
    """Keep a `state` update."""
    tx.run(_FEED_INSERT, (n, offset, "state", attempt, tx.now, None, data))
