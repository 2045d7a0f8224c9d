"""Simulated machines and processes: their clocks, their pauses, their ends."""

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from headrace.testing.sim import events as e
from headrace.testing.sim.loop import NodeLoop
from headrace.testing.sim.timeline import Livelock, Timeline

if TYPE_CHECKING:
    from headrace.core.model import WorkerId
    from headrace.testing.sim.services import Calls

EPOCH_AT = 1_800_000_000.0
CLOSE_TRIES = 100
TICK_S = 1e-6
SPINS_MAX, SPIN_WINDOW_S = 500, 0.01


class Machine:
    """One machine: its processes share two clocks, and a cable to the store."""

    def __init__(self, name: str, timeline: Timeline, *, rate: float = 1.0, skew_s: float = 0.0) -> None:
        """`rate` is how fast its clocks go, `skew_s` how far its wall clock is off."""
        self.name = name
        self.timeline = timeline
        self.rate = rate
        self.skew_s = skew_s
        self.cut_off = False  # from the store
        self.off = False  # without power
        self.nodes: list[Node] = []

    def now(self) -> float:
        """Monotonic seconds."""
        return self.timeline.now * self.rate

    def wall(self) -> float:
        """What its wall clock shows."""
        return EPOCH_AT + self.timeline.now * self.rate + self.skew_s

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of its clock, on whatever loop runs."""
        await asyncio.sleep(seconds)


class Node:
    """One process: an event loop that can be paused, and that ends without a word."""

    def __init__(
        self,
        name: str,
        machine: Machine,
        tell: Callable[[e.Event], None],
        unhandled: Callable[["Node", dict[str, Any]], None],
    ) -> None:
        """It runs at once. `tell` hears what it does, `unhandled` of exceptions that nobody took."""
        self.name = name
        self.machine = machine
        self.clock = machine
        self._tell = tell
        self.worker: WorkerId | None = None
        self.parent: Node | None = None  # the supervisor that started it
        self.calls: Calls | None = None  # how it calls services, where a world has some
        self.dead = False
        self.stopped = False  # by a signal, so that its parent can see it
        self.loop = NodeLoop(self)  # type: ignore[abstract]  # what is missing is not used
        self.on_death: list[Callable[[int], None]] = []
        self._unhandled = unhandled
        self._ready: deque[asyncio.Handle] = deque()
        self._turning = False
        self._hurried_since, self._hurries = 0.0, 0
        self._paused_until = 0.0
        self._exit_code: int | None = None
        machine.nodes.append(self)

    def __repr__(self) -> str:
        return self.name

    # -- running --------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> Callable[[], object]:
        """Start a task in this process, from outside of it; returns what cancels it."""
        if self.ending:
            work.close()
            return bool
        return self.loop.create_task(work).cancel

    def ready(self, handle: asyncio.Handle) -> None:
        """Run it in this turn."""
        if self.dead:
            return
        self._ready.append(handle)
        if not self._turning:
            self._turning = True
            self.machine.timeline.at(self._paused_until, self._turn)

    def wake_at(self, when: float, handle: asyncio.Handle) -> None:
        """Run it when the process's clock shows `when`; as with real timers, some time passes first."""
        if not self.dead:
            timeline = self.machine.timeline
            at = when / self.machine.rate
            if at <= timeline.now + TICK_S:
                self._hurry(timeline.now)
                at = timeline.now + TICK_S
            timeline.at(at, lambda: self._due(handle))

    def _hurry(self, now: float) -> None:
        """A timer for at once is one thing, hundreds of them in a moment are a processor at its limit."""
        if now - self._hurried_since > SPIN_WINDOW_S:
            self._hurried_since, self._hurries = now, 0
        self._hurries += 1
        if self._hurries > SPINS_MAX:
            self.unhandled({"message": f"{SPINS_MAX} timers for at once within {SPIN_WINDOW_S} s", "exception": None})

    def _due(self, handle: asyncio.Handle) -> None:
        if not handle.cancelled():
            self.ready(handle)

    def _turn(self) -> None:
        timeline = self.machine.timeline
        if timeline.now < self._paused_until:
            timeline.at(self._paused_until, self._turn)
            return
        events._set_running_loop(self.loop)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        try:
            turns = 0
            while self._ready and not self.ending and timeline.now >= self._paused_until and not timeline.stopped:
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                turns += 1
                if turns > CALLBACKS_PER_TURN_MAX:
                    raise Livelock(f"{self.name} runs and runs at {timeline.now:.3f} s: {handle!r}")
        finally:
            events._set_running_loop(None)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        self._turning = False
        if self._exit_code is not None:
            self._end(self._exit_code)
        elif self._ready and not self.dead:
            self._turning = True
            timeline.at(self._paused_until, self._turn)

    @property
    def ending(self) -> bool:
        """Whether nothing that it still does has an effect."""
        return self.dead or self._exit_code is not None

    def tell(self, event: e.Event) -> None:
        """It did something."""
        if not self.ending:
            self._tell(event)

    def unhandled(self, context: dict[str, Any]) -> None:
        """An exception that no task took."""
        if not self.ending:
            self._unhandled(self, context)

    def surprise(self, error: Exception) -> None:
        """A part of it failed that should not."""
        self.unhandled({"message": "failed", "exception": error})

    # -- pauses and the end ---------------------------------------------------------------------

    def pause(self, seconds: float, *, by_signal: bool = False) -> None:
        """Run nothing for so long: a signal, a frozen machine, or a loop that is blocked."""
        self.stopped = by_signal
        self._paused_until = max(self._paused_until, self.machine.timeline.now + seconds)

    def resume(self) -> None:
        """Run again."""
        if self.paused:
            self._paused_until = self.machine.timeline.now
            if self._ready:
                self.machine.timeline.at(self._paused_until, self._turn)

    @property
    def paused_until(self) -> float:
        """When its last pause ends, or ended."""
        return self._paused_until

    @property
    def paused(self) -> bool:
        """Whether it runs nothing now."""
        return self._paused_until > self.machine.timeline.now

    def kill(self, code: int = -9) -> None:
        """End it between two of its callbacks; its tasks never learn of it."""
        if self.ending:
            return
        if events._get_running_loop() is self.loop:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            self._exit_code = code  # it ends itself: after this callback
        else:
            self._end(code)

    def _end(self, code: int) -> None:
        self.dead = True
        if self in self.machine.nodes:
            self.machine.nodes.remove(self)
        for told in self.on_death:
            told(code)
        bury(self.loop)
        self._ready.clear()
        bury(self.loop)


def bury(loop: NodeLoop) -> None:
    """Unwind what a dead process was doing, so that nothing of it stays in this one. Nothing of it has an effect."""
    before = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    events._set_running_loop(loop)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]  # what it begins is its own
    try:
        for task in [task for task in loop.tasks if not task.done()]:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
            _unwind(task.get_coro())
    finally:
        events._set_running_loop(before)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _unwind(coroutine: Any) -> None:
    for _ in range(CLOSE_TRIES):
        try:
            with suppress(Exception):
                coroutine.close()
        except BaseException:  # noqa: BLE001, S112 - whatever a dying body raises
            continue
        if getattr(coroutine, "cr_frame", None) is None:
            break


CALLBACKS_PER_TURN_MAX = 20_000
