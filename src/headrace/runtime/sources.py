"""The sources that this process takes from: each beside a worker, on its loop, for as long as that is not drained.

Invariant: of a source that one process at a time may take from, nothing is written after its turn may have ended.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final

from headrace.core.errors import HeadraceError
from headrace.core.intake_events import IntakeHealth, IntakeState
from headrace.core.model import Json
from headrace.ports.store import Amendment, Store
from headrace.runtime.intake import IntakeShell
from headrace.runtime.intake_parts import Counts, Parts
from headrace.runtime.upstreams import OWN

logger = logging.getLogger(__name__)

DOCUMENT: Final = f"{OWN}source:"
REPORT_S: Final = 10.0
REPORTED_S: Final = 60.0
"""A process that reported nothing for so long takes from the source no more."""
FORGET_EVERY_S: Final = 60.0
FORGET_MAX: Final = 5_000
FORGET_REST_S: Final = 0.05
AGAIN_S: Final = 1.0
TURN_S: Final = 5.0
TURN_EVERY_S: Final = 1.0
TURN_MARGIN_S: Final = 1.0
DRAIN_S: Final = 10.0
REPEATED_MIN: Final = 1_000


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One source to take from; its digests are remembered for `window_s`."""

    parts: Parts
    window_s: float


class Sources:
    """One per process; it lives on the loop on which its workers run."""

    def __init__(self, store: Store, process: Callable[[], str]) -> None:
        """Nothing is taken yet; `process` is what the fleet knows this process by."""
        self._store = store
        self._process = process
        self._takers: list[_Taker] = []

    @property
    def health(self) -> dict[str, IntakeHealth]:
        """How each source stands here, by name."""
        return {taker.name: taker.health for taker in self._takers}

    @asynccontextmanager
    async def taking(self, plans: Sequence[SourcePlan], until: asyncio.Event | None = None) -> AsyncGenerator[None]:
        """Take messages until this ends, or before that `until`.

        What is on its way to the store then gets some seconds, and the rest goes back.
        """
        takers = [_Taker(plan, self._store, self._process()) for plan in plans]
        self._takers += takers
        running = [asyncio.ensure_future(taker.run()) for taker in takers]
        watching = None if until is None else asyncio.ensure_future(_drain_after(until, takers))
        try:
            yield
        finally:
            if watching is not None:
                watching.cancel()
            for taker in takers:
                taker.drain()
            if running:
                await asyncio.wait(running, timeout=DRAIN_S)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self._takers = [taker for taker in self._takers if taker not in takers]


async def _drain_after(until: asyncio.Event, takers: Sequence["_Taker"]) -> None:
    await until.wait()
    for taker in takers:
        taker.drain()


class _Taker:
    """One source, from the start of a worker to its end."""

    def __init__(self, plan: SourcePlan, store: Store, process: str) -> None:
        self.health = IntakeHealth(IntakeState.AWAY)
        self._plan = plan
        self._store = store
        self._process = process
        self._clock = plan.parts.clock
        self._counts = Counts()
        self._shell: IntakeShell | None = None
        self._draining = asyncio.Event()
        self._changed = asyncio.Event()
        self._since: float | None = None  # since when it consumes without a break
        self._turn_until = float("-inf")
        self._warned = False

    @property
    def name(self) -> str:
        """Of the source."""
        return self._plan.parts.name

    def drain(self) -> None:
        """Take nothing more, and end."""
        self._draining.set()
        if self._shell is not None:
            self._shell.drain()

    async def run(self) -> None:
        """Take messages until drained."""
        beside = [asyncio.ensure_future(self._report()), asyncio.ensure_future(self._forget())]
        try:
            if self._plan.parts.source.alone:
                await self._by_turns()
            else:
                await self._take(self._plan.parts)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._say(leaving=True)

    async def _take(self, parts: Parts) -> None:
        """Take messages until drained; after what no intake should raise, with another one."""
        while True:
            self._shell = shell = IntakeShell(parts, self._told, self._counts)
            if self._draining.is_set():
                shell.drain()
            try:
                await shell.run()
            except Exception:
                logger.exception("%s: its intake failed; another one takes its place", self.name)
                self._told(IntakeHealth(IntakeState.AWAY, "its intake failed: see the log"))
                await self._pause(AGAIN_S)
            else:
                return

    def _told(self, health: IntakeHealth) -> None:
        before, self.health = self.health, health
        consuming = health.state is IntakeState.CONSUMING
        self._since = (self._since or self._clock.now()) if consuming else None
        self._changed.set()
        if health.state is IntakeState.AWAY and health.why and health.why != before.why:
            logger.warning("%s waits: %s; trying again", self.name, health.why)
        elif health.state is IntakeState.STORE_AWAY:
            logger.warning("%s waits for the store: %s", self.name, health.why)
        elif consuming and before.state is not IntakeState.CONSUMING:
            logger.info("%s: taking messages", self.name)

    # -- one process at a time ----------------------------------------------------------------------

    async def _by_turns(self) -> None:
        parts = replace(self._plan.parts, may_write=lambda: self._clock.now() < self._turn_until - TURN_MARGIN_S)
        chore = f"source:{self.name}"
        while not self._draining.is_set():
            if not await self._turn(chore):
                self._told(IntakeHealth(IntakeState.AWAY, "another process takes from it, and this one stands by"))
                await self._pause(TURN_EVERY_S)
                continue
            taking = asyncio.ensure_future(self._take(parts))
            try:
                await self._while_ours(chore, taking)
            finally:
                taking.cancel()
                await asyncio.gather(taking, return_exceptions=True)
                with suppress(HeadraceError):
                    await parts.post.leave_chore(chore, self._process)

    async def _while_ours(self, chore: str, taking: "asyncio.Future[None]") -> None:
        while not taking.done():
            await asyncio.wait([taking], timeout=TURN_EVERY_S)
            if not taking.done() and not await self._turn(chore) and self._clock.now() >= self._turn_until:
                return

    async def _turn(self, chore: str) -> bool:
        """Whether it is this process's turn now; if the store cannot say, it was until the lease ends."""
        now = self._clock.now()
        try:
            term = await self._plan.parts.post.take_chore(chore, self._process, TURN_S)
        except HeadraceError:
            return False
        if term is None:
            self._turn_until = float("-inf")
            return False
        self._turn_until = now + TURN_S
        return True

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()

    # -- what is told and forgotten -----------------------------------------------------------------

    async def _report(self) -> None:
        while True:
            await self._say()
            self._changed.clear()
            self._look_at_repeats()
            with suppress(TimeoutError):
                async with asyncio.timeout(REPORT_S):
                    await self._changed.wait()
                    await self._clock.sleep(0.2)  # a flurry of changes is one report

    async def _say(self, *, leaving: bool = False) -> None:
        """Tell the fleet how it stands here; nothing depends on it."""
        said = None if leaving else {"state": self.health.state.value, "why": self.health.why, **asdict(self._counts)}
        with suppress(HeadraceError, TimeoutError):
            async with asyncio.timeout(2.0):
                await self._store.amend(f"{DOCUMENT}{self.name}", partial(_amended, self._process, said))

    def _look_at_repeats(self) -> None:
        counts = self._counts
        seen = counts.taken + counts.repeated
        if not self._warned and seen >= REPEATED_MIN and counts.repeated * 2 > seen:
            self._warned = True
            logger.warning(
                "%s: %d of %d messages had the id of one before, and were no jobs; does its publisher give ids that"
                " differ?",
                self.name,
                counts.repeated,
                seen,
            )

    async def _forget(self) -> None:
        """Forget the digests past their window: never one whose message may still be on its way."""
        window_s, post = self._plan.window_s, self._plan.parts.post
        while True:
            await self._clock.sleep(FORGET_EVERY_S)
            while self._may_forget(window_s):
                try:
                    count = await post.forget_seen(self.name, window_s, FORGET_MAX)
                except HeadraceError as error:
                    logger.debug("%s: nothing forgotten: %s", self.name, error)
                    break
                if count < FORGET_MAX:
                    break
                await self._clock.sleep(FORGET_REST_S)

    def _may_forget(self, window_s: float) -> bool:
        """Whether it has taken all that the broker had, without a break, for as long as digests are remembered."""
        shell, now = self._shell, self._clock.now()
        if self._since is None or shell is None or shell.short_at is None:
            return False
        return now - self._since >= window_s and now - shell.short_at <= window_s


def _amended(process: str, said: Mapping[str, Any] | None, document: Json | None, now: float) -> Amendment[None]:
    known: dict[str, dict[str, Any]] = {} if document is None else json.loads(document)
    kept = {name: each for name, each in known.items() if name != process and now - each["at"] < REPORTED_S}
    if said is not None:
        kept[process] = {"at": now, **said}
    return Amendment(None, json.dumps(kept, separators=(",", ":")))


def reports(documents: Mapping[str, Json], now: float) -> dict[str, dict[str, dict[str, Any]]]:
    """What processes said lately of their sources: by source, by process."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, text in documents.items():
        if name.startswith(DOCUMENT):
            said: dict[str, dict[str, Any]] = json.loads(text)
            lately = {process: each for process, each in said.items() if now - each["at"] < REPORTED_S}
            found[name.removeprefix(DOCUMENT)] = lately
    return found
