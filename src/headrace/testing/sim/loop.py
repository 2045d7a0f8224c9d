"""An asyncio event loop in virtual time: one per simulated process.

It has no selector, no threads and no clock of its own; a `Node` runs its callbacks when the
timeline says so. Invariant: what production code awaits on it takes virtual time only.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple
from weakref import WeakSet

if TYPE_CHECKING:
    from headrace.testing.sim.node import Node

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class NodeLoop(asyncio.AbstractEventLoop):
    """The part of an event loop that Headrace's runtime uses; everything else is not implemented."""

    def __init__(self, node: "Node") -> None:
        """The loop of this process."""
        self.node = node
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.signals: dict[int, Callable[[], object]] = {}

    def time(self) -> float:
        """The process's own monotonic clock."""
        return self.node.clock.now()

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """In this turn of the loop."""
        handle = asyncio.Handle(callback, args, self, context)
        self.node.ready(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """There are no threads here."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """After `delay` seconds of the process's clock."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """At `when` of the process's clock."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.node.wake_at(when, handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        """A task of this process; it ends with it."""
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self.tasks.add(task)
        return task

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """What a signal does from now on."""
        self.signals[sig] = lambda: callback(*args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Whether there was one."""
        return self.signals.pop(sig, None) is not None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """An exception that nobody took."""
        self.node.unhandled(context)

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Always."""
        return True

    def is_closed(self) -> bool:
        """Once its process is dead."""
        return self.node.dead

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is skipped when it comes up."""
