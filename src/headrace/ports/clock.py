"""Time as a dependency: cores take `now`, shells ask a Clock."""

from typing import Protocol


class Clock(Protocol):
    """Two clocks that are never mixed: `now` only rises, `wall` is what people read."""

    def now(self) -> float:
        """Monotonic seconds; only differences mean something."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of `now`."""
        ...
