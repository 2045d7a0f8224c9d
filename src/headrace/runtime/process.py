"""Child processes: started by exec, watched without polling, dead when their parent is.

Never a fork of this process: SQLite connections and locks that a user's module opened must not
cross one. Only the descriptors that are named reach a child.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Final

log = logging.getLogger(__name__)

PARENT_PID: Final = "HEADRACE_PARENT_PID"
_PR_SET_PDEATHSIG: Final = 1


class Process:
    """One child and its end.

    Start it on a thread that outlives it: Linux takes the end of that thread for the parent's.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        pass_fds: Sequence[int] = (),
        own_group: bool = False,
        leaves_interrupts: bool = False,
    ) -> None:
        """Start it.

        `own_group` keeps the terminal's signals away and lets `kill` reach its own children. With `leaves_interrupts`
        it calls `leave_interrupts`, and Ctrl-C does not reach it while it is loaded either.
        """
        self._loop: Final = asyncio.get_running_loop()
        self._own_group: Final = own_group
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT} if leaves_interrupts else ())
        try:
            self._popen: Final = subprocess.Popen(  # noqa: S603 - the program that the caller names
                list(argv),
                stdin=subprocess.DEVNULL,
                env={**os.environ, **env, PARENT_PID: str(os.getpid())},
                pass_fds=tuple(pass_fds),
                process_group=0 if own_group else None,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.pid: Final = self._popen.pid
        self.ended: Final[asyncio.Future[int]] = self._loop.create_future()
        self._pidfd = -1
        self._stopped = False
        self._watch()

    @property
    def alive(self) -> bool:
        """Whether its end has not been seen."""
        return not self.ended.done()

    @property
    def stopped(self) -> bool:
        """Whether a signal such as SIGSTOP holds it, by the last report of the kernel (not on older macOS)."""
        if self.alive and hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                while (news := os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WCONTINUED | os.WNOHANG)) is not None:
                    self._stopped = news.si_code == os.CLD_STOPPED
        return self._stopped

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; nothing if it has ended."""
        if not self.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._own_group:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)

    async def wait(self) -> int:
        """Its exit code; minus the signal's number if one killed it."""
        return await asyncio.shield(self.ended)

    def _watch(self) -> None:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(self.pid)
        if self._pidfd >= 0:
            self._loop.add_reader(self._pidfd, self._on_end)
        else:
            threading.Thread(target=self._await_end, name=f"headrace-wait-{self.pid}", daemon=True).start()

    def _on_end(self) -> None:
        code = self._popen.poll()
        if code is None:  # a spurious wake-up
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._finish(code)

    def _await_end(self) -> None:
        code = self._popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever wanted to know
            self._loop.call_soon_threadsafe(self._finish, code)

    def _finish(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies; ends it at once if that has happened.

    Where there is no such kernel (macOS), the end of the socket to the parent has to do.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            log.warning("cannot ask the kernel to end this process with its parent: errno %d", ctypes.get_errno())
    parent = os.environ.pop(PARENT_PID, None)  # not for the children of this process to believe
    if parent is not None and os.getppid() != int(parent):
        os._exit(1)


def leave_interrupts() -> None:
    """Have Ctrl-C mean nothing to this process: its parent says when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # what came meanwhile is gone


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exited with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"
