"""Claiming: a fair share to every lane in turn, in order within each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from headrace.core.limits import Gate, ScopeState, room_of
from headrace.core.model import ClaimedJob, ClaimRequest, Pool, Suspicion, WorkerId
from headrace.core.states import JobState
from headrace.core.story import state_data
from headrace.stores.sqlite import turns
from headrace.stores.sqlite.rows import tags_of
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, LaneName, Row, Tx

_SURVEY: Final = query("survey")
_LANES: Final = query("lanes_ready")
_LANES_OF_SUSPECTS: Final = query("lanes_suspect")
_PICK: Final = query("claim_pick")
_PICK_SUSPECTS: Final = query("claim_pick_suspects")
_CLAIM: Final = query("claim")
_EMITTED: Final = query("emitted")
_FEED_INSERT: Final = query("feed_insert")
_SLOT_INSERT: Final = query("slot_insert")
_SLOT_SWEEP: Final = query("slot_sweep")
_SLOT_COUNT: Final = query("slot_count")
_RATE_PUT: Final = query("rate_put")

NUMBERS_MAX: Final = 100_000

_Lane = tuple[Suspicion, int]  # and the lane's number


@dataclass(slots=True)
class Claimed:
    """What a claim took; `next_due_at` is in microseconds, `more` says that some was left, `waits`: by a rate."""

    next_due_at: int | None
    more: bool = False
    waits: list[float] = field(default_factory=list[float])
    jobs: list[ClaimedJob] = field(default_factory=list[ClaimedJob])
    numbers: list[int] = field(default_factory=list[int])
    feed: list[Row] = field(default_factory=list[Row])
    slots: list[Row] = field(default_factory=list[Row])


def claim(tx: Tx, worker: WorkerId, request: ClaimRequest | None) -> Claimed:
    """Start what the request takes, if the worker is known and no move holds the file."""
    survey = tx.one(_SURVEY, (worker, tx.now))
    number, next_due_at, paused = survey or (None, None, None)
    if request is None or number is None:
        return Claimed(next_due_at)
    held = frozenset(paused.split("\x1f")) if paused is not None else frozenset[str]()
    lanes = _lanes(tx, request, held)
    claimed = Claimed(next_due_at)
    gate = Gate(request.limits, tx.now / MICRO, partial(_look, tx))
    for pool in request.pools:
        here = _in_turn(tx, pool, [lane for lane in lanes if tx.lane_name(lane[1])[1] in pool.tasks])
        if not here:
            continue
        _take(tx, pool, here, claimed, gate)
        if claimed.numbers:  # now, so that another pool of the same task does not see them
            tx.run(_CLAIM, (number, tx.now, "[" + ",".join(map(str, claimed.numbers)) + "]"))
            claimed.numbers.clear()
    if claimed.feed:
        tx.many(_FEED_INSERT, claimed.feed)
    if claimed.slots:
        tx.many(_SLOT_INSERT, claimed.slots)
    if gate.rates:
        tx.many(_RATE_PUT, list(gate.rates.items()))
    if gate.turns:
        turns.put(tx, gate.turns)
    return claimed


def left_free(tx: Tx, lanes: Sequence[LaneName], claimed: Claimed, request: ClaimRequest | None) -> set[str]:
    """The hints for slots of limits, and turns, that were freed in these lanes and not taken: others may want them."""
    ordered = frozenset(limit.task for limit in (() if request is None else request.limits) if limit.ordered)
    taken = Counter(room_of(tx.ledger.held.get(job.id, (job.queue, job.task, "")), ordered) for job in claimed.jobs)
    free = Counter(room_of(lane, ordered) for lane in lanes) - taken
    return {f"queue:{lane[0]}" for lane in lanes if free[room_of(lane, ordered)]}


def scopes(tx: Tx, names: Sequence[str]) -> list[ScopeState]:
    """Of each scope of limits how many attempts run, how far its rate is ahead, and whose turn it is."""
    found = [(*_count(tx, name), turns.holder(tx, name)) for name in names]
    return [ScopeState(running, None if at is None else at - tx.now / MICRO, held) for running, at, held in found]


def _look(tx: Tx, scope: str) -> tuple[int, float | None]:
    tx.run(_SLOT_SWEEP, (scope,))
    return _count(tx, scope)


def _count(tx: Tx, scope: str) -> tuple[int, float | None]:
    row = tx.one(_SLOT_COUNT, (scope,))
    assert row is not None  # noqa: S101 - a count answers
    return row[0], row[1]


def _lanes(tx: Tx, request: ClaimRequest, held: frozenset[str]) -> list[_Lane]:
    """The non-empty lanes that the request takes and nothing holds, in their order."""
    found = [
        (kind, row[0])
        for kind in request.suspicion
        for row in (tx.all(_LANES_OF_SUSPECTS, (int(kind),)) if kind else tx.all(_LANES))
    ]

    def takes(name: LaneName) -> bool:
        return name[0] not in held and (request.queues is None or name[0] in request.queues)

    if held or request.queues is not None:
        found = [lane for lane in found if takes(tx.lane_name(lane[1]))]
    return found


def _in_turn(tx: Tx, pool: Pool, lanes: list[_Lane]) -> list[_Lane]:
    """The one to serve next first; each pool goes round its own lanes, or one would set back another."""
    served = tx.ledger.served.get(pool.tasks, (0, 0))
    start = sum(lane <= served for lane in lanes)
    return lanes[start:] + lanes[:start]


def _take(tx: Tx, pool: Pool, lanes: list[_Lane], claimed: Claimed, gate: Gate) -> None:
    """Take up to the pool's limit from its lanes; of tasks with limits what the gate and the pool leave room for."""
    left = pool.limit
    limited = pool.limit if pool.limited is None else pool.limited
    taken: dict[_Lane, list[Row]] = {}
    scopes: dict[_Lane, str | None] = {}
    kept: list[_Lane] = []  # back by a limit
    open_lanes = lanes
    while left > 0 and open_lanes:
        share = max(1, left // len(open_lanes))
        still: list[_Lane] = []
        for lane in open_lanes:
            if left <= 0:
                still.append(lane)
                continue
            _, task, key = tx.lane_name(lane[1])
            had, most = len(taken.get(lane, ())), min(share, left)
            held = gate.limited(task)
            if held:
                most = min(most, limited, gate.room(task, key))
            if most <= 0:
                kept.append(lane)
                continue
            rows, rest = _pick(tx, lane, had + most, gate)
            if rest:
                still.append(lane)
            count = len(rows) - had
            left -= count
            taken[lane] = rows
            if held and count:
                limited -= count
                scopes[lane] = gate.start(task, key, count)
            tx.ledger.served[pool.tasks] = lane
        open_lanes = still
    for lane, rows in taken.items():
        _note(tx, lane, rows, scopes.get(lane), claimed, gate)
    _note_left(tx, (*open_lanes, *kept), claimed, gate, may_more=pool.limited is None or limited > 0)


def _note_left(tx: Tx, lanes: Sequence[_Lane], claimed: Claimed, gate: Gate, *, may_more: bool) -> None:
    """Whether some of what was left in these lanes could be claimed, and what waits for a rate."""
    for lane in lanes:
        _, task, key = tx.lane_name(lane[1])
        wait_s = gate.next_start_s(task, key) if gate.limited(task) else None
        if (claimed.more and not wait_s) or (gate.ordered(task) and turns.turn(tx, lane, gate) is None):
            continue
        claimed.more = claimed.more or not gate.limited(task) or (may_more and gate.room(task, key) > 0)
        claimed.waits += [wait_s] if wait_s else []


def _note(tx: Tx, lane: _Lane, rows: list[Row], scope: str | None, claimed: Claimed, gate: Gate) -> None:  # noqa: PLR0917 - private
    """What starting these jobs of a lane comes to."""
    suspect, lane_number = lane
    queue, task, _ = tx.lane_name(lane_number)
    _start(tx, (queue, task, suspect), rows, claimed.jobs)
    claimed.numbers += [row[0] for row in rows]
    claimed.feed += [
        (row[0], row[13] + 1, "state", row[4] + 1, tx.now, None, state_data(JobState.RUNNING, row[4] + 1))
        for row in rows
        if row[2]
    ]
    if scope is not None:
        claimed.slots += [(scope, row[1], row[2] + 1) for row in rows]
    if scope is not None or gate.ordered(task):
        tx.ledger.held.update((row[1], tx.lane_name(lane_number)) for row in rows)


def _pick(tx: Tx, lane: _Lane, most: int, gate: Gate) -> tuple[list[Row], bool]:
    """The first of a lane, in order; and whether there are more."""
    kind, number = lane
    if gate.ordered(tx.lane_name(number)[1]):
        return turns.pick(tx, lane, gate), False
    rows = tx.all(_PICK_SUSPECTS, (number, most + 1, int(kind))) if kind else tx.all(_PICK, (number, most + 1))
    rest = len(rows) > most
    if rest:
        rows.pop()
    return rows, rest


def _start(tx: Tx, lane: tuple[str, str, Suspicion], rows: Sequence[Row], jobs: list[ClaimedJob]) -> None:
    queue, task, suspect = lane
    now = tx.now
    numbers = tx.ledger.numbers
    if len(numbers) > NUMBERS_MAX:
        numbers.clear()  # left by jobs that others ended; a job without its number is found by its id
        tx.ledger.held.clear()
    none = frozenset[str]()
    for n, job, fence, args, attempt, failures, crashes, snoozes, attempts_max, timeout_s, deadline_at, tags, \
            signature, offset, traceparent, seq in rows:  # fmt: skip
        numbers[job] = n
        jobs.append(
            ClaimedJob(
                job, fence + 1, task, queue, args, attempt + 1, failures, crashes, snoozes, attempts_max, timeout_s,
                None if deadline_at is None else (deadline_at - now) / MICRO,
                () if tags is None else tags_of(tags),
                signature, offset + 1, suspect, traceparent,
                frozenset(row[0] for row in tx.all(_EMITTED, (n,))) if fence else none,
                (now - seq) / MICRO if now > seq else 0.0,
            )
        )  # fmt: skip
        tx.grown.append(job)
