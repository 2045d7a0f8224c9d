"""What the servers share: a directory with a keeper, the user they run as, a port, a process that is waited for."""

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parent.parent
HOST: Final = "127.0.0.1"
PATIENCE_S: Final = 60.0
PORTS_TRIED: Final = 3
PORTS: Final = range(20_000, 32_000)  # below those that systems give to whoever connects


class MissingError(Exception):
    """A server's program is not on this machine; the message says what to do."""


class FailedError(Exception):
    """A server did not do what it was asked for; the message ends with its log."""


def find(name: str) -> Path:
    """Where a server's program is.

    Raises:
        MissingError: nowhere.
    """
    told = subprocess.run([ROOT / "scripts" / "find-server.sh", name], capture_output=True, text=True, check=False)
    if told.returncode != 0:
        raise MissingError(f"{name} (`scripts/preflight.sh --servers` names the command that installs it)")
    return Path(told.stdout.strip())


def wait_for(what: Callable[[], object], why: str, log: Path | None = None) -> None:
    """Wait for a condition, with a deadline.

    Raises:
        FailedError: it did not come true.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > deadline:
            raise FailedError(f"{why} took longer than {PATIENCE_S:.0f} s{tail(log)}")
        time.sleep(0.01)


def tail(log: Path | None) -> str:
    """The last lines of a log, to end a message with."""
    if log is None or not log.exists():
        return ""
    return "\n" + "\n".join(log.read_text("utf-8", "replace").splitlines()[-20:])


def ask(port: int, question: bytes, bytes_max: int = 4096) -> bytes:
    """What a server of the loopback answers first; nothing if it does not."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=PATIENCE_S) as connection:
        connection.sendall(question)
        return connection.recv(bytes_max)
    return b""


def free_port() -> int:
    """A port that nobody listens on, and that no connection is given while its server is down."""
    for port in random.sample(PORTS, 100):
        with suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return port
    raise FailedError(f"a hundred ports from {PORTS.start} to {PORTS.stop} are taken")


def _unprivileged() -> dict[str, Any]:
    """Who runs a server when we are root, whom neither of them obeys, in the words of `subprocess`."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise MissingError("a user other than root to run servers as (neither `postgres` nor `nobody` exists)")


class Server(ABC):
    """One server process in its directory; a context manager that stops it."""

    name: str
    ends_by: signal.Signals = signal.SIGTERM
    """What asks the first process to end."""

    def __init__(self, within: Path | None = None) -> None:
        """Make the directory, in `within` or where temporary files go, and its keeper; starts nothing."""
        self._as_user: Final = _unprivileged()
        self.directory: Final = Path(tempfile.mkdtemp(prefix=f"headrace-{self.name}-", dir=within)).resolve()
        if self._as_user:
            os.chown(self.directory, self._as_user["user"], self._as_user["group"])
        self.log: Final = self.directory / "log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._helpers: Final[list[subprocess.Popen[bytes]]] = []
        self._keeper: Final = subprocess.Popen(
            [sys.executable, "-I", ROOT / "servers" / "keeper.py", self.directory, str(int(self.ends_by))],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Its first process, while that runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def processes(self) -> list[int]:
        """All of its processes that live, those that outlived the first among them; they show its directory's name."""
        listing = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True
        ).stdout
        found = (line.split(maxsplit=1) for line in listing.splitlines() if self.directory.name in line)
        return [int(pid) for pid, args in found if int(pid) != self._keeper.pid and "defunct" not in args]

    def start(self) -> None:
        """Start it, after `down` or `kill`: on the same port, with what it kept.

        Raises:
            FailedError: it does not start; the message ends with its log.
        """
        for attempt in range(PORTS_TRIED):
            self._process = self._spawn(self._command(), self._environment())
            (self.directory / "pid").write_text(str(self._process.pid), "ascii")
            wait_for(lambda: self.pid is None or self._ready(), f"the start of {self.name}", self.log)
            if self.pid is not None:
                return
            self._gone()
            if attempt < PORTS_TRIED - 1:  # somebody may have taken it
                self.port = free_port()
        raise FailedError(f"{self.name} does not start{tail(self.log)}")

    def down(self) -> None:
        """Shut it down as its own machine would; what it keeps stays."""
        self._down(self.ends_by)

    def restart(self) -> None:
        """Throw every client out and start it anew, on the same port."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End it at once and remove its directory. Idempotent."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)  # here, where it may take its time, and not in the keeper
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(PATIENCE_S)

    def kill(self) -> None:
        """SIGKILL for all of its processes; what it had written stays."""
        members = self.processes()
        if self._process is not None:
            self._process.kill()
        for pid in members:
            _signal(pid, signal.SIGKILL)
        # One that was forked meanwhile may wait for ever for a lock that a killed one held.
        wait_for(lambda: not self._killed_again(), f"the end of {self.name}'s processes", self.log)
        self._gone()

    def _killed_again(self) -> list[int]:
        left = [pid for pid in self.processes() if pid != self.pid]
        for pid in left:
            _signal(pid, signal.SIGKILL)
        return left

    def _gone(self) -> None:
        """Wait for the end of all of its processes, after which another may take their place."""
        if self._process is not None:
            wait_for(lambda: self.pid is None, f"the end of {self.name}", self.log)
            self._process = None
        while self._helpers:
            helper = self._helpers.pop()
            helper.kill()
            helper.wait(PATIENCE_S)
        (self.directory / "pid").unlink(missing_ok=True)
        wait_for(lambda: not self.processes(), f"the end of {self.name}'s processes", self.log)

    def _first_start(self) -> None:
        """Start it; what cannot start leaves nothing behind."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def _down(self, number: signal.Signals) -> None:
        if self.pid is None:
            raise FailedError(f"{self.name} does not run{tail(self.log)}")
        os.kill(self.pid, number)
        self._gone()

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """What starts it on the port of now; called before each start."""

    @abstractmethod
    def _ready(self) -> bool:
        """Whether it answers."""

    def _environment(self) -> Mapping[str, str]:
        """What its environment has beyond ours."""
        return {}

    def _help(self, argv: Sequence[str | Path]) -> None:
        """Start a process that the first one needs; it ends after that."""
        self._helpers.append(self._spawn(argv, {}))

    def _spawn(self, argv: Sequence[str | Path], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start one of its processes; `environment` is added to ours."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                argv,
                cwd=self.directory,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._as_user,
            )

    def _run(self, argv: Sequence[str | Path]) -> str:
        """A command, to its end, as the server's user; what it prints.

        Raises:
            FailedError: it failed; the message is what it said.
        """
        done: subprocess.CompletedProcess[str] = subprocess.run(
            argv, cwd=self.directory, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **self._as_user
        )
        if done.returncode != 0:
            raise FailedError(f"{Path(argv[0]).name} failed: {done.stderr.strip()}")
        return done.stdout.strip()


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
