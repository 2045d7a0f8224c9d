"""Ordered lanes: whose turn it is, and who took one."""

from collections.abc import Mapping
from typing import Final

from headrace.core.limits import Gate, turn_of
from headrace.core.model import JobId, Suspicion
from headrace.stores.encoding import READY
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import Row, Tx

_HOLDER: Final = query("turn_holder")
_FIRST: Final = query("turn_first")
_FIRST_SUSPECT: Final = query("turn_first_suspect")
_PICK: Final = query("claim_pick_one")
_PUT: Final = query("turn_put")


def holder(tx: Tx, scope: str) -> JobId | None:
    """The live job that has its turn."""
    row = tx.one(_HOLDER, (scope,))
    return None if row is None else row[0]


def turn(tx: Tx, lane: tuple[Suspicion, int], gate: Gate) -> JobId | None:
    """The job whose turn it is in this lane, if it is ready and such a suspect; None: nobody's here."""
    kind, number = lane
    _, task, key = tx.lane_name(number)
    scope = turn_of(task, key)
    if scope in gate.turns:
        return None
    held = tx.one(_HOLDER, (scope,))
    if held is not None:
        job, state, suspect, at = held
        return job if (state, suspect, at) == (READY, int(kind), number) else None
    firsts: list[tuple[int, int, int, JobId]] = []
    for each in Suspicion:
        row = tx.one(_FIRST_SUSPECT, (number, int(each))) if each else tx.one(_FIRST, (number,))
        firsts += [] if row is None else [(-row[0], row[1], int(each), row[2])]
    first = min(firsts, default=None)
    return first[3] if first is not None and first[2] == int(kind) else None


def pick(tx: Tx, lane: tuple[Suspicion, int], gate: Gate) -> list[Row]:
    """The job whose turn it is, as a claim starts it, and none but this."""
    job = turn(tx, lane, gate)
    if job is None:
        return []
    _, task, key = tx.lane_name(lane[1])
    gate.turns[turn_of(task, key)] = job
    return tx.all(_PICK, (job,))


def put(tx: Tx, turns: Mapping[str, JobId]) -> None:
    """These have started."""
    tx.many(_PUT, list(turns.items()))
