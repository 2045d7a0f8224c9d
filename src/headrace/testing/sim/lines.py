"""What carries the frames of one simulated live connection: two directions, each in order, that can break.

Invariant: what the server was told is sent has left in order, and arrives so, or never; a line that
fell silent lets nothing through any more and tells neither end.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.core.wire import CloseCode, frame_bytes
from headrace.testing.sim import events as e

if TYPE_CHECKING:
    import asyncio
    import random

    from headrace.runtime.live import LiveConnection
    from headrace.testing.sim.node import Node

GONE = 1006  # what a browser says of a connection that ended without a close


class Line:
    """One connection as both of its ends see it; on the server's side it is a `runtime.live.Wire`."""

    def __init__(self, number: int, node: "Node", rng: "random.Random", latency_s: float, window: int) -> None:
        """It is open. `window` bytes fit between the server and a browser that does not read."""
        self.number = number
        self.node = node
        self.connection: LiveConnection | None = None  # once the server serves it
        self.unread: deque[str | int] = deque()  # at the browser: frames, and the code that ends them
        self.on_news: Callable[[], None] = _nothing  # something is unread
        self.on_cut: Callable[[], None] = _nothing  # the browser's end learns that it is broken
        self.silent = False
        self.busy_until = 0.0  # the browser reads nothing before
        self._timeline = node.machine.timeline
        self._rng = rng
        self._latency_s = latency_s
        self._window = window
        self._outstanding = 0  # bytes that left the server and were not read
        self._down = False  # as the server's end knows
        self._cut = False  # as the browser's end knows
        self._inbox: deque[str] = deque()
        self._there_at = self._back_at = 0.0
        self._waiting: dict[str, asyncio.Future[None]] = {}
        node.on_death.append(lambda _: self._died())

    # -- the server's end -------------------------------------------------------------------------

    async def receive(self) -> str | bytes | None:
        """The next frame; None: the browser is gone."""
        while not self._inbox:
            if self._down:
                return None
            await self._wait("hear")
        text = self._inbox.popleft()
        self.node.tell(e.Heard(self.number, text))
        return text

    async def send(self, text: str) -> None:
        """Send one frame; returns when there is room for the next."""
        if self._down:
            raise ConnectionResetError("the browser is gone")
        self.node.tell(e.Framed(self.number, text))
        size = frame_bytes(text)
        self._outstanding += size
        self._back(partial(self._deliver, text))
        while self._outstanding > self._window and not self._down:
            await self._wait("room")
        if self._down:
            raise ConnectionResetError("the browser is gone")
        self.node.tell(e.Taken(self.number))

    async def close(self, code: CloseCode, reason: str) -> None:
        """Close the connection; returns when the browser has answered."""
        del reason
        self.node.tell(e.Closing(self.number, code))
        if not self._down:
            self._back(partial(self._deliver, int(code)))
        while not self._down:
            await self._wait("close")

    def turn_away(self, code: CloseCode) -> None:
        """It is closed before it was served."""
        if not self._down:
            self._back(partial(self._deliver, int(code)))
        self.dropped()

    def dropped(self) -> None:
        """The server is done with it: what is under way still arrives, or all that is not yet read is lost."""
        if self._down:  # by the browser, by a fault, or after it answered the close
            return
        self._down = True
        if self._rng.random() < HALF:
            self._back(self._break)

    @property
    def given_up(self) -> bool:
        """Whether its browser is not reading any more, or nothing gets through to it."""
        return self.silent or self._cut

    @property
    def queued(self) -> list[int]:
        """The sizes of the frames that wait for the browser."""
        assert self.connection is not None
        frames = self.connection._core._out._frames  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return [size for _, _, size in frames.values()]

    def left(self) -> str:
        """What its connection holds after its end; empty: nothing."""
        connection = self.connection
        assert connection is not None
        tasks = len(connection._tasks)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        timer = connection._timer  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        found = [f"{tasks} tasks"] if tasks else []
        if timer is not None and not timer.cancelled():
            found.append("a timer")
        return ", ".join(found)

    async def _wait(self, what: str) -> None:
        waiting = self._waiting[what] = self.node.loop.create_future()
        await waiting

    def _wake(self, *names: str) -> None:
        for name in names:
            waiting = self._waiting.pop(name, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    # -- the browser's end ------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Send one frame to the server."""
        self._there(partial(self._hear, text))

    def take(self) -> str | int:
        """The oldest frame that is unread, or the code that ends the connection; there is one."""
        taken = self.unread.popleft()
        if isinstance(taken, str):
            self._there(partial(self._make_room, frame_bytes(taken)))
        else:
            self.leave()
        return taken

    def leave(self) -> None:
        """The browser is done with it; nothing is heard of it any more."""
        self._cut = True
        self.unread.clear()
        self._there(self._end)

    # -- between them -----------------------------------------------------------------------------

    def break_off(self) -> None:
        """Both ends learn that it is over; what was under way is lost."""
        self._end()
        self._back(self._break)

    def fall_silent(self, notice_s: float | None) -> None:
        """Nothing gets through; the server's system notices after `notice_s`, or never."""
        self.silent = True
        if notice_s is not None:
            self._timeline.after(notice_s, self._end)

    def _there(self, act: Callable[[], None]) -> None:
        self._there_at = max(self._there_at, self._timeline.now + self._trip_s())
        self._timeline.at(self._there_at, partial(self._pass, act))

    def _back(self, act: Callable[[], None]) -> None:
        self._back_at = max(self._back_at, self._timeline.now + self._trip_s())
        self._timeline.at(self._back_at, partial(self._pass, act))

    def _pass(self, act: Callable[[], None]) -> None:
        if not self.silent:
            act()

    def _trip_s(self) -> float:
        return self._latency_s * 2 * self._rng.random()

    def _hear(self, text: str) -> None:
        if not self._down:
            self._inbox.append(text)
            self._wake("hear")

    def _make_room(self, size: int) -> None:
        self._outstanding -= size
        if self._outstanding <= self._window:
            self._wake("room")

    def _end(self) -> None:
        self._down = True
        self._wake("hear", "room", "close")

    def _deliver(self, item: str | int) -> None:
        if not self._cut:
            self.unread.append(item)
            self.on_news()

    def _break(self) -> None:
        if not self._cut:
            self._cut = True
            self.unread.clear()
            self.on_cut()

    def _died(self) -> None:
        """The system of a killed process closes its connections; a machine without power says nothing."""
        if self.node.machine.off:
            self.silent = True
        else:
            self._back(self._break)


def _nothing(*_: Any) -> None:
    pass


HALF = 0.5
