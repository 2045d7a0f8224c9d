"""One claim on its way: rounds over lanes without limits and with, until its room is filled or nothing is left."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from headrace.core.errors import StoreUnavailable
from headrace.core.model import ClaimedJob, ClaimRequest, Suspicion, WorkerId
from headrace.stores.postgres.limits import limited_of, scopes_of, split
from headrace.stores.postgres.lines import Lane, Lines, Offer, Passed
from headrace.stores.postgres.marks import Mark
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Row, Tx

_EXCHANGE: Final = query("exchange")
_LIMITED: Final = query("claim_limited")
_SURVEY: Final = query("survey")
_SURVEY_SUSPECTS: Final = query("survey_suspects")
_MARK: Final = query("mark")
_LINES: Final = query("lines")
_NOTHING: Final = (None,) * 4
_NO_OFFER: Final = (None,) * 10
_ROUNDS: Final = 8  # of one call: lanes that had less than their share leave it to others
_LANES_MAX: Final = 500  # of tasks with limits, in one round: where more have work, they take turns
_NO_KEYS: Final = frozenset[str]()
_NO_CLAIM: Final = ClaimRequest(())


class Claim:
    """What one exchange asks for and has got so far; each of its calls of the database is a transaction of its own."""

    def __init__(self, tx: Tx, lines: Lines, worker: WorkerId, request: ClaimRequest | None) -> None:
        """Nothing was asked yet."""
        self._tx = tx
        self._lines = lines
        self._worker = worker
        self._request = request if request is not None else _NO_CLAIM
        self._taken: Counter[frozenset[str]] = Counter()  # by the tasks of the pool, with limits and without apart
        self._offer = Offer()
        self._more_limited = False
        self._more_plain = False
        self.claimed: list[ClaimedJob] = []
        self.again = False  # a survey was put off
        self.next_due_s: float | None = None
        self.next_start_s: float | None = None
        self.waiting: set[str] | None = None  # tasks with limits of which something is left; None: nobody looked

    @property
    def more(self) -> bool:
        """Whether something was left for want of room."""
        return self._more_plain or self._more_limited

    # -- rounds -------------------------------------------------------------------------------

    async def first(self, settles: tuple[Any, ...]) -> list[Row]:
        """Settle, and claim of tasks without limits; `learn` must follow."""
        request, lines = self._request, self._lines
        if lines.suspects_due(request):
            found = [(row[0], row[1]) for row in await self._tx.all(_SURVEY_SUSPECTS)]
            await _learn_names(self._tx, lines, [number for _, number in found])
            lines.surveyed_suspects(found)
        return await self._ask(settles, lines.aside(request) if request.limits else ())

    def learn(self, rows: list[Row]) -> bool:
        """Take over what came; whether to ask again at once."""
        offer = self._offer
        again = bool(offer.lanes) and self._lines.taken(offer, self._note(offer, rows[:-1]))
        self.next_due_s = rows[-1][18]
        self._more_plain = rows[-1][19] or (self._more_plain and self._was_full(offer))
        return again

    def _was_full(self, offer: Offer) -> bool:
        """Whether a pool was not offered again since it is full, which may be why there was more."""
        offered = {pool.tasks for pool in offer.pools}
        pools = [pool for pool in self._plain().pools if pool.tasks and pool.tasks not in offered]
        return any(pool.limit <= self._taken[pool.tasks] for pool in pools)

    async def fill(self, *, again: bool) -> None:
        """Fill the room that is left, from lanes that have more, and from lines that nobody here knew of."""
        again = await self._limited() or again
        for _ in range(_ROUNDS):
            if not again:
                if not self._innocent or not self._lines.survey_due(empty=not self.claimed):
                    break
                if self.claimed and self._lines.put_off():
                    self.again = True
                    break
                seen = await survey(self._tx, self._lines)
                if not self._has_room or (seen and not self._lines.warm(self._request)):
                    break
            before = len(self.claimed)
            plain = self._lines.offer(self._plain(), self._taken)
            again = bool(plain.lanes) and self.learn(await self._ask(_NOTHING, (), plain))
            again = await self._limited() or again
            if len(self.claimed) == before and not (again and plain.cut):
                break

    @property
    def _innocent(self) -> bool:
        """Whether it claims jobs that are no suspects: of those that are, `first` has looked."""
        return not all(self._request.suspicion)

    @property
    def _has_room(self) -> bool:
        names = frozenset(limit.task for limit in self._request.limits)
        taken = self._taken
        return any(
            pool.limit > taken[pool.tasks - names] + (taken[pool.tasks & names] if names else 0)
            for pool in self._request.pools
        )

    def _plain(self, aside: Sequence[int] = ()) -> ClaimRequest:
        """The pools of tasks without limits, less the room that others have taken or that is kept for them."""
        if not self._request.limits:
            return self._request
        _, limited = split(self._request)
        rooms = list(aside) or [0] * len(limited.pools)
        return split(
            self._request, [room + self._taken[pool.tasks] for room, pool in zip(rooms, limited.pools, strict=True)]
        )[0]

    async def _ask(self, settles: tuple[Any, ...], aside: Sequence[int], offer: Offer | None = None) -> list[Row]:
        if offer is None:
            offer = self._lines.offer(self._plain(aside), self._taken) if self._request.pools else Offer()
        self._offer = offer
        params = self._offer.params if self._offer.lanes else _NO_OFFER
        return list(await self._tx.all(_EXCHANGE, self._tx.now, self._worker, *settles, *params))

    # -- tasks with limits --------------------------------------------------------------------

    async def _limited(self) -> bool:
        """Claim of tasks with limits, if there is room and may be work; whether to ask for the others again."""
        if not self._request.limits:
            return False
        plain, limited = split(self._request)
        self._more_limited = False
        for _ in range(_ROUNDS):
            pools = [
                replace(pool, limit=min(pool.limit, whole.limit - self._taken[other.tasks]))
                for pool, whole, other in zip(limited.pools, self._request.pools, plain.pools, strict=True)
            ]
            offer = self._lines.offer(replace(limited, pools=tuple(pools)), self._taken, _LANES_MAX)
            if not offer.lanes or not self._lines.limited_due(offer, idle=not self.claimed):
                break
            await self._ask_limited(offer)
            if not offer.cut:
                break
        return self._more_plain and self._has_room

    async def _ask_limited(self, offer: Offer) -> None:
        lines, request = self._lines, self._request
        scopes = scopes_of(offer.lanes, request.limits, lines.kept.floors)
        rows = await self._tx.all(_LIMITED, self._tx.now, self._worker, *offer.params, *scopes)
        last = rows[-1]
        lines.kept.floors.update(zip(scopes[3], last[21], strict=True))
        more: list[Lane] = [offer.lanes[at - 1] for at in last[18]]
        kept: list[Lane] = [offer.lanes[at - 1] for at in last[19]]
        lines.taken_limited(offer, self._note(offer, rows[:-1]), more, kept)
        counted = {limit.task for limit in request.limits if limit.concurrency is not None or limit.ordered}
        for row in rows[:-1]:
            lane = lines.lane_of(row[2])
            if lane[1] in counted:
                lines.kept.took(row[0].bytes, lane)
        self.waiting = (self.waiting or set()) | {task for _, (_, task, _) in (*more, *kept)}
        wait_s: float | None = last[20]
        if wait_s is not None:
            self.next_start_s = wait_s if self.next_start_s is None else min(wait_s, self.next_start_s)
        capped = {
            task
            for pool, whole in zip(split(request)[1].pools, request.pools, strict=True)
            if whole.limited is not None and self._taken[pool.tasks] >= limited_of(whole)
            for task in pool.tasks
        }
        self._more_limited = self._more_limited or any(lane[1][1] not in capped for lane in more)

    # -- what came ----------------------------------------------------------------------------

    def _note(self, offer: Offer, rows: Sequence[Row]) -> dict[Lane, int]:
        """Take over what was claimed, in order within each lane; how many came from each."""
        lines = self._lines
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
            self.claimed.append(
                ClaimedJob(
                    row[0].bytes, row[1], task, queue, row[4], row[5], row[6], row[7], row[8], row[9], row[10], row[11],
                    () if row[12] is None else tuple(row[12]),
                    row[13], row[14], _KINDS[kind], row[16], frozenset(emitted) if emitted else _NO_KEYS,
                )
            )  # fmt: skip
        for pool in offer.pools:
            self._taken[pool.tasks] += sum(count for lane, count in counts.items() if lane[1][1] in pool.tasks)
        return counts


async def survey(tx: Tx, lines: Lines) -> bool:
    """Look at the index of ready jobs; False: it was given up."""
    began = lines.now()
    over = Passed(whole=False, floors=[])
    try:
        mark = Mark(*(await tx.all(_MARK))[0]) if lines.marking else None
        over = lines.passed_over(mark)
        rows = await tx.all(_SURVEY, [line for line, _ in over.floors], [floor for _, floor in over.floors])
    except StoreUnavailable:  # it takes longer than a statement may: claims go on from the floors
        lines.surveyed((), began, whole=over.whole, seen=False)
        return False
    found = [(row[0], row[1], row[2]) for row in rows]
    await _learn_names(tx, lines, [number for _, number, _ in found])
    lines.surveyed(found, began, whole=over.whole, mark=mark)
    return True


async def _learn_names(tx: Tx, lines: Lines, numbers: Sequence[int]) -> None:
    unknown = [number for number in numbers if lines.by_number(number) is None]
    if unknown:
        for number, queue, name, task, key, priority in await tx.all(_LINES, unknown):
            lines.learn(number, queue, (name, task, key, priority))


_KINDS: Final = tuple(Suspicion)
