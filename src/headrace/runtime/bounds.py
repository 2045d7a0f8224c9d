"""Timeouts of one length for very many short calls: as `asyncio.timeout`, for a tenth of its price.

Those that begin later end later, so they wait in a line and need one timer, not one each. What is
over leaves the line when it is at its head, or when more than half of the line is over.
"""

import asyncio
import threading
from collections import deque
from typing import Final, final

SWEEP_FROM: Final = 64


@final
class Bound:
    """One call's; used by the task that made it."""

    __slots__ = ("_cancelling", "_line", "at", "fired", "task")

    def __init__(self, line: "_Line", task: asyncio.Task[object], at: float) -> None:
        """Made by `Bounds`."""
        self.task: asyncio.Task[object] | None = task  # None: over
        self.at = at
        self.fired = False
        self._cancelling = task.cancelling()
        self._line = line

    def over(self, error: BaseException | None) -> bool:
        """The call has ended, with `error`; whether that is this bound's own cancel, and so a `TimeoutError`."""
        task, self.task = self.task, None
        self._line.left()
        if task is None or not self.fired:
            return False
        return task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError)


@final
class _Line:
    """Those of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, length_s: float) -> None:
        self.loop: Final = loop
        self._length_s = length_s
        self._waiting: deque[Bound] = deque()
        self._live = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Bound:
        task = asyncio.current_task(self.loop)
        if task is None:
            raise RuntimeError("a call with a timeout is made by a task")
        bound = Bound(self, task, self.loop.time() + self._length_s)
        self._waiting.append(bound)
        self._live += 1
        if self._timer is None:
            self._timer = self.loop.call_at(bound.at, self._fire)
        return bound

    def left(self) -> None:
        self._live -= 1
        waiting = self._waiting
        while waiting and waiting[0].task is None:
            waiting.popleft()
        if len(waiting) > SWEEP_FROM and len(waiting) > 2 * self._live:
            self._waiting = deque(each for each in waiting if each.task is not None)

    def _fire(self) -> None:
        self._timer = None
        now = self.loop.time()
        for bound in self._waiting:
            if bound.fired or bound.task is None:
                continue
            if bound.at > now:
                self._timer = self.loop.call_at(bound.at, self._fire)
                return
            bound.fired = True
            bound.task.cancel()


@final
class Bounds:
    """Bounds of one length, on whatever loops."""

    def __init__(self, length_s: float) -> None:
        """`length_s` holds for all of them."""
        self.length_s = length_s
        self._here = _Here()

    def begin(self) -> Bound:
        """From now on; the task is cancelled when it is not `over` in time."""
        loop = asyncio.get_running_loop()
        line = self._here.line
        if line is None or line.loop is not loop:
            line = self._here.line = _Line(loop, self.length_s)
        return line.begin()


class _Here(threading.local):
    """A thread runs one loop at a time."""

    line: _Line | None = None
