"""A small shop, and the installed program run on it as a user would."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

SHOP = '''
import asyncio
from pathlib import Path
from fastapi import FastAPI
from headrace import Headrace, JobContext, Retry

hr = Headrace("sqlite:///shop.db")


@hr.task(public=True)
async def count(ctx: JobContext, n: int) -> int:
    for done in range(n):
        await ctx.progress(done, n, f"step {done}")
        await ctx.emit({"done": done})
        await asyncio.sleep(0.05)
    return n


@hr.task(retry=Retry(max_attempts=1))
async def boom(ctx: JobContext) -> None:
    raise ValueError("no luck")


@hr.task(queue="slow")
async def nap(ctx: JobContext, seconds: float) -> None:
    await asyncio.sleep(seconds)


@hr.task()
async def wait(ctx: JobContext, name: str) -> None:
    """Until somebody makes a file of this name."""
    while not Path(name).exists():
        await asyncio.sleep(0.02)


app = FastAPI()
hr.install(app)
'''
SCRIPT = """
import asyncio, shop
async def main():
    {line}
    await shop.hr.close()
asyncio.run(main())
"""


class Shop:
    """A directory with `shop.py`, and `headrace` in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        self.env |= {"HEADRACE_STORE": "sqlite:///shop.db", "PYTHONDONTWRITEBYTECODE": "1"}
        self.started: list[subprocess.Popen[str]] = []
        (path / "shop.py").write_text(SHOP)

    def run(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "headrace", *args],
            cwd=self.path,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    def out(self, *args: str) -> str:
        """What a command that must work prints."""
        done = self.run(*args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *args: str) -> dict[str, Any]:
        """What a command that must work prints with `--json`."""
        told: dict[str, Any] = json.loads(self.out(*args, "--json"))
        return told

    def start(self, *args: str, **env: str) -> "subprocess.Popen[str]":
        """A command that stays; its output goes to a file that `said` reads."""
        with (self.path / f"{args[0]}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "headrace", *args],
                cwd=self.path,
                env=self.env | env,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def said(self, command: str) -> str:
        """What a started command has printed so far."""
        return (self.path / f"{command}.log").read_text()

    def enqueue(self, call: str) -> str:
        """Enqueue one job; its id."""
        return self.run_script(f"print((await shop.{call}).id)")

    def run_script(self, line: str) -> str:
        """A line in a script of the user's; what it prints."""
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(line=line)],
            cwd=self.path,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        )
        return done.stdout.strip()

    def job(self, job: str) -> dict[str, Any]:
        return self.json("jobs", "show", job)

    def until(self, what: Callable[[], T], why: str, seconds: float = 60) -> T:
        """Wait for a condition; what it finds."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            logs = "\n".join(f"--- {log.name}\n{log.read_text()}" for log in self.path.glob("*.log"))
            assert time.monotonic() < deadline, f"{why} did not come true\n{logs}"
            time.sleep(0.1)
        return found

    def workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("workers")["workers"]
        return found

    def has_worker(self) -> bool:
        """Whether a worker of the shop is up."""
        return any(worker["role"] == "worker" and worker["tasks"] for worker in self.workers())

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait(timeout=30)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()
