"""The live connections of this process: how many there are, and that they end with the server."""

import contextlib
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, Protocol

from headrace.app import Headrace


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
        self._connections: set[Ending] = set()
        self._stopping = False

    @property
    def full(self) -> bool:
        """Whether a further connection is one too many."""
        return self._stopping or len(self._connections) >= self.hr.settings.connections_max

    @contextlib.contextmanager
    def counted(self, connection: Ending) -> Generator[None]:
        """Count a connection for as long as it lives."""
        self._connections.add(connection)
        if self._stopping:
            connection.shut_down()
        try:
            yield
        finally:
            self._connections.discard(connection)

    def shut_down(self) -> None:
        """Ask every connection to come back elsewhere, and take no further ones."""
        self._stopping = True
        for connection in tuple(self._connections):
            connection.shut_down()

    @contextlib.contextmanager
    def ended_by_signals(self, call_soon: Callable[[Callable[[], None]], object]) -> Generator[None]:
        """End them when SIGTERM or SIGINT comes, before the server waits for them.

        A server waits for its open connections before it ends the lifespan, and a feed would keep it
        waiting. So its own signal handlers are called after ours.
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
                signal.signal(number, self._handler(handler, call_soon))
        try:
            yield
        finally:
            for restored, handler in before.items():
                signal.signal(restored, handler)

    def _handler(
        self, then: Callable[[int, FrameType | None], Any], call_soon: Callable[[Callable[[], None]], object]
    ) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            call_soon(self.shut_down)
            then(number, frame)

        return handle
