"""One supervised child: its process, its worker id, its lease's descriptor, and what is said to it."""

import asyncio
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from headrace.core.model import Lease, WorkerId
from headrace.ports.clock import Clock
from headrace.runtime.beat import Beat
from headrace.runtime.pipe import Message, Pipe
from headrace.runtime.process import Process
from headrace.runtime.watchdog import STACKS_SIGNAL, Place

log = logging.getLogger(__name__)

WORKER_ID: Final = "HEADRACE_WORKER_ID"
ROLE: Final = "HEADRACE_ROLE"
CONTROL_FD: Final = "HEADRACE_CONTROL_FD"
SLOT_FD: Final = "HEADRACE_SLOT_FD"
BEAT_FD: Final = "HEADRACE_BEAT_FD"
STACK_FD: Final = "HEADRACE_STACK_FD"
STACKS_WAIT_S: Final = 0.02
STACKS_BYTES_MAX: Final = 16_384


class Ward:
    """A child from its start to its end."""

    def __init__(
        self, worker_id: WorkerId, role: str, argv: Sequence[str], slot_fd: int | None, *, extra: bool
    ) -> None:
        """Start it. `slot_fd` stays the store's, the child shares it; an `extra` one ends when it is idle."""
        self.extra: Final = extra
        self.worker_id: Final = worker_id
        self.role: Final = role
        self.beat: Final = Beat.create()
        self.ready = False
        self.idle = False
        self.leaving = False  # it was asked to end
        self.stopped = False  # by a signal, when its lease was last due
        self.killed_for: str | None = None
        self.fatal: str | None = None
        self.renewed_at = 0.0
        self.held_since = 0.0  # the last beat before a stall that was reported
        self._stacks: Final = tempfile.TemporaryFile(prefix="headrace-stacks-", buffering=0)  # noqa: SIM115
        self._pipe: Pipe | None = None
        self._places: tuple[Place, ...] = ()
        ours, theirs = socket.socketpair()
        self._socket: Final = ours
        with theirs:
            fds = {CONTROL_FD: theirs.fileno(), BEAT_FD: self.beat.fd, STACK_FD: self._stacks.fileno()}
            if slot_fd is not None:
                fds[SLOT_FD] = slot_fd
            env = {WORKER_ID: worker_id, ROLE: role, **{name: str(fd) for name, fd in fds.items()}}
            self.process: Final = Process(argv, env=env, pass_fds=tuple(fds.values()))

    def __str__(self) -> str:
        """As log lines name it."""
        return f"{self.worker_id} ({self.role}, pid {self.process.pid})"

    @property
    def places(self) -> tuple[Place, ...]:
        """Where its tasks stand; empty until it is ready."""
        return self._places

    async def serve(self, told: Callable[["Ward", str], None]) -> int:
        """Listen until the process ends; `told` hears what it says. Returns its exit code."""
        self._pipe = pipe = await Pipe.open(self._socket)
        listening = asyncio.get_running_loop().create_task(self._listen(pipe, told))
        try:
            code = await self.process.wait()
            # What it said before it ended is here by now; a process that it left behind may hold its socket.
            await asyncio.wait([listening], timeout=STACKS_WAIT_S)
            return code
        finally:
            listening.cancel()
            pipe.close()

    async def _listen(self, pipe: Pipe, told: Callable[["Ward", str], None]) -> None:
        while (message := await pipe.receive()) is not None:
            match message["op"]:
                case "ready":
                    self._places = tuple(Place(*place) for place in message["places"])
                    self.ready = True
                case "fatal":
                    self.fatal = message["message"]
                case "idle":
                    self.idle = True
                case _:
                    pass
            told(self, message["op"])

    def _send(self, message: Message) -> None:
        if self._pipe is not None:
            self._pipe.send(message)

    def wake(self) -> None:
        """There may be suspects to claim."""
        self.idle = False
        self._send({"op": "wake"})

    def cancel(self, leases: Iterable[Lease]) -> None:
        """Someone asked to cancel these attempts."""
        self._send({"op": "cancel", "leases": [[lease.id.hex(), lease.fence] for lease in leases]})

    def drain(self, grace_s: float) -> None:
        """Ask it to end; before it can listen, it has nothing to drain."""
        self.leaving = True
        if self.ready:
            self._send({"op": "drain", "grace_s": grace_s})
        else:
            self.killed_for = "it was not up yet"
            self.process.kill()

    def lose(self) -> None:
        """Its lease had ended: its attempts are others' now."""
        self.leaving = True
        self._send({"op": "lost"})

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
        """Let go of what belongs to a child that has ended."""
        self.beat.close()
        self._stacks.close()
        if self._pipe is None:
            self._socket.close()
