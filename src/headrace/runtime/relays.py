"""The relays of this process: one for each sink that has something and that this process can reach.

Invariant: a relay that ended by a fault is made anew when something waits for its sink; none is made twice.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeAlias

from headrace.core.errors import HeadraceError
from headrace.core.relay_events import RelayHealth, RelayState
from headrace.ports.bridge import Sink
from headrace.ports.clock import Clock
from headrace.ports.notifier import Hint, Notifier
from headrace.ports.observer import Observer
from headrace.ports.post import Post
from headrace.ports.store import Store
from headrace.runtime.chores import safely
from headrace.runtime.promises import CHORE
from headrace.runtime.relay import Relay, chore_of
from headrace.runtime.sink_reports import REPORT_S, SinkReport, say
from headrace.runtime.upstreams import forget

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
LOOK_S_MAX: Final = 5.0  # while hints are known to arrive
DRAIN_S: Final = 5.0
REPORT_LOOK_S: Final = 0.5
HINT: Final = "sink:"
EVERY: Final = "sink:*"

OpenSink: TypeAlias = Callable[[str], Sink | None]
"""The sink of a broker's name; None: this process has no URL for it."""


class Relays:
    """One per process that runs workers; it lives on the loop of `running`."""

    def __init__(
        self,
        store: Store,
        notifier: Notifier,
        clock: Clock,
        rng: random.Random,
        *,
        open_sink: OpenSink,
        observer: Callable[[], Observer],
    ) -> None:
        """Nothing is looked at before `running`; a store that is no `Post` has no outbox."""
        self._store = store
        self._notifier = notifier
        self._clock = clock
        self._rng = rng
        self._open_sink = open_sink
        self._observer = observer
        self._doer = ""
        self._relays: dict[str, Relay] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._closed: dict[str, str] = {}  # sinks that cannot be reached from here, and why
        self._heard: set[str] = set()
        self._news = asyncio.Event()

    @property
    def health(self) -> Mapping[str, RelayHealth]:
        """How each relay of this process stands, by sink."""
        away = {name: RelayHealth(RelayState.SINK_AWAY, why) for name, why in self._closed.items()}
        return away | {name: relay.health for name, relay in self._relays.items()}

    @asynccontextmanager
    async def running(self, doer: str) -> AsyncGenerator[None]:
        """Relay for the length of an `async with`; the store knows this process as `doer`."""
        if not isinstance(self._store, Post):
            yield
            return
        self._doer = doer
        loop = asyncio.get_running_loop()
        tasks = (loop.create_task(self._run(self._store)), loop.create_task(self._report_forever()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._end()

    async def _end(self) -> None:
        """Let what is under way be confirmed, for a moment."""
        runs = tuple(self._runs.values())
        if runs:
            for name, relay in self._relays.items():
                if not self._runs[name].done():
                    relay.drain()
            await asyncio.wait(runs, timeout=DRAIN_S)
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        self._relays.clear()
        self._runs.clear()

    async def _run(self, post: Post) -> None:
        forget = self._notifier.subscribe((HINT,), self._hear)
        look_at = 0.0
        try:
            while True:
                self._news.clear()
                heard, self._heard = self._heard, set()
                now = self._clock.now()
                if EVERY in heard or now >= look_at:
                    found = await self._look(post)
                    heard |= found
                    others_send = any(not relay.holds for name, relay in self._relays.items() if HINT + name in found)
                    most_s = LOOK_S_MAX if self._notifier.working and not others_send else LOOK_S
                    look_at = now + most_s * self._rng.uniform(0.75, 1.0)
                for hint in heard - {EVERY}:
                    self._call(post, hint.removeprefix(HINT))
                try:
                    async with asyncio.timeout(max(look_at - self._clock.now(), 0.0)):
                        await self._news.wait()
                except TimeoutError:
                    continue
        finally:
            forget()

    def _hear(self, hints: frozenset[Hint]) -> None:
        self._heard |= hints
        self._news.set()

    async def _look(self, post: Post) -> set[str]:
        """The sinks that have something, as hints."""
        try:
            records = await post.sinks()
        except HeadraceError as error:
            logger.debug("what waits for sinks is not known: %s", error)
            return set()
        except Exception:
            logger.exception("looking for what waits for sinks failed; going on")
            return set()
        return {f"{HINT}{record.name}" for record in records if record.waiting}

    def _call(self, post: Post, name: str) -> None:
        run = self._runs.get(name)
        if run is None or run.done():
            relay = self._made(post, name)
            if relay is None:
                return
            self._relays[name] = relay
            self._runs[name] = asyncio.get_running_loop().create_task(self._kept(relay))
        self._relays[name].call()

    def _made(self, post: Post, name: str) -> Relay | None:
        try:
            sink = self._open_sink(name)
            why = "" if sink is not None else "this process has no URL for it"
        except HeadraceError as error:
            sink, why = None, str(error)
        if sink is None:
            if self._closed.get(name) != why:
                logger.warning("sink %s: events wait, and are not sent from here: %s", name, why)
            self._closed[name] = why
            return None
        self._closed.pop(name, None)
        return Relay(name, sink, post, self._clock, self._rng, doer=self._doer, observer=self._observer())

    async def _report_forever(self) -> None:
        """Tell the fleet how the sinks stand to which this process sends."""
        said: dict[str, tuple[RelayHealth, float]] = {}
        while True:
            await self._clock.sleep(REPORT_LOOK_S)
            now = self._clock.now()
            for name, relay in tuple(self._relays.items()):
                former, at = said.get(name, (None, 0.0))
                if relay.holds and (relay.health != former or now - at >= REPORT_S):
                    said[name] = (relay.health, now)
                    report = SinkReport(self._doer, relay.health)
                    await safely(partial(say, self._store, name, report), "sinks")

    async def _kept(self, relay: Relay) -> None:
        try:
            await relay.run()
        except Exception:
            logger.exception("sink %s: its relay failed; another takes its place", relay.name)


async def let_go(store: Store, process: str) -> None:
    """Free what a process that is dead, for certain, was lent, and let others do at once what it did."""
    await safely(partial(forget, store, process), "upstreams")
    if isinstance(store, Post):
        await safely(partial(_leave_chores, store, process), "sinks")


async def _leave_chores(post: Post, doer: str) -> None:
    await post.leave_chore(CHORE, doer)
    for sink in await post.sinks():
        await post.leave_chore(chore_of(sink.name), doer)
    for source in await post.sources():
        await post.leave_chore(f"source:{source.name}", doer)
