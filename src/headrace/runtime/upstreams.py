"""The upstreams of this process, and how each hears of the fleet: by looking twice a second, and by amending.

Invariant: of one upstream at most one word of this process is on its way to the store.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from headrace.core.errors import HeadraceError, InvalidConfig
from headrace.core.fleet import HOLDING, Fleet, Said, Terms, Told
from headrace.core.model import Json
from headrace.ports.clock import Clock
from headrace.ports.notifier import Notifier
from headrace.ports.store import Amendment, Store
from headrace.runtime.guard import UpstreamGuard, UpstreamPolicy

if TYPE_CHECKING:
    from headrace.runtime.needs import Needs

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.5
AGAIN_S: Final = 1.0  # after the store could not be asked
ASK_S: Final = 5.0  # that a call waits for the fleet's answer
CLOSE_S: Final = 2.0  # for a last word
UNUSED_S: Final = 1.0  # after which a permit that nobody took goes back
HINT: Final = "upstream"
OWN: Final = "headrace:"
"""So begin the names of documents that are no upstream's."""


class Upstreams:
    """One per process; it lives on the loop on which it was started."""

    def __init__(
        self,
        store: Store,
        notifier: Notifier,
        clock: Clock,
        *,
        open_: Callable[[], Awaitable[None]],
        wait: Callable[[Coroutine[Any, Any, None], str], None],
    ) -> None:
        """`open_` opens the store and starts this; `wait` blocks a thread until a coroutine is done on that loop."""
        self.process = _name()  # what the fleet knows this process by
        self._pid = os.getpid()
        self.guards: dict[str, UpstreamGuard] = {}
        self._store = store
        self._notifier = notifier
        self._clock = clock
        self._open = open_
        self._wait = wait
        self._needs: list[Needs] = []
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poked: asyncio.Event | None = None
        self._looking: asyncio.Future[None] | None = None
        self._saying: dict[str, asyncio.Future[None]] = {}
        self._unheard = False
        self._open_at = float("-inf")

    def now(self) -> float:
        """The clock's instant."""
        return self._clock.now()

    # -- definitions ----------------------------------------------------------------------------

    def add(self, name: str, policy: UpstreamPolicy) -> UpstreamGuard:
        """A guard for an upstream.

        Raises:
            InvalidConfig: the name is taken by one with other policies.
        """
        known = self.guards.get(name)
        if known is not None:
            if known.policy != policy:
                raise InvalidConfig(
                    f"the upstream {name!r} is defined twice, with other policies: define it once and import it"
                )
            return known
        guard = self.guards[name] = UpstreamGuard(name, policy, self, self._clock)
        if self._loop is not None and self._task is None:  # the first one, and the store is open
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self.start)
        return guard

    def hold(self, needs: Iterable[str]) -> bool:
        """Whether one of these upstreams holds the tasks that need it, as far as is known here."""
        states = (guard.core.state for name in needs if (guard := self.guards.get(name)) is not None)
        return any(state in HOLDING for state in states)

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to hear of the fleet on this loop, if there is an upstream and no other loop does it. Idempotent."""
        if self.alive and self._task is not None:
            return
        self._rename()
        self._saying.clear()  # of a loop that has ended
        self._looking = None
        self._loop = asyncio.get_running_loop()
        if self.guards:
            self._poked = asyncio.Event()
            self._task = self._loop.create_task(self._run())

    @property
    def alive(self) -> bool:
        """Whether the loop that it lives on runs."""
        return self._loop is not None and self._loop.is_running()

    def known_as(self, process: str) -> None:
        """Have the fleet know this process by a name that no other has or had; before it has spoken."""
        self.process = process
        for guard in self.guards.values():
            with guard.lock:
                guard.core.known_as(process)

    def _rename(self) -> None:
        """A process that was forked from the one that defined its upstreams is another one."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self.known_as(_name())

    async def _begin(self) -> None:
        """Have the store opened, and this started with it; not again at once where that failed."""
        if self._clock.now() < self._open_at:
            return
        try:
            await self._open()
            self.start()
        except HeadraceError as error:
            self._open_at = self._clock.now() + AGAIN_S
            self._not_heard(error)

    async def stop(self) -> None:
        """Say what is still to be said, and end; from any loop."""
        loop = self._loop
        if loop is None or loop is asyncio.get_running_loop():
            await self._stop()
        elif loop.is_running():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._stop(), loop))
        else:
            self._loop = self._task = None

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is None:
            self._loop = None
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        left = [*self._saying.values(), *([self._looking] if self._looking is not None else [])]
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if not self._unheard:
            with suppress(TimeoutError, HeadraceError):
                async with asyncio.timeout(CLOSE_S):
                    await asyncio.gather(*(self._leave(guard) for guard in self.guards.values()))
        self._loop = self._poked = None

    async def _leave(self, guard: UpstreamGuard) -> None:
        """Give back what is held, and say what is still to be said."""
        with guard.lock:
            said = guard.core.farewell(self._clock.now())
        if said is not None:
            told = await self._store.amend(guard.name, partial(_amended, said, guard.policy.terms))
            with guard.lock:
                guard.core.told(told, self._clock.now(), said)

    def poke(self) -> None:
        """There is something to say, or to allow; from any thread."""
        loop, poked = self._loop, self._poked
        if loop is None or poked is None or poked.is_set():
            return
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(poked.set)

    async def _run(self) -> None:
        forget = self._notifier.subscribe((HINT,), lambda _: self._look_soon())
        poked = self._poked
        assert poked is not None  # noqa: S101 - `start` made it
        self._look_at = 0.0
        try:
            while True:
                poked.clear()
                try:
                    self._turn()
                except Exception:
                    logger.exception("upstreams: a turn failed; going on")
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S / 2):
                        await poked.wait()
        finally:
            forget()

    def _look_soon(self) -> None:
        self._look_at = 0.0
        self.poke()

    def _turn(self) -> None:
        now = self._clock.now()
        if now >= self._look_at and (self._looking is None or self._looking.done()):
            self._look_at = now + LOOK_EVERY_S
            self._looking = asyncio.ensure_future(self._look())
        for needs in tuple(self._needs):
            needs.turn(self._clock.now())
        for guard in self.guards.values():
            with guard.lock:
                guard.core.drop_free_permits(self._clock.now(), UNUSED_S)
        for guard in self._due():
            _ = self._saying_of(guard)

    def _due(self) -> list[UpstreamGuard]:
        now = self._clock.now()
        due: list[UpstreamGuard] = []
        for guard in self.guards.values():
            with guard.lock:
                if guard.core.due(now):
                    due.append(guard)
        return due

    # -- the fleet ------------------------------------------------------------------------------

    async def _look(self) -> None:
        try:
            at, documents = await self._store.upstreams()
        except HeadraceError as error:
            self._not_heard(error)
            return
        self._unheard = False
        now = self._clock.now()
        news = False
        for name, guard in self.guards.items():
            text = documents.get(name)
            if text is not None:
                told = Fleet.of(text, at).tell(self.process, guard.policy.terms)
                with guard.lock:
                    known = guard.core.generation
                    guard.core.told(told, now)
                    news = news or guard.core.generation != known
        if news:
            self.poke()

    async def ask(self, guard: UpstreamGuard, *, permits: bool = True) -> None:
        """Have the fleet asked for what a call lacks, now; not while it is out of reach."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ASK_S):
                if not self.alive or self._task is None:
                    await self._begin()
                loop = self._loop
                if loop is None or self._task is None or self._unheard:
                    return
                if loop is asyncio.get_running_loop():
                    await self._ask(guard, permits)
                else:
                    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._ask(guard, permits), loop))

    def ask_sync(self, guard: UpstreamGuard, *, permits: bool = True) -> None:
        """As `ask`, from a thread."""
        self._wait(self.ask(guard, permits=permits), f"async with {guard.name}")

    async def _ask(self, guard: UpstreamGuard, permits: bool) -> None:
        guard.asking += permits
        try:
            if permits and guard.name in self._saying:  # that word was made before this was asked
                await self.say(guard)
            with guard.lock:
                guard.core.ask_permits(self._clock.now(), guard.asking)
            await self.say(guard)
        finally:
            guard.asking -= permits

    async def say(self, guard: UpstreamGuard) -> None:
        """Bring this process's word to the store, and hear the answer."""
        await asyncio.wait((self._saying_of(guard),))

    def _saying_of(self, guard: UpstreamGuard) -> "asyncio.Future[None]":
        saying = self._saying.get(guard.name)
        if saying is None:
            saying = self._saying[guard.name] = asyncio.ensure_future(self._say(guard))
        return saying

    async def _say(self, guard: UpstreamGuard) -> None:
        try:
            with guard.lock:
                said = replace(guard.core.said(self._clock.now()), tasks=guard.tasks)
            told = await self._store.amend(guard.name, partial(_amended, said, guard.policy.terms))
        except HeadraceError as error:
            self._not_heard(error)
            await self._clock.sleep(AGAIN_S)
        else:
            with guard.lock:
                guard.core.told(told, self._clock.now(), said)
            guard.heard()
            self.poke()
        finally:
            self._saying.pop(guard.name, None)

    def _not_heard(self, error: HeadraceError) -> None:
        if not self._unheard:
            self._unheard = True
            logger.warning("upstreams: the fleet cannot be asked (%s); going on with what is known here", error)

    # -- workers ----------------------------------------------------------------------------------

    def join(self, needs: "Needs") -> Callable[[], None]:
        """Have a worker told what its upstreams allow; returns what ends that."""
        self._needs.append(needs)
        self.start()
        needs.turn(self._clock.now())
        return partial(self._needs.remove, needs)


async def forget(store: Store, process: str) -> None:
    """Free what a process that is dead, for certain, was lent of any upstream."""
    _, documents = await store.upstreams()
    for name, text in documents.items():
        if not name.startswith(OWN) and Fleet.read(text).forget(process):
            await store.amend(name, partial(forgotten, process))


def forgotten(process: str, document: Json | None, now: float) -> Amendment[None]:
    """The document without a process that is dead."""
    fleet = Fleet.of(document, now)
    return Amendment(None, fleet.text, tell=True) if fleet.forget(process) else Amendment(None)


def _name() -> str:
    return f"p_{secrets.token_hex(6)}"


def _amended(said: Said, terms: Terms, document: Json | None, now: float) -> Amendment[Told]:
    fleet = Fleet.of(document, now)
    before = fleet.generation
    told = fleet.hear(said, terms)
    return Amendment(told, fleet.text, tell=fleet.generation != before)
