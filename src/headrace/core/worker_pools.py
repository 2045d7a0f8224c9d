"""A worker's pools: how much more each takes, which are to be asked for, and what they last heard.

Invariant: a pool stays hungry until a claim asked for it and left nothing behind; what is heard
while that claim is under way makes it hungry again.
"""

from collections import deque
from dataclasses import dataclass, field

from headrace.core.model import ClaimedJob, ClaimRequest, Pool
from headrace.core.worker_events import PoolSettings, WorkerSettings


@dataclass(slots=True)
class SlotPool:
    """One kind of slot: what runs in it, and what waits behind it."""

    name: str
    settings: PoolSettings
    running: int = 0
    waiting: deque[ClaimedJob] = field(default_factory=deque[ClaimedJob])
    ended: int = 0  # since the rate was last looked at
    rate: float = 0.0  # bodies ended per second, smoothed
    hungry: bool = True

    def room(self, prefetch_s: float) -> int:
        """How many more jobs it takes."""
        prefetch = min(self.settings.prefetch_max, int(self.rate * prefetch_s))
        return self.settings.slots + prefetch - self.running - len(self.waiting)


class Appetite:
    """What a worker asks for next."""

    def __init__(self, settings: WorkerSettings, now: float) -> None:
        """Hungry from the start."""
        self._settings = settings
        self.pools = [SlotPool(name, pool) for name, pool in settings.pools.items() if pool.tasks]
        self._suspects_held = 0  # only a worker that mixes them with other jobs counts them
        self._suspects_hungry = settings.suspects is None
        self._asked: list[SlotPool] = []
        self._rate_at = now
        self._lead = 0  # with one pool at a time: which one is asked for first

    def wake(self, *, suspects: bool = True) -> None:
        """There may be work for every pool."""
        for pool in self.pools:
            pool.hungry = True
        self._suspects_hungry = self._suspects_hungry or (suspects and self._settings.suspects is None)

    @property
    def hungry(self) -> bool:
        """Whether there is something to ask for, room or not."""
        return self._wants_suspect or any(pool.hungry for pool in self.pools)

    @property
    def _wants_suspect(self) -> bool:
        return self._suspects_hungry and not self._suspects_held

    def request(self, now: float) -> ClaimRequest | None:
        """The next claim; None: no room, or nothing to ask for. `answered` or `wake` must follow."""
        self._measure(now)
        rooms = [(pool, pool.room(self._settings.prefetch_s)) for pool in self._open_pools()]
        rooms = [(pool, room) for pool, room in rooms if room > 0]
        if self._wants_suspect and rooms:
            self._suspects_hungry, self._asked = False, []
            tasks = frozenset[str]().union(*(pool.settings.tasks for pool, _ in rooms))
            return ClaimRequest((Pool(tasks, 1),), self._settings.queues, suspects=True)
        rooms = [(pool, room) for pool, room in rooms if pool.hungry]
        if not rooms:
            return None
        self._asked = [pool for pool, _ in rooms]
        for pool in self._asked:
            pool.hungry = False
        if self._settings.one_pool_at_a_time:
            self._lead = self.pools.index(self._asked[0]) + 1
        claims = tuple(Pool(pool.settings.tasks, room) for pool, room in rooms)
        return ClaimRequest(claims, self._settings.queues, suspects=bool(self._settings.suspects))

    def answered(self, *, more: bool) -> None:
        """The claim was answered; `more`: it left something behind."""
        for pool in self._asked:
            pool.hungry = pool.hungry or more

    def ended(self, pool: SlotPool, job: ClaimedJob) -> None:
        """The body of a job has ended."""
        pool.running -= 1
        pool.ended += 1
        if self._settings.one_pool_at_a_time and not pool.running:
            self.wake()  # the others may have a turn
        self.let_go(job)

    def hold(self, job: ClaimedJob) -> None:
        """A job was claimed, and runs or waits."""
        if job.suspect and self._settings.suspects is None:
            self._suspects_held += 1

    def let_go(self, job: ClaimedJob) -> None:
        """A job that was held is not any more."""
        if job.suspect and self._settings.suspects is None:
            self._suspects_held -= 1
            self._suspects_hungry = True

    def _open_pools(self) -> list[SlotPool]:
        if not self._settings.one_pool_at_a_time:
            return self.pools
        if busy := [pool for pool in self.pools if pool.running or pool.waiting]:
            return busy
        lead = self._lead % max(len(self.pools), 1)
        return [pool for pool in (*self.pools[lead:], *self.pools[:lead]) if pool.hungry][:1]

    def _measure(self, now: float) -> None:
        elapsed = now - self._rate_at
        if elapsed < _RATE_WINDOW_S:
            return
        for pool in self.pools:
            pool.rate += (pool.ended / elapsed - pool.rate) * 0.5
            pool.ended = 0
        self._rate_at = now


_RATE_WINDOW_S = 0.01
