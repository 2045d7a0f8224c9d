"""How much waits in a queue, at a bounded cost."""

from typing import Final

from headrace.core.load import LineLoad, LoadAsked, QueueLoad, gathered
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, Tx

_LANES: Final = query("load_lanes")
_PRIORITY: Final = query("load_priority")
_READY: Final = query("load_ready")
_SCHEDULED: Final = query("load_scheduled")
_TRUE_TO: Final = MICRO // 1_000  # a place in line is its microsecond, made to rise: milliseconds of it are true
_LINES_MAX: Final = 2_000
_ABOVE_ALL: Final = 1 << 31


def loads(tx: Tx, asked: list[LoadAsked]) -> list[QueueLoad]:
    """Each of them, in order."""
    return [_load(tx, each) for each in asked]


def _load(tx: Tx, asked: LoadAsked) -> QueueLoad:
    rows = tx.all(_LANES, (asked.queue, _LINES_MAX))
    lanes = [(lane, task) for _, lane, task in rows if lane is not None]
    lines = [(priority, lane, task) for lane, task in lanes for priority in _priorities(tx, lane)]
    found: list[LineLoad] = []
    left = asked.jobs_max
    since = tx.now - int(asked.since_s * MICRO) + _TRUE_TO
    for priority, lane, task in sorted(lines, reverse=True)[:_LINES_MAX]:
        row = tx.one(_READY, (lane, priority, since, max(left, 1)))
        if row is not None and row[0]:
            count = min(row[0], left)
            found.append(LineLoad(task, priority, count, min(row[1], count), max(0.0, (tx.now - row[2]) / MICRO)))
            left -= count
    left = asked.jobs_max
    for lane, task in lanes:
        row = tx.one(_SCHEDULED, (lane, left)) if left > 0 else None
        if row is not None and row[0]:
            found.append(LineLoad(task, 0, 0, 0, None, row[0]))
            left -= row[0]
    return gathered(asked.queue, found, paused=bool(rows and rows[0][0]))


def _priorities(tx: Tx, lane: int) -> list[int]:
    found: list[int] = []
    row = tx.one(_PRIORITY, (lane, _ABOVE_ALL))
    while row is not None and len(found) < _LINES_MAX:
        found.append(row[0])
        row = tx.one(_PRIORITY, (lane, row[0]))
    return found
