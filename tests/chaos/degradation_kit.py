"""What the degradation tests are written with: `headrace worker` processes, and ports that can be closed."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any, Self
from urllib.parse import urlsplit

from degradation_app import Tasks
from kit import ENDED, Line, lines_of

from headrace import Headrace, Job
from headrace.core.errors import StoreUnavailable
from headrace.core.model import JobRecord
from headrace.settings import Settings
from servers.server import HOST, free_port
from tests.e2e.kit import Program

HERE = Path(__file__).parent
PATIENCE_S = 30.0
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def until(look: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Wait for what other processes bring about."""
    async with asyncio.timeout(within_s):
        while True:
            found = look()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.01)


@dataclass
class Port:
    """A port of this machine; while it is closed it refuses, and what went through it has been cut off."""

    answer: Answer
    number: int = field(default_factory=free_port)
    _open: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """It is closed at the end, and not open yet."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        await self.close()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.number)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._open:
            writer.transport.abort()
        await until(lambda: not self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(OSError):
                await self.answer(reader, writer)
        finally:
            writer.transport.abort()
            self._open.discard(writer)


@dataclass
class Way(Port):
    """Carries everything to a server; `url` leads through it."""

    url: str = ""


@asynccontextmanager
async def way_to(url: str) -> AsyncGenerator[Way]:
    """An open one to the server of a URL; closed at the end."""
    parts = urlsplit(url)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            ways = [asyncio.ensure_future(_pump(*way)) for way in ((reader, far_writer), (far_reader, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for one in ways:
                one.cancel()
            await asyncio.wait(ways)
        finally:
            far_writer.transport.abort()

    async with Way(carry) as way:
        way.url = url.replace(f"{parts.hostname}:{parts.port}", f"{HOST}:{way.number}")
        await way.open()
        yield way


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@dataclass
class Site:
    """A database, the workers on it, and this process, which enqueues."""

    directory: Path
    hr: Headrace
    tasks: Tasks
    programs: list[Program] = field(default_factory=list[Program])

    async def worker(self, **env: str) -> Program:
        """A `headrace worker` that is ready."""
        known = {each.id for each in await self.hr.workers()}
        settings = {"HEADRACE_STORE": self.hr.settings.store, "HEADRACE_GRACE_S": "1", **env}
        program = worker_on(self.directory, **settings)
        self.programs.append(program)
        async with asyncio.timeout(PATIENCE_S):
            while not any(each.id not in known and each.tasks for each in await self.hr.workers()):
                assert program.process.poll() is None, program.err
                await asyncio.sleep(0.02)
        return program

    def end(self, *error: Any) -> None:
        """Have all of them end in order; no process stays."""
        with ExitStack() as stack:
            for program in self.programs:
                program.process.terminate()
                stack.push(program.__exit__)
            for program in self.programs:
                with suppress(TimeoutExpired):
                    program.process.wait(15)
            if error[1] is not None:
                raise error[1]

    def lines(self, word: str) -> list[Line]:
        return lines_of(self.directory / "log", word)

    async def wrote(self, word: str, count: int = 1) -> list[Line]:
        await until(lambda: len(self.lines(word)) >= count)
        return self.lines(word)

    async def records(self, jobs: list[Job[Any]]) -> list[JobRecord]:
        return [record for record in await self.hr.store.get([job.id.bytes for job in jobs]) if record is not None]

    async def ended(self, *jobs: Job[Any]) -> list[JobRecord]:
        """Their records, when all have ended, whether or not the store is there all the time."""
        found: list[JobRecord] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < len(jobs) or any(record.state not in ENDED for record in found):
                await asyncio.sleep(0.02)
                with suppress(StoreUnavailable):
                    found = await self.records(list(jobs))
        return found


def worker_on(directory: Path, **env: str) -> Program:
    """A `headrace worker`, in a session of its own; its bodies write to the file `log`."""
    env = {"FARM_LOG": str(directory / "log"), "BANK": "http://127.0.0.1:9", **env}
    return Program("worker", "degradation_app:hr", "--app-dir", str(HERE), cwd=directory, env=env)


def is_of(program: Program, line: Line) -> bool:
    """Whether a worker of this program wrote it."""
    return os.getsid(line.pid) == program.pid


@asynccontextmanager
async def site_on(url: str, directory: Path, **settings: Any) -> AsyncGenerator[Site]:
    """For the time of the block; no process stays."""
    hr = Headrace(settings=Settings(store=url, **settings))
    site = Site(directory, hr, Tasks(hr))
    await hr.open()
    try:
        yield site
    finally:  # in a thread: while they end, the ways of this loop carry what they say
        await asyncio.to_thread(site.end, *sys.exc_info())
        await hr.close()
