"""What a signal does to open connections, and when the server hears of it."""

import asyncio
import signal
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from types import FrameType
from unittest.mock import create_autospec

import pytest

from headrace.app import Headrace
from headrace.web.live import Live


class Server:
    """Hears signals, and notes who was still connected then."""

    def __init__(self) -> None:
        self.open: set[Line] = set()
        self.heard: list[tuple[int, int]] = []

    def handle(self, number: int, _: FrameType | None) -> None:
        self.heard.append((number, len(self.open)))


class Line:
    """A connection that takes some turns of the loop to end, or never does."""

    def __init__(self, live: Live, server: Server, *, stubborn: bool = False) -> None:
        self._held = ExitStack()
        self._server, self._stubborn = server, stubborn
        server.open.add(self)
        self._held.enter_context(live.counted(self, "sse"))

    def shut_down(self) -> None:
        if not self._stubborn:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._end)

    def _end(self) -> None:
        self._server.open.discard(self)
        self._held.close()


@pytest.fixture
def live() -> Live:
    return Live(create_autospec(Headrace, instance=True))


@pytest.fixture
def server() -> Generator[Server]:
    server = Server()
    before = {number: signal.signal(number, server.handle) for number in (signal.SIGTERM, signal.SIGINT)}
    yield server
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def serving(live: Live) -> Generator[None]:
    with live.ended_by_signals(asyncio.get_running_loop()):
        yield


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_server_hears_of_it_when_the_connections_have_ended(live: Live, server: Server) -> None:
    with serving(live):
        lines = [Line(live, server) for _ in range(3)]
        signal.raise_signal(signal.SIGTERM)
        assert server.heard == []  # it would cut them off
        await turns()
        assert (server.heard, len(lines)) == ([(signal.SIGTERM, 0)], 3)
        assert live.full


async def test_without_connections_it_hears_of_it_at_once(live: Live, server: Server) -> None:
    with serving(live):
        signal.raise_signal(signal.SIGINT)
        assert server.heard == [(signal.SIGINT, 0)]


async def test_a_connection_that_does_not_end_is_not_waited_for_for_long(
    live: Live, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.web.live.ENDING_S", 0.0)
    with serving(live):
        Line(live, server, stubborn=True)
        signal.raise_signal(signal.SIGTERM)
        await turns()
        assert server.heard == [(signal.SIGTERM, 1)]


async def test_a_second_signal_is_heard_at_once_and_after_the_first(live: Live, server: Server) -> None:
    with serving(live):
        Line(live, server, stubborn=True)
        signal.raise_signal(signal.SIGTERM)
        assert server.heard == []
        signal.raise_signal(signal.SIGINT)
        assert server.heard == [(signal.SIGTERM, 1), (signal.SIGINT, 1)]


async def test_what_is_not_heard_yet_when_serving_ends_is_heard_then(live: Live, server: Server) -> None:
    with serving(live):
        Line(live, server, stubborn=True)
        signal.raise_signal(signal.SIGTERM)
    assert server.heard == [(signal.SIGTERM, 1)]
    signal.raise_signal(signal.SIGTERM)
    assert len(server.heard) == 2  # by its own handler again
