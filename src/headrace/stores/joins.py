"""What the joins of SQL stores have in common, whichever connection the user brings."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from typing import Final

from headrace.core.errors import StoreUnavailable, UsageError

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


@contextmanager
def commits(owed: list[Callable[[], None]]) -> Generator[None, None, None]:
    """A commit of ours: what it lands is rung for; for a while, where nobody knows whether it has landed."""
    try:
        yield
    except (StoreUnavailable, asyncio.CancelledError):
        for ring in owed:
            ring_soon(ring)
        owed.clear()
        raise
    for ring in owed:
        ring()
    owed.clear()


class _Ringer:
    """One thread that rings for all that have no event loop; it is there while there is something to ring."""

    def __init__(self) -> None:
        self.begin()
        os.register_at_fork(after_in_child=self.begin)  # what is due is the parent's, and so is who holds the lock

    def begin(self) -> None:
        """Owe nothing."""
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
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="headrace-ringer", daemon=True)
                self._thread.start()
            elif self._due[0][2] is ring:
                self._changed.notify()

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


def needs_loop(kind: str) -> None:
    """Refuse an asynchronous connection where nothing can wait.

    Raises:
        UsageError: no event loop runs here.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            f"using= is asynchronous ({kind}), and nothing can wait for it here: pass a synchronous session or "
            "connection, or enqueue in a coroutine"
        ) from None


def unknown(using: object, store: str, known: str) -> UsageError:
    """What to tell of an object that is none of the `known` kinds."""
    kind = f"{type(using).__module__}.{type(using).__qualname__}"
    return UsageError(f"using={kind} is not a connection that the {store} store can write through; pass {known}")
