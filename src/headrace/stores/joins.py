"""What the joins of SQL stores have in common, whichever connection the user brings."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Final

from headrace.core.errors import UsageError

logger = logging.getLogger(__name__)
_now = time.monotonic  # noqa: TID251 - this thread is an edge: it waits for commits that nobody tells it of

RING_AGAIN_S: Final = (0.05, 0.3, 1.0, 3.0, 10.0)  # the user commits somewhat after the write


def ring_soon(ring: Callable[[], None]) -> None:
    """Ring now, and again for a while, ever more rarely: for those whose commit cannot be seen."""
    ring()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # a thread without a loop
        _ringer.add(ring)
    else:
        for later_s in RING_AGAIN_S:
            loop.call_later(later_s, ring)


class _Ringer:
    """One thread that rings for all that have no event loop; it is there while there is something to ring."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, ring: Callable[[], None]) -> None:
        """Ring again, ever more rarely."""
        now = _now()
        with self._changed:
            for later_s in RING_AGAIN_S:
                heappush(self._due, (now + later_s, next(self._numbers), ring))
            self._changed.notify()
            if self._thread is None or not self._thread.is_alive():  # a fork takes none along
                self._thread = threading.Thread(target=self._run, name="headrace-ringer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (ring := self._next()) is not None:
            try:
                ring()
            except Exception:
                logger.exception("a hint after a transaction was not given; polling has to do")

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while self._due:
                wait_s = self._due[0][0] - _now()
                if wait_s <= 0:
                    return heappop(self._due)[2]
                self._changed.wait(wait_s)
            self._thread = None
            return None


_ringer: Final = _Ringer()


def unknown(using: object, store: str, known: str) -> UsageError:
    """What to tell of an object that is none of the `known` kinds."""
    kind = f"{type(using).__module__}.{type(using).__qualname__}"
    return UsageError(f"using={kind} is not a connection that the {store} store can write through; pass {known}")
