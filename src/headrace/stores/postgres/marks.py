"""Up to which place nothing more will be committed.

Whoever draws a place of a sequence has a transaction id before, so that every place up to one that was drawn is settled
when all transactions have ended that had an id by then.
"""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

_KEPT: Final = 8


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the server, known by its start, was.

    The last place drawn; then an id above those of all transactions that had one; then that of the oldest under way.
    """

    place: int
    above: int
    oldest: int
    server: float

    def follows(self, before: "Mark") -> bool:
        """Whether both are of one history. After a fail-over or a restore, places may be drawn again."""
        return self.server == before.server and self.place >= before.place and self.above >= before.above


class Marks:
    """Those of one sequence, looked at now and then; used from any thread."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._lock = threading.Lock()
        self._settled = 0
        self._open: deque[Mark] = deque()  # transactions of before are under way

    def settled(self, mark: Mark) -> int:
        """The place up to which a look after this mark finds all that will ever be there."""
        with self._lock:
            opened = self._open
            if opened and not mark.follows(opened[-1]):
                opened.clear()
                self._settled = 0
            while opened and opened[0].above <= mark.oldest:
                self._settled = opened.popleft().place
            if len(opened) == _KEPT:
                opened.pop()
            opened.append(mark)
            return self._settled
