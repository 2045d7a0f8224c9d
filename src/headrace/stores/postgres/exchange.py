"""The hot verb: settle what ended, claim what is next, in one round trip."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from headrace.core.errors import StoreUnavailable
from headrace.core.model import ClaimedJob, ClaimRequest, Exchanged, JobId, Settle, Suspicion, WorkerId
from headrace.stores.postgres.lines import Lane, Lines, Offer
from headrace.stores.postgres.settle import Settles, note_ended
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Row, Tx

_EXCHANGE: Final = query("exchange")
_SURVEY: Final = query("survey")
_SURVEY_SUSPECTS: Final = query("survey_suspects")
_LINES: Final = query("lines")
_NOTHING: Final = (None,) * 4
_NO_OFFER: Final = (None,) * 10
_ROUNDS: Final = 8  # of one call: lanes that had less than their share leave it to others
_NO_KEYS: Final = frozenset[str]()


async def exchange(
    tx: Tx, lines: Lines, worker: WorkerId, settles: Sequence[Settle], request: ClaimRequest | None
) -> Exchanged:
    """Settle ended attempts, then claim; each call of the database is a transaction of its own."""
    split = _second_fence(settles)
    if split:  # of one job two fences: what the first comes to must not depend on the second
        before = await exchange(tx, lines, worker, settles[:split], None)
        after = await exchange(tx, lines, worker, settles[split:], request)
        return replace(after, settled=before.settled + after.settled)
    batch = Settles.of(settles)
    if request is not None and lines.suspects_due(request):
        await _survey_suspects(tx, lines)
    offer = lines.offer(request, {}) if request is not None else Offer()
    rows = await tx.all(_EXCHANGE, tx.now, worker, *batch.params, *(offer.params if offer.lanes else _NO_OFFER))
    last = rows[-1]
    next_due_s, more, told = last[18], last[19], (last[21], last[22], last[23])
    moved: list[int] = last[20] or []
    tx.grown += [batch.done[at - 1].id for at in moved]
    if told[0]:
        note_ended(tx, lines, batch.ends, zip(*told, strict=True))
    answers = await batch.answers(tx, moved, told[0] or ()) if settles else ()
    claimed: list[ClaimedJob] = []
    taken: Counter[frozenset[str]] = Counter()
    again = _learn(lines, offer, rows[:-1], claimed, taken)
    if request is not None and request.pools:
        again = again or any(suspect and suspect in request.suspicion for suspect in told[2] or ())
        next_due_s, more = await _claim_more(tx, lines, worker, request, claimed, taken, (again, next_due_s, more))
    tx.grown += [job.id for job in claimed]
    return Exchanged(answers, tuple(claimed), None if next_due_s is None else max(0.0, next_due_s), more)


def _second_fence(settles: Sequence[Settle]) -> int:
    """Where a job comes again under another fence; 0: nowhere."""
    fences: dict[JobId, int] = {}
    for at, settle in enumerate(settles):
        if fences.setdefault(settle.id, settle.fence) != settle.fence:
            return at
    return 0


async def _claim_more(  # noqa: PLR0917 - what one call has in hand
    tx: Tx, lines: Lines, worker: WorkerId, request: ClaimRequest, claimed: list[ClaimedJob],
    taken: "Counter[frozenset[str]]", first: tuple[bool, float | None, bool],
) -> tuple[float | None, bool]:  # fmt: skip
    """Fill the room that is left, from lanes that have more, and from lines that nobody here knew of."""
    again, next_due_s, more = first
    for _ in range(_ROUNDS):
        if not again:
            if not lines.survey_due(empty=not claimed):
                break
            await survey(tx, lines)
            if all(pool.limit <= taken[pool.tasks] for pool in request.pools):
                break
        offer = lines.offer(request, taken)
        if not offer.lanes:
            break
        rows = await tx.all(_EXCHANGE, tx.now, worker, *_NOTHING, *offer.params)
        before = len(claimed)
        again = _learn(lines, offer, rows[:-1], claimed, taken)
        # A pool that is full already was not offered again, and may be why there was more.
        full = any(pool.limit <= taken[pool.tasks] for pool in request.pools if pool not in offer.pools)
        next_due_s, more = rows[-1][18], rows[-1][19] or (more and full)
        if len(claimed) == before:
            break
    return next_due_s, more


async def survey(tx: Tx, lines: Lines) -> None:
    """Look at the index of ready jobs."""
    over = lines.passed_over()
    began = lines.now()
    try:
        rows = await tx.all(_SURVEY, [line for line, _ in over or ()], [floor for _, floor in over or ()])
    except StoreUnavailable:  # it takes longer than a statement may: claims go on from the floors
        lines.surveyed((), began, whole=over is None, seen=False)
        return
    found = [(row[0], row[1], row[2]) for row in rows]
    await _learn_names(tx, lines, [number for _, number, _ in found])
    lines.surveyed(found, began, whole=over is None)


async def _survey_suspects(tx: Tx, lines: Lines) -> None:
    found = [(row[0], row[1]) for row in await tx.all(_SURVEY_SUSPECTS)]
    await _learn_names(tx, lines, [number for _, number in found])
    lines.surveyed_suspects(found)


async def _learn_names(tx: Tx, lines: Lines, numbers: Sequence[int]) -> None:
    unknown = [number for number in numbers if lines.by_number(number) is None]
    if unknown:
        for number, queue, name, task, key, priority in await tx.all(_LINES, unknown):
            lines.learn(number, queue, (name, task, key, priority))


def _learn(
    lines: Lines, offer: Offer, rows: Sequence[Row], claimed: list[ClaimedJob], taken: "Counter[frozenset[str]]"
) -> bool:
    """Take over what was claimed, in order within each lane; whether to ask again at once."""
    if not offer.lanes:
        return False
    counts: Counter[Lane] = Counter()
    now = lines.now()
    known: dict[int, Any] = {number: lines.by_number(number) for number in {row[2] for row in rows}}
    ordered = sorted(rows, key=lambda row: (-known[row[2]].name[3], row[3]))
    for row in ordered:
        line = known[row[2]]
        queue, task, _, _ = line.name
        kind: int = row[15]
        counts[kind, line.name[:3]] += 1
        if not kind:
            line.claimed(row[3], now)
        emitted = row[17]
        claimed.append(
            ClaimedJob(
                row[0].bytes, row[1], task, queue, row[4], row[5], row[6], row[7], row[8], row[9], row[10], row[11],
                () if row[12] is None else tuple(row[12]),
                row[13], row[14], _KINDS[kind], row[16], frozenset(emitted) if emitted else _NO_KEYS,
            )
        )  # fmt: skip
    for pool in offer.pools:
        taken[pool.tasks] += sum(count for lane, count in counts.items() if lane[1][1] in pool.tasks)
    return lines.taken(offer, counts)


_KINDS: Final = tuple(Suspicion)
