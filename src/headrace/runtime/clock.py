"""The system's clocks, for production; tests and the simulator pass their own."""

import asyncio
import time


class SystemClock:
    """`ports.Clock` on this machine: `now` is system-wide, so that processes of one boot can compare it."""

    __slots__ = ()

    def now(self) -> float:
        """Monotonic seconds since some instant of this boot."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch; may jump."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; 0 or less yields to the loop once."""
        await asyncio.sleep(max(seconds, 0.0))
