"""A clock that stands still until a test moves it."""

import asyncio
import heapq
from itertools import count


class ManualClock:
    """A `ports.clock.Clock` whose time passes only in `advance`.

    It belongs to one event loop as soon as something sleeps on it.
    """

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        """`wall` is the instant at which it stands, in seconds since the epoch."""
        self._started_at = wall
        self._now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> float:
        """Monotonic seconds since the clock was made."""
        return self._now

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._started_at + self._now

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` were advanced; at once, after a turn of the loop, for 0 or less."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        """Let time pass: whoever's sleep ends on the way wakes, in the order of their ends."""
        if seconds < 0:
            raise ValueError("time only passes forward")
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)

    def next_wake_s(self) -> float | None:
        """How long until the next sleeper wakes; None: nobody sleeps."""
        awake = [due for due, _, future in self._sleepers if not future.done()]
        return min(awake) - self._now if awake else None
