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

from headrace.core.consumed import Consumed
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
ABANDONED_S: Final = 30 * 86_400.0
"""A source that has taken nothing for so long has its digests forgotten by whoever takes from another."""
ABANDONED_EVERY_S: Final = 3_600.0
SETTLE_S: Final = 60.0
"""What its last consumer has not acknowledged, a broker gives again some time after another one has come."""
SPANS_MAX: Final = 100
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
        self._since: float | None = None  # since when it consumes, or has told that it does
        self._spans: list[tuple[float, float]] = []  # from when to when it did, before that, and has not told
        self._past: float | None = None  # since then the fleet has consumed for a whole window
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
        if consuming and self._since is None:
            settling_s = 0.0 if before.state is IntakeState.FULL else min(SETTLE_S, self._plan.window_s / 4)
            self._since = self._clock.now() + settling_s
        elif not consuming and self._since is not None:
            self._spans.append((self._since, self._clock.now()))
            self._since = None
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
        """Tell the fleet how it stands here, and for how long it was taken from."""
        said = None if leaving else {"state": self.health.state.value, "why": self.health.why, **asdict(self._counts)}
        now, spans = self._clock.now(), self._spans
        if self._since is not None:
            spans, self._since = [*spans, (self._since, now)], max(self._since, now)
        self._spans = []
        ages = [(now - begin, now - end) for begin, end in spans]
        amended = partial(_amended, self._process, said, spans=ages, window_s=self._plan.window_s)
        try:
            async with asyncio.timeout(2.0):
                age_s = await self._store.amend(f"{DOCUMENT}{self.name}", amended)
        except (HeadraceError, TimeoutError):
            self._spans = [*spans, *self._spans][-SPANS_MAX:]
        else:
            self._past = None if age_s is None else now - age_s

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
        looked_at = float("-inf")
        while True:
            await self._clock.sleep(FORGET_EVERY_S)
            now = self._clock.now()
            try:
                if self._past is not None and self._keeps_up(now):
                    await self._forget_older(self.name, now - self._past)
                if now - looked_at >= ABANDONED_EVERY_S:
                    looked_at = now
                    for record in await self._plan.parts.post.sources():
                        if record.taken_age_s is not None and record.taken_age_s > ABANDONED_S:
                            await self._forget_older(record.name, ABANDONED_S)
            except HeadraceError as error:
                logger.debug("%s: not all was forgotten: %s", self.name, error)

    async def _forget_older(self, source: str, older_s: float) -> None:
        while await self._plan.parts.post.forget_seen(source, older_s, FORGET_MAX) >= FORGET_MAX:
            await self._clock.sleep(FORGET_REST_S)

    def _keeps_up(self, now: float) -> bool:
        """Whether it takes messages, and has lately had all that the broker has."""
        shell = self._shell
        short_at = None if shell is None else shell.short_at
        return self._since is not None and short_at is not None and now - short_at <= self._plan.window_s


def _amended(
    process: str,
    said: Mapping[str, Any] | None,
    document: Json | None,
    now: float,
    *,
    spans: Sequence[tuple[float, float]],
    window_s: float,
) -> Amendment[float | None]:
    """With what a process says; how long ago the whole window began of which nothing need be remembered."""
    known: dict[str, Any] = {} if document is None else json.loads(document)
    processes: dict[str, dict[str, Any]] = known.get("processes", {})
    kept = {name: each for name, each in processes.items() if name != process and now - each["at"] < REPORTED_S}
    if said is not None:
        kept[process] = {"at": now, **said}
    consumed = Consumed.read(known.get("consumed")).after([(now - begin, now - end) for begin, end in spans], window_s)
    past = consumed.past(window_s)
    text = json.dumps({"processes": kept, "consumed": consumed.document()}, separators=(",", ":"))
    return Amendment(None if past is None else now - past, text)


def reports(documents: Mapping[str, Json], now: float) -> dict[str, dict[str, dict[str, Any]]]:
    """What processes said lately of their sources: by source, by process."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, text in documents.items():
        if name.startswith(DOCUMENT):
            said: dict[str, dict[str, Any]] = json.loads(text).get("processes", {})
            lately = {process: each for process, each in said.items() if now - each["at"] < REPORTED_S}
            found[name.removeprefix(DOCUMENT)] = lately
    return found
