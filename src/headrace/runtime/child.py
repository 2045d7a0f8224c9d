"""The supervised child's half: takes its seat before the user's module is imported, then serves a worker.

seat = take_seat()
hr = load(app)                # on an error: seat.fail(message)
code = asyncio.run(seat.serve(build))
seat.leave(code)
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NoReturn, Protocol, runtime_checkable

from headrace.core.errors import HeadraceError
from headrace.core.model import WorkerId
from headrace.ports.clock import Clock
from headrace.ports.notifier import Notifier
from headrace.runtime.beat import Beat
from headrace.runtime.exec_child import BEAT_FD, CONTROL_FD, ROLE, SLOT_FD, STACK_FD, WORKER_ID
from headrace.runtime.orders import Deaf, Orders
from headrace.runtime.pipe import Pipe
from headrace.runtime.process import die_with_parent, leave_interrupts
from headrace.runtime.watchdog import Place, Watchdog, write_stacks_on_signal
from headrace.runtime.worker import Worker

log = logging.getLogger(__name__)

LEAVE_S: Final = 2.0
COUNTED_EVERY_S: Final = 1.0  # so much of what it counts is lost with a child that dies

Tasks = Iterable[tuple[str, Callable[..., Any]]]
Counts = Callable[[], Mapping[str, object] | None]


@runtime_checkable
class SlotAdopter(Protocol):
    """A store whose leases hang on a descriptor that a supervisor shares."""

    def adopt_slot(self, worker: WorkerId, fd: int) -> None:
        """Keep the lease's descriptor open until this process ends."""
        ...


@runtime_checkable
class Sayer(Protocol):
    """A notifier that need not listen."""

    def only_say(self) -> None:
        """Hear nothing after the next `start`."""
        ...


def take_seat() -> "Seat":
    """The first thing a child does: it dies with its supervisor from here on, and leaves Ctrl-C to it.

    Raises:
        KeyError: no supervisor started this process.
    """
    die_with_parent()
    leave_interrupts()
    return Seat()


class Seat:
    """What a supervisor gave its child: a worker id, a role, and the descriptors."""

    def __init__(self) -> None:
        """Take them out of the environment, so that nothing this process starts believes they are its own."""
        self.worker_id: Final[WorkerId] = os.environ.pop(WORKER_ID)
        self.role: Final = os.environ.pop(ROLE)
        self.supervisor_pid: Final = os.getppid()
        self.beat: Final = Beat.adopt(int(os.environ.pop(BEAT_FD)))
        slot_fd = os.environ.pop(SLOT_FD, None)
        self.slot_fd: Final = None if slot_fd is None else int(slot_fd)
        if self.slot_fd is not None:
            os.set_inheritable(self.slot_fd, False)
        self._socket: Final = socket.socket(fileno=int(os.environ.pop(CONTROL_FD)))
        self._socket.set_inheritable(False)
        self._orders: Orders | None = None
        write_stacks_on_signal(int(os.environ.pop(STACK_FD)))

    def fail(self, message: str) -> None:
        """Tell the supervisor why there will be no worker; end the process after this."""
        self._socket.sendall(Pipe.encode({"op": "fatal", "message": message}))

    def adopt(self, store: object) -> None:
        """Give the lease's descriptor to the store that was opened here, before a worker registers."""
        if self.slot_fd is not None and isinstance(store, SlotAdopter):
            store.adopt_slot(self.worker_id, self.slot_fd)

    def hush(self, notifier: Notifier) -> Notifier:
        """The notifier that fits the role, before it starts: who runs suspects is woken by the supervisor only."""
        if self.role != "suspects":
            return notifier
        if isinstance(notifier, Sayer):
            notifier.only_say()
        return Deaf(notifier)

    def idle(self) -> None:
        """Nothing left to claim; the supervisor hears it once after each time it woke this child."""
        if self._orders is not None:
            self._orders.idle()

    async def serve(
        self,
        build: Callable[["Seat"], Awaitable[Worker]],
        tasks: Callable[[], Tasks],
        clock: Clock,
        blocked_s: float = 0.5,
        counts: Counts | None = None,
    ) -> int:
        """Run the worker until the supervisor drains it; the exit code.

        `build` hushes the notifier, opens the store, gives it to `adopt` and makes the worker with `worker_id`,
        `role`, `beat`, that notifier and `idle`. `tasks` names the functions that a stack may show. `counts`
        gives what was counted since it was last asked, for the supervisor's metrics.
        """
        loop = asyncio.get_running_loop()
        pipe = await Pipe.open(self._socket)
        self._orders = orders = Orders(self.worker_id, pipe.send)
        loop.add_signal_handler(signal.SIGTERM, lambda: pipe.send({"op": "leaving"}))
        try:
            worker = await build(self)
        except HeadraceError as error:
            pipe.send({"op": "fatal", "message": str(error)})
            await pipe.flush()
            return 1
        named = list(tasks())
        watchdog = Watchdog(self.beat, clock, named, blocked_s)
        running = loop.create_task(worker.run())
        listening = loop.create_task(
            self._listen(pipe, orders, worker)
        )  # after it: by then the worker can be spoken to
        telling = None if counts is None else loop.create_task(_tell(pipe, clock, counts))
        places = [place for name, function in named if (place := Place.of(name, function)) is not None]
        pipe.send({"op": "ready", "places": [[each.task, each.file, each.first, each.last] for each in places]})
        watchdog.start()
        try:
            await running
        finally:
            watchdog.stop()
            listening.cancel()
            if telling is not None and counts is not None:
                telling.cancel()
                _tell_once(pipe, counts)
            await pipe.flush()
            loop.remove_signal_handler(signal.SIGTERM)
        return 0

    def leave(self, code: int) -> NoReturn:
        """End the process, at the latest when threads that were left behind have had a moment."""
        timer = threading.Timer(LEAVE_S, os._exit, (code,))
        timer.daemon = True
        timer.start()
        sys.exit(code)

    async def _listen(self, pipe: Pipe, orders: Orders, worker: Worker) -> None:
        while (message := await pipe.receive()) is not None:
            try:
                await orders.obey(message, worker)
            except HeadraceError as error:
                log.warning("%s: %s", message["op"], error)
        # The supervisor is gone, and with it whoever renews the lease: so are we.
        os.kill(os.getpid(), signal.SIGKILL)


async def _tell(pipe: Pipe, clock: Clock, counts: Counts) -> None:
    while True:
        await clock.sleep(COUNTED_EVERY_S)
        _tell_once(pipe, counts)


def _tell_once(pipe: Pipe, counts: Counts) -> None:
    """Tell what was counted; while the supervisor does not read, it is counted on and told later."""
    if pipe.clear and (counted := counts()) is not None:
        pipe.send({"op": "counted", "counts": counted})
