"""The world's time: one heap of what happens when. Nothing here reads a real clock.

Invariant: what is due at the same instant happens in the order in which it was asked for, so that
one seed has one history.
"""

import heapq
from collections.abc import Callable
from itertools import count

STEPS_PER_INSTANT_MAX = 50_000


class Livelock(Exception):
    """Something goes on for ever without any time passing."""


class Timeline:
    """Virtual seconds since the world began."""

    __slots__ = ("_heap", "_order", "_steps", "events", "now", "stopped")

    def __init__(self) -> None:
        """Nothing is due yet."""
        self.now = 0.0
        self.stopped = False
        self.events = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._steps = 0

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Do it at `when`, or at once if that has passed."""
        heapq.heappush(self._heap, (max(self.now, when), next(self._order), act))

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Do it in `seconds`."""
        self.at(self.now + seconds, act)

    def stop(self) -> None:
        """Let nothing more happen."""
        self.stopped = True

    def run(self, until: float) -> None:
        """Let everything happen that is due by `until`, unless stopped on the way.

        Raises:
            Livelock: at one instant things went on and on.
        """
        heap = self._heap
        while heap and not self.stopped and heap[0][0] <= until:
            when, _, act = heapq.heappop(heap)
            if when > self.now:
                self.now = when
                self._steps = 0
            self._steps += 1
            if self._steps > STEPS_PER_INSTANT_MAX:
                raise Livelock(f"{STEPS_PER_INSTANT_MAX} steps at {self.now:.3f} s and no end")
            self.events += 1
            act()
        if not self.stopped:
            self.now = max(self.now, until)
