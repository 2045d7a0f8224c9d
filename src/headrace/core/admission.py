"""Who may still enqueue while a queue is overloaded: a CoDel over its age, lowest priority first.

One `Admission` for each declared queue and process. `looked` is told, about once a second or more often, how much
waits; `refuse` answers each enqueue from that, and from what was admitted here since. Refusing begins when a priority
has been late for a whole interval, and ends when it has not been for another one, in which the first job too many is
refused at once. Invariant: where a priority is refused by age, every lower one is refused too, whole.

How late a job would come is estimated for its priority from the jobs that go before it: the longest of how old the
oldest of them is, and how long the workers need for all of them at the rate at which they were seen to start jobs.
The age alone tells it too late: at ten times the load, a queue whose head is 30 s old already holds 300 s of work.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from headrace.core.load import LoadAsked, QueueLoad, TaskLoad

LOOK_S: Final = 1.0
RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 600.0
COUNT_MAX: Final = 10_000  # jobs that are counted where the depth needs no more
_FORGET_S: Final = 60.0  # a priority that nobody enqueues counts no more, nor an overload that nobody saw since
_GAP_S: Final = 5.0  # between two looks; after a longer one, what was seen before proves nothing
_RATE_S_MIN, _RATE_S_MAX = 10.0, 60.0  # over how long a rate that falls is averaged
_RISE_S: Final = 5.0  # and one that rises
_PRIORITIES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """What a queue may hold. None: no bound."""

    depth_max: int | None = None
    age_target_s: float | None = None
    interval_s: float = 1.0


class Reason(StrEnum):
    """Why an enqueue was refused."""

    AGE = "age"
    DEPTH = "depth"


@dataclass(frozen=True, slots=True)
class Refusal:
    """No, and when to come again."""

    reason: Reason
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of one bound of a queue: `quota` jobs (within `window_s`), of which `left`; more in `more_in_s`."""

    queue: str
    reason: Reason
    quota: int
    left: int
    window_s: int | None = None
    more_in_s: int | None = None


class Admission:
    """One queue as one process sees it."""

    def __init__(self, name: str, policy: QueuePolicy, is_held: Callable[[str], bool] = lambda _: False) -> None:
        """Everything is admitted until a look. `is_held` tells tasks that wait on purpose: their age is no overload."""
        self.name = name
        self.policy = policy
        self._is_held = is_held
        self._looked_at: float | None = None
        self._load = QueueLoad(name)
        self._rate: float | None = None  # jobs started per second, by the fleet
        self._added: dict[int, int] = {}  # ready ones that were admitted here since the look, by priority
        self._later = 0  # scheduled ones
        self._asked: dict[int, float] = {}  # when each priority was last enqueued here
        self._level: int | None = None  # the priority that is refused in part; lower ones are wholly. None: nobody is
        self._late_since: dict[int, float] = {}  # since when each priority is late
        self._calm_since: float | None = None  # since when the level itself is not

    # -- looks ------------------------------------------------------------------------------------

    def question(self, now: float) -> LoadAsked:
        """What to ask the store."""
        most = max(COUNT_MAX, (self.policy.depth_max or 0) + 1)
        return LoadAsked(self.name, most, 0.0 if self._looked_at is None else max(0.0, now - self._looked_at))

    def looked(self, load: QueueLoad, asked: LoadAsked, now: float) -> None:
        """The store's answer to `question`, which was asked at `now`."""
        gap_s = math.inf if self._looked_at is None else now - self._looked_at
        if 0 < gap_s <= _GAP_S:
            self._measure(load, asked, gap_s)
        elif gap_s > _GAP_S:
            self._late_since.clear()
            self._calm_since = None
        self._looked_at, self._load = now, load
        self._added.clear()
        self._later = 0
        self._asked = {priority: at for priority, at in self._asked.items() if now - at < _FORGET_S}
        if self.policy.age_target_s is not None:
            self._adjust(self.policy.age_target_s, now, seldom=gap_s > _GAP_S)

    def _measure(self, load: QueueLoad, asked: LoadAsked, gap_s: float) -> None:
        """How many of the jobs that were ready at the last look were started since."""
        before, older = self._load.ready, sum(task.older for task in load.tasks)
        if before >= asked.jobs_max or load.ready >= asked.jobs_max:
            return  # not all were counted
        rate = max(0, before - older) / gap_s
        if not older:  # all were started: the workers can do so much, and who knows how much more
            self._rate = None if self._rate is None else max(rate, self._rate)
        elif self._rate is None:
            self._rate = rate or None
        else:
            target_s = self.policy.age_target_s or _RATE_S_MIN
            over_s = _RISE_S if rate > self._rate else min(max(target_s, _RATE_S_MIN), _RATE_S_MAX)
            self._rate += (rate - self._rate) * (1 - math.exp(-gap_s / over_s))

    def _adjust(self, target_s: float, now: float, *, seldom: bool) -> None:
        """Move the level up to the next priority where it does not help, down where it is not needed any more.

        Where looks come `seldom`, one that finds it in time is all that there is: it may not be waited for another.
        """
        known = sorted(self._asked)
        if self._load.paused:
            known = []
        late = {priority: self.late_s(priority) for priority in known}
        self._late_since = {
            priority: self._late_since.get(priority, now - self._proven_s(priority, target_s))
            for priority in known
            if late[priority] > target_s
        }
        level = self._level
        if level is not None and seldom and late.get(level, 0.0) <= target_s:
            level = None
        if level is not None and level not in late:  # nobody enqueues it any more
            level = max((priority for priority in known if priority < level), default=None)
        if level is None:
            self._raise(known[0] if known and self._overdue(known[0], now) else None)
            return
        at = known.index(level)
        if late[level] > target_s:
            self._calm_since = None
            higher = known[at + 1] if at + 1 < len(known) else None
            if higher is not None and late[level] >= 2 * target_s and self._overdue(higher, now):
                level = higher
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= self.policy.interval_s:
            level = known[at - 1] if at else None
        self._raise(level)

    def _raise(self, level: int | None) -> None:
        """A level that moved gives those above it an interval to see whether it helps."""
        if level != self._level:
            self._calm_since = None
            if level is not None and (self._level is None or level > self._level):
                self._late_since = {each: at for each, at in self._late_since.items() if each <= level}
        self._level = level

    def _proven_s(self, priority: int, target_s: float) -> float:
        """For how long at least it has been late: its oldest job was too old already so long ago."""
        return max(0.0, self._age_s(priority) - target_s) if self._level is None else 0.0

    def _overdue(self, priority: int, now: float) -> bool:
        since = self._late_since.get(priority)
        return since is not None and now - since >= self.policy.interval_s

    # -- enqueues ---------------------------------------------------------------------------------

    def heard(self, priority: int, now: float) -> None:
        """Jobs of this priority are being enqueued."""
        if len(self._asked) < _PRIORITIES_MAX or priority in self._asked:
            self._asked[priority] = now

    def refuse(
        self,
        priority: int,
        now: float,
        draw: float,
        *,
        count: int = 1,
        later: bool = False,
        by_age: bool = True,
        by_depth: bool = True,
    ) -> Refusal | None:
        """Why so many jobs may not be enqueued now, together; None: they may.

        `draw` is from 0 up to 1, and decides where only a part is refused. `later`: they are scheduled. Not `by_age`:
        they are no new work. Not `by_depth`: it is not known afresh.
        """
        self.heard(priority, now)
        most = self.policy.depth_max
        if by_depth and most is not None and self.depth + count > most:
            over = self.depth + count - most
            drained_in_s = over / self._rate if self._rate else self.policy.interval_s
            return Refusal(Reason.DEPTH, self._spread(drained_in_s, draw))
        known = self._looked_at is not None and now - self._looked_at <= _FORGET_S
        if by_age and known and not later and draw < self.share(priority):
            return Refusal(Reason.AGE, self._spread(self._too_much_s(priority), draw))
        return None

    def admitted(self, priority: int, *, count: int = 1, later: bool = False) -> None:
        """So many were let through."""
        if later:
            self._later += count
        else:
            self._added[priority] = self._added.get(priority, 0) + count

    def _too_much_s(self, priority: int) -> float:
        """How long until it is late no more if nothing comes: at the latest when all that goes before it is started."""
        over_s = self.late_s(priority) - (self.policy.age_target_s or 0.0)
        return min(over_s, self._before(priority) / self._rate) if self._rate else over_s

    def _spread(self, seconds: float, draw: float) -> float:
        """Bounded, and up to half as long again, so that those who were refused together do not come back together."""
        bounded = min(max(seconds, RETRY_S_MIN), RETRY_S_MAX)
        return min(bounded * (1 + draw / 2), RETRY_S_MAX)

    def share(self, priority: int) -> float:
        """Which part of this priority is refused by age, from 0 to 1."""
        target_s = self.policy.age_target_s
        if target_s is None or self._level is None or priority > self._level:
            return 0.0
        return 1.0 if priority < self._level else min(max(self.late_s(priority) / target_s - 1, 0.0), 1.0)

    # -- figures ----------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Ready and scheduled jobs, as far as they are known here."""
        return self._load.ready + self._load.scheduled + sum(self._added.values()) + self._later

    def _first(self, priority: int) -> list[TaskLoad]:
        """What goes before a new job of this priority."""
        return [task for task in self._load.tasks if task.priority >= priority and not self._is_held(task.task)]

    def _before(self, priority: int) -> int:
        return sum(task.ready for task in self._first(priority)) + sum(
            count for added, count in self._added.items() if added >= priority
        )

    def late_s(self, priority: int) -> float:
        """How long a job of this priority would wait, as far as that can be told."""
        age_s = self._age_s(priority)
        return age_s if not self._rate else max(age_s, self._before(priority) / self._rate)

    def _age_s(self, priority: int) -> float:
        return max((task.oldest_s for task in self._first(priority)), default=0.0)

    def rooms(self, priority: int) -> list[Room]:
        """What is left of each bound, for jobs of this priority."""
        found: list[Room] = []
        depth_max, target_s = self.policy.depth_max, self.policy.age_target_s
        if depth_max is not None:
            left = max(0, depth_max - self.depth)
            found.append(Room(self.name, Reason.DEPTH, depth_max, left))
        if target_s is not None and self._rate:
            quota = max(1, math.floor(self._rate * target_s))
            share = self.share(priority)
            left = 0 if share >= 1 else max(0, quota - self._before(priority))
            more_in_s = None if left else math.ceil(max(self._too_much_s(priority), RETRY_S_MIN))
            found.append(Room(self.name, Reason.AGE, quota, left, math.ceil(target_s), more_in_s))
        return found
