"""A supervised child that is a process of its own, started by exec: its descriptors, its pipe, its signs of life."""

import os
import socket
import tempfile
from collections.abc import Sequence
from typing import Final

from headrace.core.model import WorkerId
from headrace.ports.clock import Clock
from headrace.runtime.beat import Beat
from headrace.runtime.pipe import Pipe
from headrace.runtime.process import Process
from headrace.runtime.watchdog import STACKS_SIGNAL

WORKER_ID: Final = "HEADRACE_WORKER_ID"
ROLE: Final = "HEADRACE_ROLE"
CONTROL_FD: Final = "HEADRACE_CONTROL_FD"
SLOT_FD: Final = "HEADRACE_SLOT_FD"
BEAT_FD: Final = "HEADRACE_BEAT_FD"
STACK_FD: Final = "HEADRACE_STACK_FD"
STACKS_WAIT_S: Final = 0.02
STACKS_BYTES_MAX: Final = 16_384


class ExecChild:
    """A `ward.Link` to a real process."""

    def __init__(self, argv: Sequence[str], worker_id: WorkerId, role: str, slot_fd: int | None) -> None:
        """Start it. `slot_fd` stays the store's, the child shares it."""
        self.beat: Final = Beat.create()
        self._stacks: Final = tempfile.TemporaryFile(prefix="headrace-stacks-", buffering=0)  # noqa: SIM115
        self._pipe: Pipe | None = None
        ours, theirs = socket.socketpair()
        self._socket: Final = ours
        with theirs:
            fds = {CONTROL_FD: theirs.fileno(), BEAT_FD: self.beat.fd, STACK_FD: self._stacks.fileno()}
            if slot_fd is not None:
                fds[SLOT_FD] = slot_fd
            env = {WORKER_ID: worker_id, ROLE: role, **{name: str(fd) for name, fd in fds.items()}}
            self.process: Final = Process(argv, env=env, pass_fds=tuple(fds.values()), leaves_interrupts=True)

    async def open(self) -> Pipe:
        """The pipe to it."""
        self._pipe = await Pipe.open(self._socket)
        return self._pipe

    async def stacks(self, clock: Clock) -> str:
        """The stack of each of its threads, whatever it does; empty if it does not answer."""
        if self._stacks.closed:
            return ""
        fd = os.dup(self._stacks.fileno())  # the child may end, and be closed, while this waits
        try:
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            self.process.kill(STACKS_SIGNAL)
            size = 0
            for _ in range(10):
                await clock.sleep(STACKS_WAIT_S)
                before, size = size, os.fstat(fd).st_size
                if size and size == before:
                    break
            return os.pread(fd, STACKS_BYTES_MAX, 0).decode(errors="replace")
        finally:
            os.close(fd)

    def close(self) -> None:
        """Let go of the descriptors."""
        self.beat.close()
        self._stacks.close()
        if self._pipe is None:
            self._socket.close()
