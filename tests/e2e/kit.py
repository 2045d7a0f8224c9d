"""What the end-to-end tests hold: programs as a person starts them, and the lab as its page sees it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

T = TypeVar("T")

HEADRACE = Path(sys.executable).parent / "headrace"
STEP_S = 0.02


def until(look: Callable[[], T | None], what: str, within: float = 25.0) -> T:
    """What `look` finds, as soon as it finds something true."""
    end = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{what}: not within {within:g} s"
        time.sleep(STEP_S)


def clean_env(**extra: str) -> dict[str, str]:
    """This environment without settings of ours that a developer may have."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "PHOTO_LAB_"))}
    return {**kept, "NO_COLOR": "1", "PYTHONFAULTHANDLER": "", **extra}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def answer(*args: str, cwd: Path, within: float = 20.0, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a `headrace` command to its end."""
    return subprocess.run(
        [HEADRACE, *args],
        cwd=cwd,
        env=clean_env(**env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )


def members(session: int) -> dict[int, str]:
    """The processes of a session that still live, and what they run; zombies are dead."""
    listed = subprocess.run(["ps", "-axo", "pid=,stat=,command="], capture_output=True, text=True, check=True).stdout
    found: dict[int, str] = {}
    for line in listed.splitlines():
        pid, stat, command = line.split(None, 2)
        with suppress(ProcessLookupError, PermissionError):
            if not stat.startswith("Z") and os.getsid(int(pid)) == session:
                found[int(pid)] = command
    return found


class Program:
    """A `headrace` command that goes on, in a session of its own, with its output in files."""

    def __init__(
        self,
        *args: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        users_fault: bool = False,
        program: Path = HEADRACE,
    ) -> None:
        """Where it is no `users_fault`, a traceback on stderr fails the test."""
        self._users_fault = users_fault
        number = len(list(cwd.glob("program-*.out")))
        self._paths = {name: cwd / f"program-{number}.{name}" for name in ("out", "err")}
        with self._paths["out"].open("wb") as out, self._paths["err"].open("wb") as err:
            self.process = subprocess.Popen(
                [program, *args],
                cwd=cwd,
                env=clean_env(**(env or {})),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        for pid in members(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(5)
        if error is not None:
            error.add_note(f"--- stdout\n{self.out}--- stderr\n{self.err}")
        elif not self._users_fault:
            assert "Traceback" not in self.err, self.err

    @property
    def out(self) -> str:
        """What it wrote on stdout so far."""
        return self._paths["out"].read_text("utf-8")

    @property
    def err(self) -> str:
        """What it wrote on stderr so far."""
        return self._paths["err"].read_text("utf-8")

    def said(self, pattern: str, within: float = 20.0) -> re.Match[str]:
        """Wait until it said this, on either stream."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.out, re.MULTILINE) or re.search(pattern, self.err, re.MULTILINE)
            assert found or self.process.poll() is None, f"it ended with {self.process.returncode}: {self.err}"
            return found

        return until(look, f"saying {pattern!r}", within)

    def ctrl_c(self, within: float = 15.0) -> int:
        """What a terminal does on Ctrl-C, and the exit code."""
        os.killpg(self.pid, signal.SIGINT)
        return self.process.wait(within)

    def sigterm(self, within: float = 15.0) -> int:
        """What a service manager and `docker stop` do: only its own process hears of it. The exit code."""
        self.process.terminate()
        return self.process.wait(within)

    def below(self) -> dict[int, str]:
        """The processes that it started and that live, whoever their parent is now."""
        return {pid: command for pid, command in members(self.pid).items() if pid != self.pid}


class Lab:
    """A running photo lab, asked over HTTP as its page asks it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=20)

    def close(self) -> None:
        self.http.close()

    def jobs(self) -> list[dict[str, Any]]:
        """Every photograph of the lab, newest first."""
        found: list[dict[str, Any]] = self.http.get("/lab/photos").raise_for_status().json()
        return found

    def job(self, name: str) -> dict[str, Any]:
        """The newest photograph of this name, as the API shows its job."""
        found = next(each for each in self.jobs() if each["name"] == name)
        view: dict[str, Any] = self.http.get(f"/headrace/api/jobs/{found['job_id']}").raise_for_status().json()
        return view

    def attempts(self, job: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (
            self.http.get(f"/headrace/api/jobs/{job}/attempts").raise_for_status().json()["attempts"]
        )
        return found

    def feed(self, job: str, last: str) -> list[tuple[str, dict[str, Any]]]:
        """Every update of an ended job's feed, as (event, data), from its very first one on."""
        start = f"{last.partition(':')[0]}:0"
        events: list[tuple[str, dict[str, Any]]] = []
        with self.http.stream(
            "GET", f"/headrace/api/jobs/{job}/updates", headers={"Last-Event-ID": start, "Accept": "text/event-stream"}
        ) as stream:
            stream.raise_for_status()
            name = ""
            for line in stream.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    events.append((name, httpx.Response(200, text=value).json()))
        return events

    def pids(self) -> list[int]:
        """The worker processes, the busiest first."""
        found: list[int] = self.http.get("/lab/worker").raise_for_status().json()["pids"]
        return found


def sentence(run: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr with which a command refuses, checked for its form."""
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("headrace: "), run.stderr
    assert "; " in lines[0], f"no remedy: {run.stderr}"
    assert "this should not happen" not in lines[0]
    assert run.stdout == ""
    return lines[0]
