"""A program and all it starts: to watch, to stop, to kill. Linux: what it costs is read from /proc."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.processes import ROOT

STOP_S = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat behind the name; `state` is the first."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def family(root: int) -> list[int]:
    """`root` and everything below it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root] if _stat(root) is not None else []
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def family_cpu_s(root: int) -> float:
    """CPU time of `root` and everything below it, of those that ended and were waited for as well."""
    ticks = 0
    for pid in family(root):
        fields = _stat(pid)
        if fields is not None:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS_PER_S


def last_words(log: Path) -> str:
    """The last line that says something."""
    lines = log.read_text("utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")[:300]


class Tree:
    """One program in a session of its own; its log goes to a file."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """At once: what it holds is thrown away with its queue, and a graceful end may take long."""
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def cpu_s(self) -> float:
        return family_cpu_s(self.pid)

    def last_words(self) -> str:
        return last_words(self._log)

    def stop(self) -> None:
        """Ask it to end; kill what does not."""
        pids = family(self.pid)
        if self.is_alive:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        self._end(pids)

    def kill(self) -> float:
        """SIGKILL for every process of the tree at once; when that was, on the monotonic clock."""
        pids = family(self.pid)
        killed_at = time.monotonic()
        self._end(pids)
        return killed_at

    def _end(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == self.pid:  # and not somebody else's who got the number since
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()
