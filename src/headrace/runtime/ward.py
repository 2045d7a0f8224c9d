"""One supervised child as its supervisor knows it: what it said, what it was told, how it ended."""

import asyncio
import signal
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias, runtime_checkable

from headrace.core.model import Lease, WorkerId
from headrace.ports.clock import Clock
from headrace.ports.observer import SILENT, Observer
from headrace.runtime.beat import Beat
from headrace.runtime.pipe import Message
from headrace.runtime.watchdog import Place

LAST_WORDS_S: Final = 0.02  # for what a child said before it ended to arrive


class Child(Protocol):
    """The process of a child."""

    @property
    def pid(self) -> int:
        """Its number, for log lines."""
        ...

    @property
    def alive(self) -> bool:
        """Whether its end has not been seen."""
        ...

    @property
    def stopped(self) -> bool:
        """Whether a signal such as SIGSTOP holds it."""
        ...

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; nothing if it has ended."""
        ...

    async def wait(self) -> int:
        """Its exit code."""
        ...


class Words(Protocol):
    """The two-way channel to a child."""

    def send(self, message: Message) -> None:
        """Queue a message."""
        ...

    async def receive(self) -> Message | None:
        """The next message; None: the child is gone."""
        ...

    def close(self) -> None:
        """Let go of it. Idempotent."""
        ...


class Link(Protocol):
    """All that ties a supervisor to one child."""

    @property
    def process(self) -> Child:
        """The process itself."""
        ...

    @property
    def beat(self) -> Beat:
        """Its signs of life."""
        ...

    async def open(self) -> Words:
        """The channel, on the running loop; once."""
        ...

    async def stacks(self, clock: Clock) -> str:
        """The stack of each of its threads, whatever it does; empty if it does not answer."""
        ...

    def close(self) -> None:
        """Let go of what belongs to a child that has ended."""
        ...


Launch: TypeAlias = Callable[[WorkerId, str, int | None], Link]
"""Starts a child for a worker id and a role; the descriptor of its lease, if there is one, is shared with it."""


@runtime_checkable
class Slotted(Protocol):
    """A store whose leases hang on a descriptor that a child can share."""

    def slot_fd(self, worker: WorkerId) -> int:
        """The descriptor of this worker's lease."""
        ...


class Ward:
    """A child from its start to its end."""

    def __init__(self, worker_id: WorkerId, role: str, link: Link, *, extra: bool, observer: Observer = SILENT) -> None:
        """The child was started; an `extra` one ends when it is idle. `observer` is told what it counts."""
        self.extra: Final = extra
        self.worker_id: Final = worker_id
        self.role: Final = role
        self.process: Final = link.process
        self.beat: Final = link.beat
        self.ready = False
        self.idle = False
        self.leaving = False  # it was asked to end
        self.lost = False  # its lease has ended
        self.stopped = False  # by a signal, when its lease was last due
        self.killed_for: str | None = None
        self.fatal: str | None = None
        self.renewed_at = 0.0
        self.held_since = 0.0  # the last beat before a stall that was reported
        self._link: Final = link
        self._observer: Final = observer
        self._pipe: Words | None = None
        self._places: tuple[Place, ...] = ()

    def __str__(self) -> str:
        """As log lines name it."""
        return f"{self.worker_id} ({self.role}, pid {self.process.pid})"

    @property
    def places(self) -> tuple[Place, ...]:
        """Where its tasks stand; empty until it is ready."""
        return self._places

    async def serve(self, told: Callable[["Ward", str], None]) -> int:
        """Listen until the process ends; `told` hears what it says. Returns its exit code."""
        self._pipe = pipe = await self._link.open()
        listening = asyncio.get_running_loop().create_task(self._listen(pipe, told))
        try:
            code = await self.process.wait()
            # What it said before it ended is here by now; a process that it left behind may hold its socket.
            await asyncio.wait([listening], timeout=LAST_WORDS_S)
            return code
        finally:
            listening.cancel()
            pipe.close()

    async def _listen(self, pipe: Words, told: Callable[["Ward", str], None]) -> None:
        while (message := await pipe.receive()) is not None:
            match message["op"]:
                case "ready":
                    self._places = tuple(Place(*place) for place in message["places"])
                    self.ready = True
                case "fatal":
                    self.fatal = message["message"]
                case "idle":
                    self.idle = True
                case "counted":
                    self._observer.counted(message["counts"])
                case _:
                    pass
            told(self, message["op"])

    def _send(self, message: Message) -> None:
        if self._pipe is not None:
            self._pipe.send(message)

    def renewed(self, asked_at: float, lease_s: float) -> None:
        """Its lease lasts `lease_s` from then at least; the child reads so too."""
        self.renewed_at = asked_at
        self.beat.held_until = asked_at + lease_s

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
        self.leaving = self.lost = True
        self._send({"op": "lost"})

    async def stacks(self, clock: Clock) -> str:
        """The stack of each of its threads; see `Link.stacks`."""
        return await self._link.stacks(clock)

    def close(self) -> None:
        """Let go of what belongs to a child that has ended."""
        self._link.close()
