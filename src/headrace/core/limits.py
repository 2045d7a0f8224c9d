"""Limits on tasks: how many attempts may run at once, how many may start in a while, and one after another of a lane.

A scope is what a limit counts over: a task, or a task and one key. Enforced where jobs are claimed, over the whole
fleet: what a limit refuses stays ready, and nobody tries it. In an ordered lane a job that has started has its turn
until it ends for good, in whichever states it is meanwhile.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from headrace.core.errors import InvalidConfig

KeyOf: TypeAlias = str | Callable[..., Any]
"""The name of a parameter, or a function of some of the parameters, by their names."""

N_MAX: Final = 1_000_000
PER_S_MAX: Final = 366 * 86_400.0
_GRAIN: Final = 1e-6  # of a start: what sums of floats may be short of one


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `n` attempts of a task run at once, over all workers; with a `key`, of each of its values.

    `key` is the name of one of the task's parameters, or a function of some of them.
    """

    n: int
    key: KeyOf | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _check_count("Limit.n", self.n)
        _check_key("Limit.key", self.key)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `n` attempts of a task start per `per` (seconds or a timedelta), over all workers; `key` as in `Limit`.

    `burst` of them (by default `n`) may start at once after a pause: in any time T start at most
    `burst + T * n / per`.

    Source: the generic cell rate algorithm, ITU-T I.371.
    """

    n: int
    per: float | timedelta
    burst: int | None = None
    key: KeyOf | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _check_count("RateLimit.n", self.n)
        _check_per(self.per)
        if self.burst is not None:
            _check_count("RateLimit.burst", self.burst)
        _check_key("RateLimit.key", self.key)

    @property
    def interval_s(self) -> float:
        """Between two starts, in the long run."""
        per_s = self.per.total_seconds() if isinstance(self.per, timedelta) else float(self.per)
        return per_s / self.n

    @property
    def at_once(self) -> int:
        """How many may start at once after a pause."""
        return self.n if self.burst is None else self.burst


@dataclass(frozen=True, slots=True)
class TaskLimit:
    """The limits of one task, as a claim brings them to the store.

    `ordered`: of each key of its lanes one job runs after the other, by their places; its limits have no key then.
    """

    task: str
    concurrency: Limit | None = None
    rate: RateLimit | None = None
    ordered: bool = False


# --- the rate: `at` is when the next start would be due if all came evenly; None: nothing started yet -----------------


def may_start(rate: RateLimit, at: float | None, now: float) -> int:
    """How many may start now."""
    ahead = (_from(rate, at, now) - now) / rate.interval_s
    return max(0, math.floor(rate.at_once - ahead + _GRAIN))


def started(rate: RateLimit, at: float | None, now: float, count: int) -> float:
    """What `at` becomes when `count` have started."""
    return _from(rate, at, now) + count * rate.interval_s


def next_start_s(rate: RateLimit, at: float | None, now: float) -> float:
    """How long until one may start; 0: now."""
    if may_start(rate, at, now):
        return 0.0
    return _from(rate, at, now) - now - (rate.at_once - 1) * rate.interval_s


def _from(rate: RateLimit, at: float | None, now: float) -> float:
    """Not in the past, and no further ahead than the burst: a clock may have stepped, or the limit been changed."""
    return now if at is None else min(max(at, now), now + rate.at_once * rate.interval_s)


# --- scopes and claims ------------------------------------------------------------------------------------------------


def scope_of(task: str, key: str | None) -> str:
    """The name of a scope: a task, or a task and a key."""
    return task if key is None else f"{task}\x1f{key}"


def turn_of(task: str, key: str) -> str:
    """The name of the scope in which the jobs of an ordered lane take turns, whatever their queue."""
    return f"{task}\x1e{key}"


def room_of(lane: tuple[str, str, str], ordered: Collection[str]) -> tuple[str, ...]:
    """What ends and starts in a lane (queue, task, key) give and take: of ordered tasks the lane's own turn."""
    return lane if lane[1] in ordered else lane[1:2]


class ScopeState(NamedTuple):
    """What a store says of a scope."""

    running: int
    rate_at: float | None
    holder: bytes | None = None  # of an ordered lane: the job that has its turn


def scopes(limit: TaskLimit, key: str) -> list[str]:
    """The scopes of a job with this key."""
    names = [_scope(each, limit.task, key) for each in (limit.concurrency, limit.rate) if each is not None]
    return [*names, turn_of(limit.task, key)] if limit.ordered else names


def kept_back(limit: TaskLimit, key: str, found: Mapping[str, ScopeState], job: bytes = b"") -> str | None:
    """Why this job with this key may not start now, for people; None: it may. `found`: what the store says."""
    gate = Gate((limit,), 0.0, lambda scope: found[scope][:2])
    holder = found[turn_of(limit.task, key)].holder if limit.ordered else None
    if holder is not None and holder != job:
        return f"the job {UUID(bytes=holder)} of its key, or of one that shares its lane, has begun and not ended"
    if gate.room(limit.task, key):
        return None
    wait_s = gate.next_start_s(limit.task, key)
    concurrency, rate = limit.concurrency, limit.rate
    if wait_s is None and concurrency is not None:
        whose = "" if concurrency.key is None else f" of the key {key!r}"
        are = "1 attempt" if concurrency.n == 1 else f"{concurrency.n} attempts"
        return f"{are} of {limit.task!r}{whose} run{'s' * (concurrency.n == 1)}, which is its limit"
    whose = "" if rate is None or rate.key is None else f" of the key {key!r}"
    return f"the rate of {limit.task!r}{whose} lets the next one start in {wait_s or 0.0:.1f} seconds"


@dataclass(slots=True)
class _Scope:
    running: int
    at: float | None


class Gate:
    """What the limits of one claim still allow, lane by lane; for stores that decide in Python.

    `look` reads a scope: how many of it run, and its rate's `at`. `rates` and `turns` are what the store is to write:
    where rates stand, and which job took the turn of an ordered lane.
    """

    def __init__(
        self, limits: Iterable[TaskLimit], now: float, look: Callable[[str], tuple[int, float | None]]
    ) -> None:
        """Nothing was looked at yet."""
        self._limits = {limit.task: limit for limit in limits}
        self.turns: dict[str, bytes] = {}
        self._now = now
        self._look = look
        self._scopes: dict[str, _Scope] = {}
        self.rates: dict[str, float] = {}

    def limited(self, task: str) -> bool:
        """Whether the task has limits."""
        return task in self._limits

    def ordered(self, task: str) -> bool:
        """Whether its jobs take turns in their lanes."""
        limit = self._limits.get(task)
        return limit is not None and limit.ordered

    def room(self, task: str, key: str) -> int:
        """How many more of this task and key may start; of a task that has limits."""
        limit = self._limits[task]
        rooms: list[int] = []
        if limit.concurrency is not None:
            rooms.append(limit.concurrency.n - self._scope(_scope(limit.concurrency, task, key)).running)
        if limit.rate is not None:
            rooms.append(may_start(limit.rate, self._scope(_scope(limit.rate, task, key)).at, self._now))
        return max(0, min(rooms, default=N_MAX))

    def next_start_s(self, task: str, key: str) -> float | None:
        """How long the rate alone keeps the next one back; None: it waits for the end of another one."""
        limit = self._limits[task]
        if limit.concurrency is not None:
            scope = self._scope(_scope(limit.concurrency, task, key))
            if scope.running >= limit.concurrency.n:
                return None
        if limit.rate is None:
            return 0.0
        return next_start_s(limit.rate, self._scope(_scope(limit.rate, task, key)).at, self._now)

    def start(self, task: str, key: str, count: int) -> str | None:
        """So many of them start; the scope in which each of them takes a slot."""
        limit = self._limits[task]
        if limit.rate is not None and count:
            name = _scope(limit.rate, task, key)
            scope = self._scope(name)
            scope.at = self.rates[name] = started(limit.rate, scope.at, self._now, count)
        if limit.concurrency is None:
            return None
        name = _scope(limit.concurrency, task, key)
        self._scope(name).running += count
        return name

    def _scope(self, name: str) -> _Scope:
        known = self._scopes.get(name)
        if known is None:
            known = self._scopes[name] = _Scope(*self._look(name))
        return known


def _scope(limit: Limit | RateLimit, task: str, key: str) -> str:
    return scope_of(task, None if limit.key is None else key)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= N_MAX:
        raise InvalidConfig(f"{name} is a whole number between 1 and {N_MAX:,}, not {value!r}")


def _check_per(value: object) -> None:
    given = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= PER_S_MAX:
        raise InvalidConfig(
            f"RateLimit.per is a number of seconds or a timedelta above 0, at most 366 days, not {value!r}"
        )


def _check_key(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str) and not callable(value):
        raise InvalidConfig(f"{name} is the name of a parameter, or a function of some, not {value!r}")
