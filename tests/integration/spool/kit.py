"""An API in a process of its own, which the tests start, stop and kill."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from headrace import Headrace
from headrace.app.keys import make_key
from servers.server import free_port

HERE = Path(__file__).resolve().parent


def until(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.02)
    return found


@dataclass
class Api:
    """An API process, and what its tasks wrote."""

    notes: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    key: str = ""

    def start(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        argv = [sys.executable, "-m", "uvicorn", "spool_app:app", "--port", str(port), "--log-level", "warning"]
        with self.notes.with_name("api.log").open("ab") as log:
            self.process = subprocess.Popen(argv, cwd=HERE, env=self.environment, stdout=log, stderr=log)
        until(self.alive)

    def alive(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return httpx.get(f"{self.url}/headrace/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            self.process = None

    @property
    def log(self) -> str:
        return self.notes.with_name("api.log").read_text()

    @property
    def ran(self) -> list[int]:
        return [int(line) for line in self.notes.read_text().split()] if self.notes.exists() else []

    def machine(self) -> httpx.Client:
        """Who has an API key."""
        return httpx.Client(base_url=f"{self.url}/headrace", headers={"Authorization": f"Bearer {self.key}"})


@contextmanager
def api_on(store: str, directory: Path, workers: int = 1, **settings: str) -> Iterator[Api]:
    """One that runs, with a spool unless `HEADRACE_SPOOL` is empty."""

    async def key() -> str:
        hr = Headrace(store)
        _, text = await make_key(hr, "tests", ("read", "enqueue", "operate"))
        await hr.close()
        return text

    mine = {
        "NOTES": str(directory / "notes"),
        "WORKERS": str(workers),
        "HEADRACE_STORE": store,
        "HEADRACE_SPOOL": str(directory / "spool"),
        "HEADRACE_PENDING_S": "0.5",
        "HEADRACE_GRACE_S": "1",
    }
    made = Api(directory / "notes", os.environ | mine | settings, key=asyncio.run(key()))
    made.start()
    try:
        yield made
    finally:
        made.stop()
