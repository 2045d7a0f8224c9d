"""What a process knows of lines: their numbers, where their first ready jobs stand, whose turn it is.

A line is one priority of a lane. Claims offer every line that they may serve, each from its floor:
below it nothing was ready for a while, only rows that are dead but cannot be vacuumed away while
somebody holds a snapshot. What is enqueued by others in new lines, or committed late below a floor,
is found by a survey of the whole index, soon when a claim comes back empty-handed and else once a
second: what that claim has found starts first, and the next one surveys. Where it is dear it waits, up
to 15 s and more if it is very dear, and surveys between pass over what is below the floors. Whole ones
too pass over something then: what is below the place that was proven, up to which nothing will ever be
ready again. That is a place of which a survey has found nothing, made when every transaction had ended
that was under way when the last one up to it was drawn.

Invariants: floors rise only to where everything was claimed `LAG_S` ago; nothing becomes ready below a place
that was proven, since each draws its place when it has a transaction id, and no place is drawn again.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from headrace.core.model import ClaimRequest, Pool
from headrace.stores.postgres.limits import Kept, split
from headrace.stores.postgres.marks import Mark

LineName: TypeAlias = tuple[str, str, str, int]  # queue, task, key, priority
LaneName: TypeAlias = tuple[str, str, str]
Lane: TypeAlias = tuple[int, LaneName]  # and how suspect its jobs are

LAG_S: Final = 0.1  # transactions that commit later than this wait for a survey
SURVEY_S: Final = 1.0
SUSPECTS_S: Final = 0.1
_DEAR_S: Final = 0.005  # a survey that takes longer waits its turn
_SHARE_WHOLE: Final = 100  # of the time, one part
_WHOLE_EVERY_S: Final = 15.0  # at least, unless that were a tenth of the time
_SHARE: Final = 20
_MARK_EVERY_S: Final = 1.0  # each takes a transaction id
_BUSY_S: Final = 600.0  # so long after a claim a line may be full of dead rows
_BUSY_MAX: Final = 500
_LINES_MAX: Final = 2_000  # that one claim offers


@dataclass(slots=True)
class Line:
    """One priority of a lane."""

    number: int
    queue: int
    name: LineName
    floor: int = 0
    proven: int = 0  # nothing is ready up to there, or will be
    _rising: int = 0  # what the floor becomes
    _highest: int = 0
    _since: float = 0.0

    def claimed(self, seq: int, now: float) -> None:
        """A job with this place was claimed."""
        if now - self._since >= LAG_S:
            self.floor = max(self.floor, self._rising)
            self._rising, self._since = self._highest, now
        self._highest = max(self._highest, seq)

    def busy(self, now: float) -> bool:
        """Whether much may have ended here lately."""
        return self.floor > 0 and now - self._since < _BUSY_S

    def first_at(self, seq: int, now: float) -> None:
        """A survey saw that the first ready job stands there."""
        self.floor = min(self.floor, seq - 1)
        self._rising = min(self._rising, seq - 1)
        self._highest = min(self._highest, seq - 1)  # what came late comes first, all of it
        self.claimed(seq - 1, now)  # nothing is left up to there


@dataclass(frozen=True, slots=True)
class Passed:
    """What a survey passes over: lines, in order, up to their floors. A whole one does so only where that is proven."""

    whole: bool
    floors: list[tuple[int, int]]


@dataclass(slots=True)
class Offer:
    """What an exchange asks for: pools, their lanes in turn, the lanes' lines; slices of the arrays behind them."""

    pools: list[Pool] = field(default_factory=list[Pool])
    pool_from: list[int] = field(default_factory=list[int])
    pool_to: list[int] = field(default_factory=list[int])
    limits: list[int] = field(default_factory=list[int])
    lanes: list[Lane] = field(default_factory=list[Lane])
    lane_from: list[int] = field(default_factory=list[int])
    lane_to: list[int] = field(default_factory=list[int])
    shares: list[int] = field(default_factory=list[int])
    queues: list[int] = field(default_factory=list[int])
    kinds: list[int] = field(default_factory=list[int])
    lines: list[int] = field(default_factory=list[int])
    floors: list[int] = field(default_factory=list[int])
    cut: bool = False  # there were more lanes in which something may be ready

    @property
    def params(self) -> tuple[list[int], ...]:
        """As `headrace_exchange` takes them."""
        return (
            self.pool_from, self.pool_to, self.limits,
            self.lane_from, self.lane_to, self.shares, self.queues,
            self.kinds, self.lines, self.floors,
        )  # fmt: skip


class Lines:
    """One per store; used from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Nothing known; `clock` is monotonic."""
        self._clock = clock
        self._lock = threading.Lock()
        self._by_name: dict[LineName, Line] = {}
        self._by_number: dict[int, Line] = {}
        self._lanes: dict[LaneName, list[Line]] = {}  # the highest priority first
        self._hot: set[Lane] = set()  # had something ready when last looked at
        self._suspects: set[Lane] = set()  # lanes with suspects, by the last survey
        self._served: dict[frozenset[str], Lane] = {}
        self.kept = Kept(clock)
        self._surveyed_at = self._survey_at = self._whole_at = self._suspects_at = float("-inf")
        self._put_off = False  # a survey that was due: whoever claims next does it
        self._mark: Mark | None = None  # up to which nothing is proven yet
        self._marking = False  # a whole survey was dear once

    def get(self, name: LineName) -> Line | None:
        """A known line."""
        return self._by_name.get(name)

    def by_number(self, number: int) -> Line | None:
        """A known line."""
        return self._by_number.get(number)

    def lane_of(self, number: int) -> LaneName:
        """The lane of a known line."""
        return self._by_number[number].name[:3]

    def learn(self, number: int, queue: int, name: LineName) -> Line:
        """Remember a line that others can see too."""
        with self._lock:
            known = self._by_name.get(name)
            if known is None:
                known = self._by_name[name] = self._by_number[number] = Line(number, queue, name)
                lane = [*self._lanes.get(name[:3], ()), known]
                self._lanes[name[:3]] = sorted(lane, key=lambda line: -line.name[3])
            return known

    def woke(self, names: Iterable[LineName], kind: int = 0) -> None:
        """Something became ready there; `kind` is how suspect it is."""
        lanes = {(kind, name[:3]) for name in names}
        with self._lock:
            self._hot |= lanes
            if kind:
                self._suspects |= lanes

    # -- surveys ------------------------------------------------------------------------------

    def survey_due(self, *, empty: bool) -> bool:
        """Whether to look at the index now; `empty`: a claim found nothing."""
        now = self._clock()
        return now >= min(self._survey_at, self._whole_at) and (empty or now - self._surveyed_at >= SURVEY_S)

    def put_off(self) -> bool:
        """Whether a survey that is due waits for the next claim, since this one has found something: it waits once."""
        with self._lock:
            self._put_off = not self._put_off
            return self._put_off

    @property
    def marking(self) -> bool:
        """Whether the next survey is to begin with a mark."""
        return self._marking and self._clock() >= self._whole_at

    def passed_over(self, mark: Mark | None = None) -> Passed:
        """What the next survey passes over, which begins with this mark."""
        now = self._clock()
        with self._lock:
            whole = now >= self._whole_at and (mark is not None or not self._marking)
            if mark is not None and self._mark is not None and not mark.follows(self._mark):
                self._mark = None
                for line in self._by_number.values():
                    line.proven = 0
            if not whole:
                floors = {line.number: line.floor for line in self._by_number.values() if line.busy(now)}
            elif mark is None:
                floors = {}
            else:
                floors = {line.number: line.proven for line in self._by_number.values() if line.proven}
        return Passed(whole, sorted(list(floors.items())[:_BUSY_MAX]))

    def suspects_due(self, request: ClaimRequest) -> bool:
        """Whether to look for suspects before this claim."""
        return any(request.suspicion) and self._clock() - self._suspects_at >= SUSPECTS_S

    def promoted(self) -> None:
        """Some jobs became ready, of which any may be a suspect."""
        self._suspects_at = float("-inf")

    def surveyed_suspects(self, found: Iterable[tuple[int, int]]) -> None:
        """Where suspects are ready: kind and line."""
        lanes = {(kind, line.name[:3]) for kind, number in found if (line := self._by_number.get(number)) is not None}
        with self._lock:
            self._hot = {lane for lane in self._hot if not lane[0]} | lanes
            self._suspects = lanes
            self._suspects_at = self._clock()

    def surveyed(
        self,
        found: Iterable[tuple[int, int, int]],
        began: float,
        *,
        whole: bool,
        seen: bool = True,
        mark: Mark | None = None,
    ) -> None:
        """What a survey found (kind, line, first place), when it began, and with which mark; whether of everything.

        Not `seen`: it was given up, and costs the time that it took.
        """
        found = list(found)
        now = self._clock()
        hot: set[Lane] = set()
        for kind, number, seq in found:
            line = self._by_number.get(number)
            if line is not None:
                hot.add((kind, line.name[:3]))
                if not kind:
                    line.first_at(seq, now)
        with self._lock:
            if seen:
                self._hot = hot
                self._suspects = {lane for lane in hot if lane[0]}
            self._surveyed_at = now
            self._put_off = False
            cost = now - began
            dear = cost > _DEAR_S
            self._survey_at = now + (_SHARE * cost if dear and not whole else 0.0)
            if whole:
                self._marking = self._marking or dear
                if seen and mark is not None:
                    self._prove(mark, found)
                rest_s = min(_SHARE_WHOLE * cost, max(_WHOLE_EVERY_S, 10 * cost))
                self._whole_at = now + max(rest_s if dear else 0.0, _MARK_EVERY_S if self._marking else 0.0)

    def _prove(self, mark: Mark, found: Iterable[tuple[int, int, int]]) -> None:
        """Up to the place of the mark before, nothing is to come where nothing was found: none of its time is left."""
        before = self._mark
        if before is not None and not mark.follows(before):
            before = None
        if before is not None and mark.oldest < before.above:
            return
        self._mark = mark
        if before is not None:
            firsts = {number: seq for kind, number, seq in found if not kind}
            for line in self._by_number.values():
                line.proven = max(line.proven, min(before.place, firsts.get(line.number, before.place + 1) - 1))

    def now(self) -> float:
        """The monotonic clock's."""
        return self._clock()

    # -- claims -------------------------------------------------------------------------------

    def offer(self, request: ClaimRequest, taken: dict[frozenset[str], int], most: int = _LINES_MAX) -> Offer:
        """What to ask for, less what was `taken` before, by pool; of each at `most` so many lanes."""
        offer = Offer()
        lanes, hot = self._serving(request)
        ordered = frozenset(limit.task for limit in request.limits if limit.ordered)
        for pool in request.pools:
            limit = pool.limit - taken.get(pool.tasks, 0)
            mine = [lane for lane in lanes if lane[1][1] in pool.tasks]
            if limit > 0 and mine:
                self._offer_pool(offer, pool, limit, mine, hot, most, ordered)
        return offer

    def warm(self, request: ClaimRequest) -> bool:
        """Whether something may be ready that a request takes."""
        lanes, hot = self._serving(request)
        return any(lane in hot and any(lane[1][1] in pool.tasks for pool in request.pools) for lane in lanes)

    def _serving(self, request: ClaimRequest) -> tuple[list[Lane], set[Lane]]:
        """The lanes that a request takes, in order, and those in which something may be ready."""
        with self._lock:
            lanes = [
                (int(kind), lane)
                for kind in request.suspicion
                for lane in (self._lanes if not kind else [lane for held, lane in self._suspects if held == kind])
            ]
            hot = self._hot
        return sorted(lane for lane in lanes if request.queues is None or lane[1][0] in request.queues), hot

    def _offer_pool(  # noqa: PLR0917 - private
        self,
        offer: Offer,
        pool: Pool,
        limit: int,
        lanes: list[Lane],
        hot: set[Lane],
        most: int,
        ordered: frozenset[str],
    ) -> None:
        served = self._served.get(pool.tasks)
        start = 0 if served is None else sum(lane <= served for lane in lanes)
        warm = sum(lane in hot for lane in lanes)
        share = max(1, limit // max(1, warm))
        lanes = lanes[start:] + lanes[:start]
        if len(lanes) > most:
            lanes.sort(key=lambda lane: lane not in hot)  # stable
            offer.cut = offer.cut or warm > most
        offer.pools.append(pool)
        offer.limits.append(limit)
        offer.pool_from.append(len(offer.lanes) + 1)
        for lane in lanes[:most]:
            lines = self._lanes[lane[1]]
            offer.lanes.append(lane)
            offer.queues.append(lines[0].queue)
            offer.shares.append(share)
            offer.lane_from.append(len(offer.lines) + 1)
            offer.lines += [line.number for line in lines]
            offer.kinds += [lane[0]] * len(lines)
            exact = lane[1][1] in ordered  # who commits late below a floor is not passed by who came after
            offer.floors += [0 if lane[0] else line.proven if exact else line.floor for line in lines]
            offer.lane_to.append(len(offer.lines))
        offer.pool_to.append(len(offer.lanes))

    def taken(self, offer: Offer, counts: dict[Lane, int]) -> bool:
        """Learn from what an offer brought; whether another look is worth it: a lane had more, and there is room."""
        again = False
        with self._lock:
            for pool, start, end, limit in zip(offer.pools, offer.pool_from, offer.pool_to, offer.limits, strict=True):
                left = limit
                full = False
                if offer.cut:  # where none of these has anything, the next ones are to come
                    self._served[pool.tasks] = offer.lanes[end - 1]
                for lane, share in zip(offer.lanes[start - 1 : end], offer.shares[start - 1 : end], strict=True):
                    count = counts.get(lane, 0)
                    if count:
                        self._served[pool.tasks] = lane
                    if count >= share:
                        full = True
                        self._hot.add(lane)
                    elif left - count > 0:
                        self._hot.discard(lane)
                    left -= count
                again = again or ((full or offer.cut) and left > 0)
        return again

    # -- claims of tasks with limits ----------------------------------------------------------

    def aside(self, request: ClaimRequest) -> list[int]:
        """How much room of each pool is for its tasks with limits."""
        plain, limited = split(request)
        lanes, hot = self._serving(request)
        warm = [lane for lane in lanes if lane in hot]
        return [
            self.kept.aside(
                pool,
                sum(lane[1][1] in others.tasks for lane in warm),
                [lane for lane in warm if lane[1][1] in mine.tasks],
            )
            for pool, others, mine in zip(request.pools, plain.pools, limited.pools, strict=True)
        ]

    def limited_due(self, offer: Offer, *, idle: bool) -> bool:
        """Whether to ask for an offer of them: something may be ready, or nobody has looked for a while."""
        return idle or self.kept.look_due() or any(lane in self._hot for lane in offer.lanes)

    def taken_limited(self, offer: Offer, counts: dict[Lane, int], more: Iterable[Lane], kept: Iterable[Lane]) -> bool:
        """Learn from what an offer of them brought: which lanes have more, and which their limits keep back."""
        self.kept.looked(kept)
        with self._lock:
            self._hot.difference_update(offer.lanes)
            self._hot.update(more, kept)
            for pool, start, end in zip(offer.pools, offer.pool_from, offer.pool_to, strict=True):
                mine = offer.lanes[start - 1 : end]
                served = [lane for lane in mine if counts.get(lane)]
                if served or offer.cut:
                    self._served[pool.tasks] = (served or mine)[-1]
        return False
