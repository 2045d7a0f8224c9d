"""When the next child may be started, after one has died."""

from collections import deque
from typing import Final

DELAY_MAX_S: Final = 30.0
BURST: Final = 5
BURST_WINDOW_S: Final = 30.0


class Restarts:
    """At once after a death, unless children die at their start or one after the other."""

    __slots__ = ("_deaths", "_stillborn")

    def __init__(self) -> None:
        self._deaths: Final[deque[float]] = deque(maxlen=64)
        self._stillborn = 0

    def note_ready(self) -> None:
        """A child came up."""
        self._stillborn = 0

    def note_death(self, now: float, *, ready: bool) -> None:
        """A child died; `ready` says whether it had come up."""
        self._deaths.append(now)
        if not ready:
            self._stillborn += 1

    @property
    def stillborn(self) -> int:
        """How many in a row died before they came up."""
        return self._stillborn

    def delay_s(self, now: float) -> float:
        """How long to wait before the next one is started."""
        recent = sum(1 for at in self._deaths if now - at < BURST_WINDOW_S)
        steps = max(self._stillborn, recent - BURST)
        return min(DELAY_MAX_S, 2.0 ** min(steps - 1, 10)) if steps > 0 else 0.0
