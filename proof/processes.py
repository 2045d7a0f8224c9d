"""Processes as users start them, each in a session of its own, so that nothing that they start is missed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")
ROOT: Final = Path(__file__).resolve().parent.parent


class TooSlowError(AssertionError):
    """What was waited for did not come."""


def sessions() -> dict[int, list[int]]:
    """The living processes of each session; zombies are dead."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    found: dict[int, list[int]] = {}
    for line in listing.splitlines():
        pid, stat = line.split()
        with suppress(ProcessLookupError, PermissionError):
            if not stat.startswith("Z"):
                found.setdefault(os.getsid(int(pid)), []).append(int(pid))
    return found


def send(number: int, pids: Iterable[int]) -> None:
    """A signal to each that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


class Program:
    """One command that goes on, with its output in a file."""

    def __init__(self, name: str, argv: list[str], env: Mapping[str, str], log: Path) -> None:
        """Started at once; it ends with this process, even if that is killed."""
        self.name = name
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *argv],
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its first process has not ended."""
        return self._process.poll() is None

    def members(self) -> list[int]:
        """All that live of it, its first process before the others."""
        return sorted(sessions().get(self.pid, []), key=lambda pid: (pid != self.pid, pid))

    def terminate(self) -> None:
        """Ask it to end."""
        if self.alive:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> tuple[float, list[int]]:
        """SIGKILL for every process of it; when, and which."""
        pids = self.members()
        at = time.monotonic()
        if self.alive:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        send(signal.SIGKILL, pids)
        self._process.wait()
        for pid in self.members():  # what was being started at that moment
            send(signal.SIGKILL, [pid])
        return at, pids

    def ended_within(self, seconds: float) -> bool:
        """Whether it has ended, after waiting for it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return not self.alive


def wait_for(look: Callable[[], T | None], what: str, seconds: float, every_s: float = 0.02) -> T:
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
