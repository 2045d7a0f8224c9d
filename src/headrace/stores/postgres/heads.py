"""Where outboxes and the like begin, where it is dear to look.

What is taken from the head of a table stays in its index as long as somebody keeps a snapshot, and every look from the
beginning wades through it. So a look that was dear says from where the next ones begin, for some time. What comes to
stand before that meanwhile (a late commit, a parked event that is let go) waits for the next look from the beginning.
"""

import threading
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

_DEAR_S: Final = 0.02
_SHARE: Final = 20  # of the time, one part


class Ordered(Protocol):
    """What can be compared with its like."""

    def __lt__(self, other: Any, /) -> bool: ...


Place = TypeVar("Place", bound=Ordered)


class Heads(Generic[Place]):
    """One per kind of table; used from any thread. Places are exclusive: a look begins after one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Nothing is known; `clock` is monotonic."""
        self.clock: Final = clock
        self._lock = threading.Lock()
        self._heads: dict[str, tuple[Place, float]] = {}
        self._ends: dict[str, Place] = {}

    def begin(self, name: str, after: Place) -> Place:
        """Where to begin a look that was asked for beyond `after`."""
        head, until = self._heads.get(name, (after, 0.0))
        return head if after < head and self.clock() < until else after

    def looked(self, name: str, before: Place | None, last: Place | None, began: float | None) -> None:
        """What was found: what the first one stands after, and the last; `began`: from the beginning, at that time."""
        with self._lock:
            end = self._ends.get(name)
            if last is not None and (end is None or end < last):
                self._ends[name] = end = last
            now = self.clock()
            head = end if before is None else before
            if began is not None and head is not None and now - began > _DEAR_S:
                self._heads[name] = head, now + _SHARE * (now - began)
