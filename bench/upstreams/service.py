"""The upstream: a small HTTP server on a thread of its own, which counts what it receives."""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
ANSWERS = {
    True: b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    False: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
}
CALL = b"POST / HTTP/1.1\r\nHost: upstream\r\nContent-Length: 0\r\n\r\n"


class FailedError(Exception):
    """It answered with 503."""


class Service:
    """Its counts are plain numbers, read from other threads."""

    def __init__(self, *, hold_s: float, failing: bool) -> None:
        self.hold_s = hold_s
        self.failing = failing
        self.received = 0
        self.in_flight = 0
        self.most = 0
        self.port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._up.wait()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._answer, HOST, 0, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._stop.wait()
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.received += 1
                self.in_flight += 1
                self.most = max(self.most, self.in_flight)
                await asyncio.sleep(self.hold_s)
                self.in_flight -= 1
                writer.write(ANSWERS[self.failing])
        writer.close()


class Caller:
    """One connection to it, for one call at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self) -> None:
        """Make a call.

        Raises:
            FailedError: it failed.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        writer.write(CALL)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 503 " in head:
            raise FailedError
        await reader.readexactly(2)
