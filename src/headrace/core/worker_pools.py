"""A worker's pools: how much more each takes, which are to be asked for, and what they last heard.

Invariant: a pool stays hungry until a claim asked for it and left nothing behind; what is heard
while that claim is under way makes it hungry again.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from headrace.core.model import ClaimedJob, ClaimRequest, Pool, Suspicion
from headrace.core.worker_events import Allowance, PoolSettings, WorkerSettings


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
        return self.free + prefetch

    @property
    def free(self) -> int:
        """How many more can start at once."""
        return self.settings.slots - self.running - len(self.waiting)


class Appetite:
    """What a worker asks for next."""

    def __init__(self, settings: WorkerSettings, now: float) -> None:
        """Hungry from the start."""
        self._settings = settings
        self.pools = [SlotPool(name, pool) for name, pool in settings.pools.items() if pool.tasks]
        self._apart = settings.suspects is True  # nothing runs beside a job that runs alone
        self._company = _COMPANY[settings.suspects]
        self._alone_held = 0  # jobs that run alone: one at most
        self._alone_hungry = settings.suspects is not False
        self._asked: list[SlotPool] = []
        self._limited = frozenset(limit.task for limit in settings.limits)
        self._rate_at = now
        self._allowances: tuple[Allowance, ...] = ()
        self._restrained = frozenset[str]()  # tasks that have an allowance
        self._held: Counter[str] = Counter()  # jobs of needy tasks, by task

    def restrain(self, allowances: tuple[Allowance, ...]) -> Sequence[ClaimedJob]:
        """Upstreams allow something else from now on; the waiting jobs that are to be given back."""
        self._allowances = allowances
        self._restrained = frozenset[str]().union(*(each.tasks for each in allowances))
        self.wake()
        back: list[ClaimedJob] = []
        for pool in self.pools:
            for job in reversed(tuple(pool.waiting)):
                if self._room(job.task) < 0:
                    pool.waiting.remove(job)
                    self.let_go(job)
                    back.append(job)
        return back

    def may_hold(self, job: ClaimedJob) -> bool:
        """Whether its upstreams allow one more of its task."""
        return self._room(job.task) > 0

    def _room(self, task: str) -> int:
        """How many more jobs upstreams allow of what this task shares an allowance with."""
        if task not in self._restrained:
            return 1
        allowance = next(each for each in self._allowances if task in each.tasks)
        return allowance.limit - sum(self._held[each] for each in allowance.tasks)

    def wake(self, *, suspects: bool = True) -> None:
        """There may be work for every pool."""
        for pool in self.pools:
            pool.hungry = True
        self._alone_hungry = self._alone_hungry or (suspects and self._settings.suspects is not False)

    @property
    def hungry(self) -> bool:
        """Whether there is something to ask for, room or not."""
        return self._wants_alone or any(pool.hungry for pool in self.pools)

    @property
    def _wants_alone(self) -> bool:
        return self._alone_hungry and not self._alone_held

    def request(self, now: float) -> ClaimRequest | None:
        """The next claim; None: no room, or nothing to ask for. `answered` or `wake` must follow."""
        self._measure(now)
        if self._apart and self._alone_held:
            return None
        rooms = [(pool, pool.room(self._settings.prefetch_s)) for pool in self.pools]
        rooms = [(pool, room) for pool, room in rooms if room > 0]
        hungry = [(pool, room) for pool, room in rooms if pool.hungry]
        if self._wants_alone and rooms and not (self._apart and (hungry or self._busy)):
            self._alone_hungry, self._asked = False, []
            tasks = frozenset(task for pool, _ in rooms for task in pool.settings.tasks if self._room(task) > 0)
            if not tasks:
                return self.request(now)
            free = int(any(pool.free > 0 for pool, _ in rooms))
            return self._asking((self._pool(tasks, 1, free),), (Suspicion.ALONE,))
        if not hungry:
            return None
        self._asked = [pool for pool, _ in hungry]
        for pool in self._asked:
            pool.hungry = False
        claims = tuple(claim for pool, room in hungry for claim in self._claims(pool, room))
        if not claims:  # all of it is held
            return self.request(now)
        return self._asking(claims, self._company)

    def _asking(self, pools: tuple[Pool, ...], suspicion: tuple[Suspicion, ...]) -> ClaimRequest:
        return ClaimRequest(pools, self._settings.queues, suspicion, self._settings.limits)

    def _pool(self, tasks: frozenset[str], room: int, free: int) -> Pool:
        """Of tasks with limits no more than run at once: what waits here would keep others from running."""
        return Pool(tasks, room, None if self._limited.isdisjoint(tasks) else free)

    def _claims(self, pool: SlotPool, room: int) -> list[Pool]:
        """What one pool asks for: tasks that nothing restrains, and of others as many as are allowed."""
        slots = max(pool.free, 0)
        if not self._restrained:
            return [self._pool(pool.settings.tasks, room, slots)]
        free = pool.settings.tasks - self._restrained
        least = min(
            slots, 1
        )  # each gets a place, or one that has nothing ready could keep another from being asked for
        claims: list[Pool] = []
        for allowance in self._allowances:
            tasks = allowance.tasks & pool.settings.tasks
            left = min(max(room, 1), self._room(next(iter(tasks)))) if tasks else 0
            if left > 0:
                claims.append(self._pool(tasks, left, max(min(left, slots), least)))
                room, slots = max(0, room - left), max(0, slots - left)
        if free:
            claims.append(self._pool(free, max(room, 1), max(slots, least)))
        return claims

    @property
    def _busy(self) -> bool:
        return any(pool.running or pool.waiting for pool in self.pools)

    def answered(self, *, more: bool) -> bool:
        """The claim was answered; `more`: it left something behind, or may have. Whether no pool was left out."""
        for pool in self._asked:
            pool.hungry = pool.hungry or more
        return all(pool.hungry or pool in self._asked for pool in self.pools)

    def in_order(self, jobs: Sequence[ClaimedJob]) -> Sequence[ClaimedJob]:
        """Those of tasks with limits first: for them there were slots."""
        return sorted(jobs, key=lambda job: job.task not in self._limited) if self._limited else jobs

    def ended(self, pool: SlotPool, job: ClaimedJob) -> None:
        """The body of a job has ended. What is free now, a task with limits may have waited for."""
        pool.running -= 1
        pool.ended += 1
        pool.hungry = pool.hungry or not self._limited.isdisjoint(pool.settings.tasks)
        self.let_go(job)

    def hold(self, job: ClaimedJob) -> None:
        """A job was claimed, and runs or waits."""
        if job.task in self._settings.needy:
            self._held[job.task] += 1
        self._alone_held += job.suspect is Suspicion.ALONE

    def let_go(self, job: ClaimedJob) -> None:
        """A job that was held is not any more."""
        if job.task in self._settings.needy:
            self._held[job.task] -= 1
            self._hungry_again(job.task)
        if job.suspect is Suspicion.ALONE:
            self._alone_held -= 1
            self._alone_hungry = True

    def _hungry_again(self, task: str) -> None:
        """There is room under an allowance."""
        for pool in self.pools:
            pool.hungry = pool.hungry or (task in self._restrained and task in pool.settings.tasks)

    def _measure(self, now: float) -> None:
        elapsed = now - self._rate_at
        if elapsed < _RATE_WINDOW_S:
            return
        for pool in self.pools:
            pool.rate += (pool.ended / elapsed - pool.rate) * 0.5
            pool.ended = 0
        self._rate_at = now


_RATE_WINDOW_S = 0.01
_COMPANY = {  # by what the worker runs: no suspects, suspects only, both
    False: (Suspicion.NONE,),
    True: (Suspicion.SHARED,),
    None: (Suspicion.NONE, Suspicion.SHARED),
}
