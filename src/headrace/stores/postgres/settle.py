"""Ending attempts: verdicts as the database takes them, and its answers as the contract's.

Invariant: `(id, fence, running)` guards each; a fence that settled before answers `repeated`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncpg.pgproto.pgproto import UUID

from headrace.core.model import JobId, Json, Outcome, Settle, SettleResult, Succeeded
from headrace.core.outcomes import Verdict, judge
from headrace.core.states import JobState, transition
from headrace.core.story import state_data
from headrace.stores.encoding import NUMBERS, failure_text
from headrace.stores.postgres.lines import Lines
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Tx

_END: Final = query("end")
_FENCES: Final = query("settled_fences")
_ATTEMPT: Final = '"attempt":0'


@dataclass(frozen=True, slots=True)
class End:
    """One verdict on a running attempt. `settles`: its worker's own word, so that a repeat is known."""

    id: JobId
    fence: int
    verdict: Verdict
    settles: bool
    result: Json | None = None


def end_of(settle: Settle) -> End:
    """A settle as a verdict; that somebody asked to cancel the job, the database knows."""
    result = settle.outcome.result if isinstance(settle.outcome, Succeeded) else None
    return End(settle.id, settle.fence, judge(settle.outcome, cancelling=False), settles=True, result=result)


def ends_text(ends: Sequence[End]) -> str:
    """Verdicts as `headrace_end` takes them."""
    return json.dumps([_fields(at, end) for at, end in enumerate(ends)])


def _fields(at: int, end: End) -> dict[str, Any]:
    verdict = end.verdict
    state = transition(JobState.RUNNING, verdict.event)
    data = state_data(
        state,
        0,
        outcome=verdict.outcome,
        failure=verdict.failure,
        due_in_s=verdict.delay_s if state is JobState.SCHEDULED else None,
        reason=verdict.reason,
    )
    head, _, tail = data.partition(_ATTEMPT)  # its number is the database's to say
    return {
        "ord": at,
        "id": end.id.hex(),
        "fence": end.fence,
        "state": NUMBERS[state],
        "delay_s": verdict.delay_s,
        "attempt": verdict.attempt,
        "failures": verdict.failures,
        "crashes": verdict.crashes,
        "snoozes": verdict.snoozes,
        "suspect": None if verdict.suspect is None else int(verdict.suspect),
        "settles": end.settles,
        "outcome": verdict.outcome.value,
        "failure": failure_text(verdict.failure),
        "result": end.result,
        "head": head + _ATTEMPT[:-1],
        "tail": tail,
    }


async def end_attempts(tx: Tx, lines: Lines, ends: Sequence[End]) -> set[int]:
    """Carry verdicts out; the places of those whose attempt did run."""
    if not ends:
        return set()
    told = await tx.all(_END, tx.now, ends_text(ends))
    note_ended(tx, lines, ends, ((row[0], row[1], row[2]) for row in told))
    return {row[0] for row in told}


def note_ended(tx: Tx, lines: Lines, ends: Sequence[End], told: Iterable[tuple[int, int | None, int]]) -> None:
    """Owe the hints for what ended, and know what waits again."""
    for at, number, suspect in told:
        tx.grown.append(ends[at].id)
        if number is not None:
            woke(tx, lines, number, suspect)


def woke(tx: Tx, lines: Lines, number: int, suspect: int = 0) -> None:
    """Something became ready in a line, or will be later."""
    line = lines.by_number(number)
    tx.hints.add("queue:" if line is None else f"queue:{line.name[0]}")
    if line is not None:
        lines.woke([line.name], suspect)


@dataclass(slots=True)
class Settles:
    """A batch of settles on its way: successes apart, and each `(id, fence)` once."""

    settles: Sequence[Settle]
    done: list[Settle]
    ends: list[End]
    _first: dict[tuple[JobId, int], int]

    @classmethod
    def of(cls, settles: Sequence[Settle]) -> "Settles":
        """Sort them out."""
        done: list[Settle] = []
        ends: list[End] = []
        first: dict[tuple[JobId, int], int] = {}
        for at, settle in enumerate(settles):
            if first.setdefault((settle.id, settle.fence), at) != at:
                continue
            if isinstance(settle.outcome, Succeeded):
                done.append(settle)
            else:
                ends.append(end_of(settle))
        return cls(settles, done, ends, first)

    @property
    def params(self) -> tuple[list[UUID] | None, list[int] | None, list[Json] | None, str | None]:
        """As `headrace_exchange` takes them."""
        ends = ends_text(self.ends) if self.ends else None
        if not self.done:
            return None, None, None, ends
        results = [_result(settle.outcome) for settle in self.done]
        return [UUID(settle.id) for settle in self.done], [settle.fence for settle in self.done], results, ends

    async def answers(self, tx: Tx, moved: Sequence[int], ended: Sequence[int]) -> tuple[SettleResult, ...]:
        """What became of each, in order; `moved` counts from 1, as the database does."""
        if len(moved) + len(ended) == len(self.settles):
            return (SettleResult.SETTLED,) * len(self.settles)
        settled = {(self.done[at - 1].id, self.done[at - 1].fence) for at in moved}
        settled |= {(self.ends[at].id, self.ends[at].fence) for at in ended}
        unsure = {settle.id for settle in self.settles if (settle.id, settle.fence) not in settled}
        before: dict[JobId, int] = {}
        if unsure:
            before = {UUID(row[0]).bytes: row[1] for row in await tx.all(_FENCES, [UUID(id_) for id_ in unsure])}
        answers: list[SettleResult] = []
        for at, settle in enumerate(self.settles):
            here = (settle.id, settle.fence) in settled
            if here and self._first[settle.id, settle.fence] == at:
                answers.append(SettleResult.SETTLED)
            elif here or 0 < settle.fence == before.get(settle.id):
                answers.append(SettleResult.REPEATED)
            else:
                answers.append(SettleResult.LOST)
        return tuple(answers)


async def settle_one(tx: Tx, lines: Lines, settle: Settle) -> SettleResult:
    """Settle one attempt inside a transaction."""
    batch = Settles.of([settle])
    ends = [end_of(settle)]
    ended = await end_attempts(tx, lines, ends)
    if ended:
        tx.hints.update(f"queue:{queue}" for queue, _, _ in lines.kept.let_go([settle.id]))
        return SettleResult.SETTLED
    return (await batch.answers(tx, (), ()))[0]


def _result(outcome: Outcome) -> Json:
    return outcome.result if isinstance(outcome, Succeeded) else "null"
