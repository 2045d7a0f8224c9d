"""`headrace worker` as users start it: a tree of processes to watch, to stop and to kill."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from bench.meter import FOLDER_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 20.0
T = TypeVar("T")


class TooSlowError(AssertionError):
    """What was waited for did not come."""


def wait_for(look: Callable[[], T | None], what: str, seconds: float, every_s: float = 0.005) -> T:
    """The first truthy answer of `look`.

    Raises:
        TooSlowError: none within `seconds`.
    """
    give_up = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() >= give_up:
            raise TooSlowError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every_s)
    return found


def _parents() -> dict[int, int]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return {int(pid): int(parent) for pid, parent in (line.split() for line in listing.splitlines())}


def descendants(root: int) -> list[int]:
    """`root` and everything below it, parents first."""
    parents = _parents()
    found = [root] if root in parents else []
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def cpu_s(pid: int) -> float:
    """CPU time that a process and its threads have used."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        fields = stat.read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    seconds = 0.0
    for part in _ps("time", pid).split(":"):  # on macOS in hundredths: 0:01.23
        seconds = 60 * seconds + float(part)
    return seconds


def rss_mb(pid: int) -> float:
    """Memory that a process holds."""
    return int(_ps("rss", pid)) / 1024


def _ps(what: str, pid: int) -> str:
    done = subprocess.run(["ps", "-o", f"{what}=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class WorkerTree:
    """One `headrace worker` and what it starts."""

    def __init__(self, store: str, folder: Path, *options: str, app: str = "bench.app:hr") -> None:
        """Start it; its log goes to a file in `folder`."""
        self._log = folder / f"worker-{time.monotonic_ns()}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "headrace", "worker", app, *options],
                cwd=ROOT,
                env=os.environ | {"HEADRACE_STORE": store, FOLDER_VARIABLE: str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is not None:
            print(f"--- the worker's log\n{self.log[-4000:]}", file=sys.stderr)
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """All that live, the supervisor first."""
        return descendants(self.pid)

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Ask it to end; kill what does not."""
        pids = self.pids
        if self.is_alive:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        self._end(pids)

    def kill(self) -> float:
        """SIGKILL for every process of the tree at once; when that was, on the wall clock."""
        pids = self.pids
        killed_at = time.time()
        self._end(pids)
        return killed_at

    def _end(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == self.pid:  # and not somebody else's who got the number since
                    kill(pid)
        self._process.wait()


def kill(pid: int) -> float:
    """SIGKILL; when that was, on the wall clock."""
    killed_at = time.time()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return killed_at
