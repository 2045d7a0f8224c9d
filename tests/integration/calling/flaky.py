"""A small HTTP server that does what a test tells it: a status, a delay, a dropped connection, half a body."""

import asyncio
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Say:
    """What one request is answered with."""

    status: int = 200
    body: bytes = b"fine"
    delay_s: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    drop: Literal["", "before", "half"] = ""  # close without a word, or in the middle of the body
    body_delay_s: float = 0.0  # between the halves of the body


@dataclass(frozen=True)
class Heard:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Flaky:
    """Answers with what is in `script`, one a request, and then with `default`."""

    default: Say = field(default_factory=Say)
    script: deque[Say] = field(default_factory=deque)
    heard: list[Heard] = field(default_factory=list)
    under_way: int = 0
    peak: int = 0
    gone: int = 0  # callers that hung up before they were answered
    port: int = 0
    answering: set[asyncio.Task[None]] = field(default_factory=set)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def will(self, *answers: Say) -> None:
        self.script.extend(answers)

    def sent(self, header: str) -> list[str | None]:
        """That header of every request, in order."""
        return [each.headers.get(header.lower()) for each in self.heard]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here = asyncio.current_task()
        assert here is not None
        self.answering.add(here)
        self.writers.append(writer)
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) and await self._one(head, reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # hung up; or the server ends
        finally:
            self.answering.discard(here)
            writer.close()

    async def _one(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        while headers.get("transfer-encoding") == "chunked" and (size := int(await reader.readline(), 16)):
            body += (await reader.readexactly(size + 2))[:-2]
        if headers.get("transfer-encoding") == "chunked":
            await reader.readline()
        self.heard.append(Heard(method, path, headers, body))
        say = self.script.popleft() if self.script else self.default
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            return await self._say(say, reader, writer)
        finally:
            self.under_way -= 1

    async def _say(self, say: Say, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if say.delay_s:
            hung_up = asyncio.ensure_future(reader.read(1))
            done, _ = await asyncio.wait([hung_up], timeout=say.delay_s)
            if done:
                self.gone += 1
                return False
            hung_up.cancel()
            await asyncio.wait([hung_up])
        if say.drop == "before":
            return False
        head = [f"HTTP/1.1 {say.status} X", f"Content-Length: {len(say.body)}"]
        head += [f"{name}: {value}" for name, value in say.headers]
        half = len(say.body) // 2
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + say.body[:half])
        await writer.drain()
        if say.body_delay_s:
            await asyncio.sleep(say.body_delay_s)
        if say.drop == "half":
            return False
        writer.write(say.body[half:])
        await writer.drain()
        return True


class Thread:
    """Runs one on a loop of its own, for blocking clients and slow ones alike."""

    def __init__(self, flaky: Flaky) -> None:
        self._flaky = flaky
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        async def serve() -> None:
            server = await asyncio.start_server(self._flaky.answer, "127.0.0.1", 0)
            self._flaky.port = server.sockets[0].getsockname()[1]
            self._stop = asyncio.Event()
            self._ready.set()
            await self._stop.wait()
            server.close()
            await asyncio.sleep(0.01)  # what was accepted a moment ago becomes a task
            rest = tuple(self._flaky.answering)
            for each in rest:
                each.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            for writer in self._flaky.writers:
                writer.transport.abort()  # what its caller does not read would keep it open
            await asyncio.sleep(0.01)

        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(serve())
        self._loop.close()

    def __enter__(self) -> Flaky:
        self._thread.start()
        assert self._ready.wait(10)
        return self._flaky

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
