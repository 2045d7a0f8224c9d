"""Trees of processes on a store, and this process, which enqueues: what the chaos tests are written with."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import farm_tasks

from headrace.app.adapters import adapters
from headrace.core.ids import IdMaker
from headrace.core.model import JobRecord, NewJob
from headrace.core.states import JobState
from headrace.runtime.clock import SystemClock
from headrace.settings import Settings

HERE = Path(__file__).parent
PATIENCE_S = 40.0  # for what is to come; how soon it must, tests say by other means
ENDED = {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


@dataclass
class Line:
    """What a body wrote."""

    at: float
    pid: int
    word: str
    args: list[str]


def lines_of(log: Path, word: str) -> list[Line]:
    """Those that begin with this word, in order."""
    rows = [row.split() for row in log.read_text().splitlines()] if log.exists() else []
    return [Line(float(row[0]), int(row[1]), row[2], row[3:]) for row in rows if row[2] == word]


@dataclass
class Farm:
    """A store, the trees that work on it, and this process, which enqueues."""

    directory: Path
    url: str
    trees: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    def __post_init__(self) -> None:
        self.store, self.notifier = adapters(Settings(store=self.url), SystemClock(), moved=False)
        self.ids = IdMaker()

    async def tree(
        self, processes: int = 1, *, prefix: Sequence[str] = (), url: str | None = None, **env: str
    ) -> subprocess.Popen[bytes]:
        """A supervisor whose children are ready; `prefix` stands before its command, `url` is what it is told."""
        known = {record.id for record in await self.store.workers()}
        with (self.directory / f"tree-{len(self.trees)}.txt").open("wb") as output:
            process = subprocess.Popen(  # noqa: ASYNC220 - it is started, not waited for
                [*prefix, sys.executable, HERE / "farm.py", "supervise", url or self.url, str(processes)],
                env={**os.environ, "FARM_LOG": str(self.directory / "log"), **env},
                stderr=output,
                start_new_session=True,
            )
        self.trees.append(process)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                fresh = [each for each in await self.store.workers() if each.id not in known]
                if len(fresh) == processes + 1 and all(each.tasks for each in fresh):
                    return process
                await asyncio.sleep(0.02)

    async def enqueue(self, holder: farm_tasks.Holder, *, delay_s: float = 0.0, **args: Any) -> bytes:
        task = holder.definition
        job = NewJob(
            self.ids.make(time.time(), os.urandom(8)), task.name, "default", task.encode_args((), args),
            delay_s=delay_s, timeout_s=task.timeout_s, max_attempts=task.retry.max_attempts, signature=task.signature,
        )  # fmt: skip
        await self.store.enqueue([job])
        return job.id

    async def get(self, job: bytes) -> JobRecord:
        (record,) = await self.store.get([job])
        assert record is not None
        return record

    async def ended(self, job: bytes, seconds: float = PATIENCE_S) -> JobRecord:
        async with asyncio.timeout(seconds):
            while (record := await self.get(job)).state not in ENDED:  # noqa: ASYNC110 - other processes bring it about
                await asyncio.sleep(0.01)
        return record

    def lines(self, word: str) -> list[Line]:
        return lines_of(self.directory / "log", word)

    async def wrote(self, word: str, count: int = 1) -> list[Line]:
        async with asyncio.timeout(PATIENCE_S):
            while len(lines := self.lines(word)) < count:  # noqa: ASYNC110 - other processes bring it about
                await asyncio.sleep(0.002)
        return lines

    async def pids(self, role: str) -> list[int]:
        return [record.pid for record in await self.store.workers() if record.role == role]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - other processes bring it about
                await asyncio.sleep(0.02)

    def said(self, number: int = 0) -> str:
        return (self.directory / f"tree-{number}.txt").read_text()

    def end_tree(self, number: int) -> None:
        process = self.trees[number]
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGCONT)
            process.kill()  # its children die with it
        process.wait()

    async def end(self) -> None:
        """Whatever happened: no process stays."""
        for number in range(len(self.trees)):
            self.end_tree(number)
        await self.notifier.stop()
        await self.store.close()


@asynccontextmanager
async def farm_on(url: str, directory: Path) -> AsyncGenerator[Farm]:
    """A farm on a store, open, for the time of the block."""
    made = Farm(directory, url)
    await made.store.open()
    await made.notifier.start()
    yield made
    await made.end()
