"""What stands before every enqueue into a queue whose policy was declared; without one, nothing does.

Invariant: a look at the store that fails stops no enqueue, and nobody is refused for depth by an old one.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from headrace.core.admission import COUNT_MAX, LOOK_S, Admission, QueuePolicy, Reason, Refusal, Room
from headrace.core.errors import Full, HeadraceError, InvalidConfig, Rejected, Shed
from headrace.core.model import NewJob
from headrace.ports.clock import Clock
from headrace.ports.observer import Observer
from headrace.ports.store import Store

logger = logging.getLogger(__name__)

_SHARE: Final = 20
_LOOK_S_MIN: Final = 0.2
_REST_S_MAX: Final = 4.0
_AGAIN_S: Final = 0.1  # figures that are older refuse nobody for depth
_LOOK_TIMEOUT_S: Final = 1.0


class Gate:
    """Admits or refuses."""

    def __init__(self, store: Callable[[], Store], clock: Clock, observer: Callable[[], Observer]) -> None:
        """No queue is declared."""
        self.declared: dict[str, Admission] = {}
        self.is_held: Callable[[str], bool] = _not_held  # tasks that wait on purpose: their age is no overload
        self._store = store
        self._clock = clock
        self._observer = observer
        self._looking: asyncio.Event | None = None  # while somebody does: set when they are done
        self._every_s = LOOK_S
        self._looked_at = self._due_at = float("-inf")

    def declare(self, name: str, policy: QueuePolicy) -> None:
        """Keep a policy.

        Raises:
            InvalidConfig: there is another one for this queue.
        """
        known = self.declared.get(name)
        if known is None:
            self.declared[name] = Admission(name, policy, self._holds)
            if policy.age_target_s is not None:
                self._every_s = min(self._every_s, max(policy.interval_s / 2, _LOOK_S_MIN))
        elif known.policy != policy:
            raise InvalidConfig(f"queue {name!r} was declared with {known.policy} before; declare it once")

    async def admit(self, jobs: Sequence[NewJob], *, nested: bool) -> None:
        """Return if all may be enqueued; `nested`: from inside an attempt.

        Raises:
            Shed, Full: one may not; none was let through.
        """
        named: dict[str, list[NewJob]] = {}
        for job in jobs:
            if job.queue in self.declared:
                named.setdefault(job.queue, []).append(job)
        if not named:
            return
        now = self._clock.now()
        if now >= self._due_at:
            for name, mine in named.items():
                self.declared[name].heard(min(job.priority for job in mine), now)
            await self._look()
        found = self._refusal(named, nested=nested)
        if found is not None and found[1].reason is Reason.DEPTH and not self._fresh:
            await self._look_again()
            found = self._refusal(named, nested=nested, by_depth=self._fresh)
        if found is not None:
            admission, refusal, mine = found
            self._observer().shed(admission.name, refusal.reason, len(mine))
            raise _refused(admission, refusal, min(job.priority for job in mine))
        for name, mine in named.items():
            for job in mine:
                self.declared[name].admitted(job.priority, later=self._due_in_s(job) > 0)

    async def left(self, name: str, priority: int) -> tuple[int, float]:
        """How many jobs of this priority a queue takes now, and if none, in how many seconds to ask again."""
        admission = self.declared.get(name)
        if admission is None:
            return COUNT_MAX, 0.0
        admission.heard(priority, self._clock.now())
        await self._look_again()
        now = self._clock.now()
        refusal = admission.refuse(priority, now, 0.5, by_depth=self._fresh)
        if refusal is not None:
            return 0, refusal.retry_in_s
        return max(1, min((room.left for room in admission.rooms(priority)), default=COUNT_MAX)), 0.0

    def rooms(self, name: str, priority: int) -> list[Room]:
        """What is left of the bounds of a queue, for jobs of this priority."""
        known = self.declared.get(name)
        return [] if known is None else known.rooms(priority)

    def _refusal(
        self, named: dict[str, list[NewJob]], *, nested: bool, by_depth: bool = True
    ) -> tuple[Admission, Refusal, list[NewJob]] | None:
        """The first queue that has no room for what is asked of it; a depth that is not known afresh refuses nobody."""
        for name, jobs in named.items():
            admission = self.declared[name]
            refusal = self._asked(admission, jobs, nested=nested, by_depth=by_depth)
            if refusal is not None:
                return admission, refusal, jobs
        return None

    @property
    def _fresh(self) -> bool:
        return self._clock.now() - self._looked_at <= _AGAIN_S

    async def _look_again(self) -> None:
        """See how much waits now, together with whoever looks already; theirs may fail, or be cancelled with them."""
        for _ in range(2):
            if self._looking is None:
                await self._look()
                return
            await self._looking.wait()
            if self._fresh:
                return

    def _holds(self, task: str) -> bool:
        return self.is_held(task)

    def _asked(self, admission: Admission, jobs: list[NewJob], *, nested: bool, by_depth: bool) -> Refusal | None:
        """All of them together, as the least urgent one of those that are for now."""
        target_s = admission.policy.age_target_s or 0.0
        soon = [job for job in jobs if self._due_in_s(job) <= target_s]
        first = min(soon or jobs, key=lambda job: job.priority)
        draw = int.from_bytes(first.id[-4:]) / (1 << 32)  # the random end of its id: a repeat is answered the same
        now = self._clock.now()
        return admission.refuse(
            first.priority, now, draw, count=len(jobs), later=not soon, by_age=not nested, by_depth=by_depth
        )

    def _due_in_s(self, job: NewJob) -> float:
        return job.delay_s if job.run_at is None else job.run_at - self._clock.wall()

    async def _look(self) -> None:
        """See how much waits; others who enqueue meanwhile go by what was seen before."""
        if self._looking is not None:
            return
        self._looking = done = asyncio.Event()
        began = self._clock.now()
        self._due_at = began + self._every_s
        try:
            asked = [admission.question(began) for admission in self.declared.values()]
            async with asyncio.timeout(_LOOK_TIMEOUT_S):
                loads = await self._store().loads(asked)
        except (HeadraceError, TimeoutError) as error:
            logger.debug("no look at the queues: %s", error)  # the enqueue itself will tell
        else:
            for question, load in zip(asked, loads, strict=True):
                self.declared[load.name].looked(load, question, began)
            self._looked_at = self._clock.now()
            cost_s = self._looked_at - began
            self._due_at = began + max(self._every_s, min(_SHARE * cost_s, _REST_S_MAX))
        finally:
            self._looking = None
            done.set()


def _not_held(task: str) -> bool:
    del task
    return False


def _refused(admission: Admission, refusal: Refusal, priority: int) -> Rejected:
    name, retry_in, rooms = admission.name, refusal.retry_in_s, tuple(admission.rooms(priority))
    if refusal.reason is Reason.DEPTH:
        message = f"queue {name!r} is full: at most {admission.policy.depth_max:,} jobs may wait in it"
        return Full(message, retry_in=retry_in, rooms=rooms)
    message = f"queue {name!r} is overloaded: a job of priority {priority} would come too late"
    return Shed(message, retry_in=retry_in, rooms=rooms)
