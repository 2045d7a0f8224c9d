"""The hot verb: settle what ended, claim what is next, in one round trip."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from headrace.core.limits import TaskLimit, room_of
from headrace.core.model import ClaimRequest, Exchanged, JobId, Settle, WorkerId
from headrace.stores.postgres.claim import Claim
from headrace.stores.postgres.limits import Kept
from headrace.stores.postgres.lines import LaneName, Lines
from headrace.stores.postgres.settle import Settles, note_ended
from headrace.stores.postgres.tx import Tx


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
    claim = Claim(tx, lines, worker, request)
    rows = await claim.first(batch.params)
    last = rows[-1]
    told = (last[21], last[22], last[23])
    moved: list[int] = last[20] or []
    ended: list[JobId] = [batch.done[at - 1].id for at in moved]
    tx.grown += ended
    if told[0]:
        note_ended(tx, lines, batch.ends, zip(*told, strict=True))
        places: list[int] = told[0]
        ended += [batch.ends[at].id for at in places]
    freed = lines.kept.let_go(ended)
    answers = await batch.answers(tx, moved, told[0] or ()) if settles else ()
    again = claim.learn(rows)
    if request is not None and request.pools:
        again = again or any(suspect and suspect in request.suspicion for suspect in told[2] or ())
        await claim.fill(again=again)
    tx.grown += [job.id for job in claim.claimed]
    if freed:
        tx.hints |= _freed(freed, claim, lines.kept, () if request is None else request.limits)
    due_s = claim.next_due_s
    due_s = None if due_s is None else max(0.0, due_s)
    return Exchanged(answers, tuple(claim.claimed), due_s, claim.more, claim.next_start_s, claim.again)


def _freed(lanes: Sequence[LaneName], claim: Claim, kept: Kept, limits: Iterable[TaskLimit]) -> set[str]:
    """The hints for slots of limits, and turns, that this exchange freed and did not take: others may want them."""
    ordered = frozenset(limit.task for limit in limits if limit.ordered)
    taken = Counter(room_of(kept.lane_of(job), ordered) for job in claim.claimed)
    free = Counter(room_of(lane, ordered) for lane in lanes) - taken
    tasks = claim.waiting or {lane[1] for lane in lanes}
    return {f"queue:{lane[0]}" for lane in lanes if free[room_of(lane, ordered)] and lane[1] in tasks}


def _second_fence(settles: Sequence[Settle]) -> int:
    """Where a job comes again under another fence; 0: nowhere."""
    fences: dict[JobId, int] = {}
    for at, settle in enumerate(settles):
        if fences.setdefault(settle.id, settle.fence) != settle.fence:
            return at
    return 0
