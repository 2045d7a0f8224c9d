"""The live connections of this process: how many there are, and that they end with the server."""

import asyncio
import contextlib
import signal
import threading
from collections import Counter
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, Final, Protocol

from headrace.app import Headrace
from headrace.ports.observer import Moment, Spooled

ENDING_S: Final = 1.0  # for connections to say goodbye, before the server hears that it is to stop


class Ending(Protocol):
    """A connection that can be told to end."""

    def shut_down(self) -> None:
        """The server is stopping; on the connection's loop."""
        ...


class Live:
    """One per installed Headrace."""

    def __init__(self, hr: Headrace) -> None:
        """None yet."""
        self.hr = hr
        self._connections: dict[Ending, str] = {}  # and their transports
        self._closes: Counter[tuple[str, str]] = Counter()
        self._stopping = False
        self._unheard: list[Callable[[], object]] = []  # signals that the server has not been told of

    @property
    def full(self) -> bool:
        """Whether a further connection is one too many."""
        if self._stopping or self.hr.feed.pressure.closed:
            return True
        return len(self._connections) >= self.hr.settings.connections_max

    @contextlib.contextmanager
    def counted(self, connection: Ending, transport: str) -> Generator[None]:
        """Count a connection for as long as it lives."""
        self._connections[connection] = transport
        if self._stopping:
            connection.shut_down()
        try:
            with self.hr.feed.pressure.watched():
                yield
        finally:
            self._connections.pop(connection, None)
            if not self._connections:
                self._tell_server()

    def closed(self, transport: str, reason: str) -> None:
        """Count how a connection ended."""
        self._closes[transport, reason] += 1

    def moment(self) -> Moment:
        """What the metrics tell of it."""
        connections = {"sse": 0, "websocket": 0, **Counter(self._connections.values())}
        figures = self.hr.services.spooling.figures
        spool = None if figures is None else Spooled(figures.bytes, figures.jobs, figures.drained, figures.rejected)
        feed = self.hr.feed
        return Moment(
            connections,
            dict(self._closes),
            feed.followed,
            spool=spool,
            level=feed.pressure.level,
            notifier=self.hr.notifier.health,
        )

    def shut_down(self) -> None:
        """Ask every connection to come back elsewhere, and take no further ones."""
        self._stopping = True
        for connection in tuple(self._connections):
            connection.shut_down()

    @contextlib.contextmanager
    def ended_by_signals(self, loop: asyncio.AbstractEventLoop) -> Generator[None]:
        """End them when SIGTERM or SIGINT comes, before the server hears of it.

        A server waits for its open connections before it ends the lifespan, and a feed would keep it
        waiting; or it cuts them off, with a close code of its own. So its signal handlers are called
        when the connections have ended, after `ENDING_S`, or at the second signal.
        """
        self._stopping = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[signal.Signals, Any] = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            if callable(handler):
                before[number] = handler
                signal.signal(number, self._handler(handler, loop))
        try:
            yield
        finally:
            self._tell_server()
            for restored, handler in before.items():
                signal.signal(restored, handler)

    def _handler(
        self, then: Callable[[int, FrameType | None], object], loop: asyncio.AbstractEventLoop
    ) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            self._unheard.append(lambda: then(number, frame))
            loop.call_soon_threadsafe(self.shut_down)
            if self._connections and len(self._unheard) == 1:
                loop.call_soon_threadsafe(loop.call_later, ENDING_S, self._tell_server)
            else:
                self._tell_server()

        return handle

    def _tell_server(self) -> None:
        while self._unheard:
            self._unheard.pop(0)()
