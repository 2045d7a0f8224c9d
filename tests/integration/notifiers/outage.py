"""What tests do to a server: let it stand still, kill it, start it again."""

import os
import signal
from typing import Protocol

from servers.server import wait_for


class Starts(Protocol):
    def start(self) -> None: ...

    def kill(self) -> None: ...

    def processes(self) -> list[int]: ...


class ServerOutage:
    """A `testing.conformance.Outage` of one of `servers`."""

    def __init__(self, server: Starts) -> None:
        self._server = server

    def cut(self) -> None:
        for pid in self._server.processes():
            os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: all(_state(pid) in "TZX" for pid in self._server.processes()), "the stop of a server")

    def mend(self) -> None:
        for pid in self._server.processes():
            os.kill(pid, signal.SIGCONT)

    def down(self) -> None:
        self._server.kill()

    def up(self) -> None:
        self._server.start()


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:  # noqa: PTH123 - no file
            return stat.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"
