"""How many retries the calls of an upstream may make together: a share of the first calls, and a floor.

Over any `ttl` seconds retries are at most `ratio` of the first calls in them plus `floor` a second.
"""

import math
from dataclasses import dataclass
from datetime import timedelta

from headrace.core.checks import plain_s, real, seconds

SLICES = 10
ROUNDING = 1e-9  # 0.29 of 100 calls are 29 retries, and 28.999999999999996 in floats


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """A bound on retries, so that they cannot multiply the load on an upstream that is failing.

    Each first call allows `ratio` retries for `ttl` (1 to 60 seconds); besides, there are `floor`
    a second for those who call rarely, which may be used in one go: `floor * ttl` of them. A ratio
    and a floor of 0 allow none at all.

    Source: Finagle's RetryBudget ("Retry Budgets", finagle.github.io, 2016), whose defaults these are.
    """

    ratio: float = 0.2
    floor: float = 10.0
    ttl: float | timedelta = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot work; keep the duration as seconds."""
        object.__setattr__(self, "ratio", real("RetryBudget.ratio", self.ratio, least=0, most=10))
        floor = real("RetryBudget.floor", self.floor, least=0, most=1_000_000, unit=" retries a second")
        object.__setattr__(self, "floor", floor)
        object.__setattr__(self, "ttl", seconds("RetryBudget.ttl", self.ttl, least=1, most=60))

    @property
    def ttl_s(self) -> float:
        """`ttl` in seconds."""
        return plain_s(self.ttl)


class Budget:
    """The calls and retries of one process under a budget. Not safe for threads: its owner locks.

    Time is cut into tenths of the ttl. A first call counts for the current tenth and the 9 before
    it, a retry for one more: so the bound holds over any ttl, not only over those that begin with
    a tenth. Finagle's forgets both at once, and lets a burst return after nine tenths.
    """

    __slots__ = ("_calls", "_policy", "_retries", "_slice_s")

    def __init__(self, policy: RetryBudget) -> None:
        """No calls yet: the floor is there."""
        self._policy = policy
        self._slice_s = policy.ttl_s / SLICES
        self._calls = _Tally(SLICES)
        self._retries = _Tally(SLICES + 1)

    def deposit(self, now: float) -> None:
        """A first call is made now."""
        self._calls.add(math.floor(now / self._slice_s))

    def try_withdraw(self, now: float) -> bool:
        """Whether a retry may be made now; if so it is counted."""
        if self.balance(now) < 1:
            return False
        self._retries.add(math.floor(now / self._slice_s))
        return True

    def balance(self, now: float) -> int:
        """How many retries may be made now."""
        at = math.floor(now / self._slice_s)
        allowed = self._policy.ratio * self._calls.total(at) + self._policy.floor * self._policy.ttl_s
        return max(0, math.floor(allowed + ROUNDING) - self._retries.total(at))


class _Tally:
    """How often something happened in the last few slices of time; time that goes back is the latest slice."""

    __slots__ = ("_at", "_ring", "_total")

    def __init__(self, slices: int) -> None:
        self._ring = [0] * slices
        self._total = 0
        self._at = 0

    def add(self, at: int) -> None:
        if at > self._at:
            self._reach(at)
        self._ring[self._at % len(self._ring)] += 1
        self._total += 1

    def total(self, at: int) -> int:
        if at > self._at:
            self._reach(at)
        return self._total

    def _reach(self, at: int) -> None:
        size = len(self._ring)
        for passed in range(max(self._at + 1, at - size + 1), at + 1):
            self._total -= self._ring[passed % size]
            self._ring[passed % size] = 0
        self._at = at
