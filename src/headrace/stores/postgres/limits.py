"""What a process knows of tasks with limits: which of their jobs it holds, which lanes are kept back, their scopes.

Their lanes are offered apart from all others, so that a claim of tasks without limits costs what it did.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from headrace.core.limits import Limit, RateLimit, TaskLimit, scope_of, turn_of
from headrace.core.model import ClaimedJob, ClaimRequest, JobId, Pool

if TYPE_CHECKING:
    from headrace.stores.postgres.lines import Lane, LaneName

REST_S: Final = 0.05  # so long room is not set aside for a lane that was kept back, nor an empty one looked at
HELD_MAX: Final = 100_000
Params: TypeAlias = tuple[
    list[int], list[int], list[int], list[str], list[int | None], list[float | None], list[int | None], list[int]
]


def split(request: ClaimRequest, aside: Iterable[int] = ()) -> tuple[ClaimRequest, ClaimRequest]:
    """The request's tasks without limits, whose pools leave room `aside`, and those with."""
    if not request.limits:
        return request, ClaimRequest(())
    names = frozenset(limit.task for limit in request.limits)
    rooms = list(aside) or [0] * len(request.pools)
    plain = [Pool(pool.tasks - names, pool.limit - room) for pool, room in zip(request.pools, rooms, strict=True)]
    limited = [Pool(pool.tasks & names, limited_of(pool)) for pool in request.pools]
    return replace(request, pools=tuple(plain), limits=()), replace(request, pools=tuple(limited))


def limited_of(pool: Pool) -> int:
    """How many of tasks with limits a pool takes."""
    return pool.limit if pool.limited is None else min(pool.limit, pool.limited)


def scopes_of(lanes: Iterable["Lane"], limits: Iterable[TaskLimit], floors: Mapping[str, int]) -> Params:
    """The scopes of these lanes as `headrace_claim_limited` takes them: three places a lane, and what stands there."""
    by_task = {limit.task: limit for limit in limits}
    places: dict[str, int] = {}
    runs: list[int] = []
    rates: list[int] = []
    turns: list[int] = []
    concurrency: list[int | None] = []
    intervals_s: list[float | None] = []
    bursts: list[int | None] = []

    def named(name: str) -> int:
        if name not in places:
            places[name] = len(places) + 1
            concurrency.append(None)
            intervals_s.append(None)
            bursts.append(None)
        return places[name]

    def place(limit: Limit | RateLimit | None, task: str, key: str) -> int:
        if limit is None:
            return 0
        at = named(scope_of(task, None if limit.key is None else key)) - 1
        if isinstance(limit, Limit):
            concurrency[at] = limit.n
        else:
            intervals_s[at], bursts[at] = limit.interval_s, limit.at_once
        return at + 1

    for _, (_, task, key) in lanes:
        runs.append(place(by_task[task].concurrency, task, key))
        rates.append(place(by_task[task].rate, task, key))
        turns.append(named(turn_of(task, key)) if by_task[task].ordered else 0)
    return runs, rates, turns, list(places), concurrency, intervals_s, bursts, [floors.get(name, 0) for name in places]


class Kept:
    """One per `Lines`, where a lost update does no harm."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Nothing known; `clock` is monotonic."""
        self._clock = clock
        self._held: dict[JobId, LaneName] = {}
        self._rest: dict[Lane, float] = {}
        self._looked_at = float("-inf")
        self._credit: dict[frozenset[str], float] = {}
        self.floors: dict[str, int] = {}  # by scope: the slots up to there are dead, and what is dead stays so

    def took(self, job: JobId, lane: "LaneName") -> None:
        """This process holds a job of a task with limits."""
        if len(self._held) > HELD_MAX:
            self._held.clear()  # left by jobs that others ended
        self._held[job] = lane

    def lane_of(self, job: ClaimedJob) -> "LaneName":
        """The lane of a job that was claimed here, as far as it matters: without its key where nothing limits it."""
        return self._held.get(job.id, (job.queue, job.task, ""))

    def let_go(self, jobs: Iterable[JobId]) -> "list[LaneName]":
        """Their attempts have ended; the lanes of those that had limits. What these kept back may go on."""
        if not self._held:
            return []
        lanes = [lane for lane in (self._held.pop(job, None) for job in jobs) if lane is not None]
        tasks = {task for _, task, _ in lanes}
        for lane in [lane for lane in self._rest if lane[1][1] in tasks]:
            self._rest.pop(lane, None)
        return lanes

    def looked(self, kept: "Iterable[Lane]") -> None:
        """A claim found that these are kept back."""
        self._looked_at = self._clock()
        for lane in kept:
            self._rest[lane] = self._looked_at + REST_S

    def look_due(self) -> bool:
        """Whether lanes that were empty are to be looked at again."""
        return self._clock() - self._looked_at >= REST_S

    def aside(self, pool: Pool, hot: int, limited: "Iterable[Lane]") -> int:
        """How much of a pool's room its tasks with limits should have, so that in the long run all lanes share it."""
        now = self._clock()
        lanes = sum(self._rest.get(lane, 0.0) <= now for lane in limited)
        if not lanes:
            return 0
        share = pool.limit * lanes / (lanes + hot)
        credit = min(self._credit.get(pool.tasks, 0.0) + share, float(pool.limit))
        room = min(int(credit), limited_of(pool))
        self._credit[pool.tasks] = credit - room
        return room
