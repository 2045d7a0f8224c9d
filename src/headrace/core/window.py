"""A breaker's sliding window: how many of the last calls, or of the calls of the last seconds, failed or were slow.

The totals are always the sums of the buckets. Recording is on the path of every call: it allocates nothing.
"""

from math import floor

from headrace.core.breaker import Breaker, CallCounts, WindowType

BEFORE_ALL = -(1 << 62)


class Window:
    """A ring of buckets, each of one call or of one second, and their running totals.

    A window of N seconds is the current second of the clock and the N - 1 before it. A call that
    ends earlier than what was seen already counts in the latest second. Not safe for threads: its
    owner locks.

    Source: resilience4j's FixedSizeSlidingWindowMetrics and SlidingTimeWindowMetrics.
    """

    __slots__ = (
        "_at",
        "_calls",
        "_failures",
        "_in_calls",
        "_in_failures",
        "_in_slow",
        "_second",
        "_size",
        "_slow",
        "_timed",
    )

    def __init__(self, policy: Breaker) -> None:
        """Empty."""
        self._size = policy.sliding_window_size
        self._timed = policy.sliding_window_type == WindowType.TIME
        self._second = BEFORE_ALL
        self.clear()

    def clear(self) -> None:
        """Forget every call."""
        self._at = 0
        self._in_calls = [0] * self._size
        self._in_failures = [0] * self._size
        self._in_slow = [0] * self._size
        self._calls = self._failures = self._slow = 0

    def record(self, now: float, *, failed: bool, slow: bool) -> None:
        """Count a call that ended now."""
        if self._timed:
            second = floor(now)
            if second > self._second:
                self._reach(second)
        else:
            self._step()
        at = self._at
        self._in_calls[at] += 1
        self._calls += 1
        if failed:
            self._in_failures[at] += 1
            self._failures += 1
        if slow:
            self._in_slow[at] += 1
            self._slow += 1

    @property
    def troubled(self) -> bool:
        """Whether it may hold a failure or a slow call; they are counted in `counts`."""
        return self._failures > 0 or self._slow > 0

    def counts(self, now: float) -> CallCounts:
        """What is in the window now."""
        if self._timed and floor(now) > self._second:
            self._reach(floor(now))
        return CallCounts(self._calls, self._failures, self._slow)

    def _reach(self, second: int) -> None:
        """Make this second the latest one: what is out of the window is dropped."""
        steps = second - self._second
        self._second = second
        if steps >= self._size:
            self.clear()
            return
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        """Take the oldest bucket, empty it, and make it the latest."""
        at = self._at + 1
        if at == self._size:
            at = 0
        self._at = at
        if self._in_calls[at]:
            self._calls -= self._in_calls[at]
            self._failures -= self._in_failures[at]
            self._slow -= self._in_slow[at]
            self._in_calls[at] = self._in_failures[at] = self._in_slow[at] = 0
