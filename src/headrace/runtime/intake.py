"""One source at work: performs what `core.intake` asks for, on a worker's loop.

Invariant: of one connection, what the core says is done in the order in which it said it; only a fetch waits beside.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeAlias

from headrace.core.errors import BridgeError, HeadraceError, Rejected, StoreError
from headrace.core.intake import IntakeCore
from headrace.core.intake_events import (
    Back,
    Close,
    Crowded,
    Done,
    DrainAsked,
    Drained,
    Effect,
    Event,
    Fetch,
    Fetched,
    Hold,
    IntakeHealth,
    IntakeSettings,
    Look,
    Looked,
    Lost,
    Open,
    Opened,
    Receive,
    Received,
    Seek,
    StoreAway,
    Tell,
    Unfit,
)
from headrace.core.message import Bookmark
from headrace.core.model import NewJob
from headrace.ports.bridge import Source, SourceLink
from headrace.ports.clock import Clock
from headrace.ports.observer import Observer
from headrace.ports.post import Arrival, Intake, Post
from headrace.ports.post import Received as Landed
from headrace.runtime.decoding import Decoder

logger = logging.getLogger(__name__)

AT_ONCE: Final = 250  # messages that are read without letting others have the loop
BUG: Final = "an error that is no answer of the store: see the log"

Order: TypeAlias = Callable[[SourceLink], Awaitable[None]]


class Gate(Protocol):
    """What stands before the queue."""

    async def admit(self, jobs: Sequence[NewJob], *, nested: bool) -> None:
        """Return if all may be enqueued.

        Raises:
            Rejected: one may not.
        """
        ...

    async def left(self, queue: str, priority: int) -> tuple[int, float]:
        """How many jobs of this priority the queue takes now, and when to ask again."""
        ...


@dataclass(slots=True)
class Counts:
    """What became of the messages that one source took here; see `core.source_record.SourceCounts`."""

    taken: int = 0
    repeated: int = 0
    letters: int = 0
    unnamed: int = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """What an intake works with."""

    name: str
    source: Source
    decoder: Decoder
    settings: IntakeSettings
    post: Post
    gate: Gate
    look: Callable[[], Awaitable[object]]
    clock: Clock
    rng: random.Random
    observer: Observer
    may_write: Callable[[], bool] = field(default=lambda: True)  # not of a process that lost its turn


class IntakeShell:
    """From the first connection until it is drained; once."""

    def __init__(self, parts: Parts, told: Callable[[IntakeHealth], None], counts: Counts) -> None:
        """`told` hears how the source stands, whenever that changes; `counts` is added to."""
        self._counts = counts
        self.short_at: float | None = None  # when a fetch last brought all that the broker had
        self._parts = parts
        self._told = told
        self._core = IntakeCore(parts.settings, parts.rng, parts.clock.now())
        self._inbox: list[Event] = []
        self._poked = asyncio.Event()
        self._line: _Line | None = None
        self._made: tuple[int, bool, Intake] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._drained = False

    async def run(self) -> None:
        """Take messages until drained; cancelled, it lets go at once."""
        clock, core = self._parts.clock, self._core
        try:
            while not self._drained:
                events, self._inbox = self._inbox, []
                self._poked.clear()
                for event in events:
                    self._perform(core.handle(event, clock.now()))
                self._perform(core.handle_timeout(clock.now()))
                if not self._inbox and not self._drained:
                    await self._rest(core.next_deadline() - clock.now())
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._line is not None:
                await self._line.ended()

    def drain(self) -> None:
        """Take nothing more, finish what is on its way, and end."""
        self._post(DrainAsked())

    async def _rest(self, wait_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(None if wait_s == float("inf") else max(wait_s, 0.0)):
                await self._poked.wait()

    def _post(self, event: Event) -> None:
        self._inbox.append(event)
        self._poked.set()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- effects ----------------------------------------------------------------------------------

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._act(effect)

    def _act(self, effect: Effect) -> None:
        line = self._line
        match effect:
            case Open():
                self._line = _Line(effect.session, self._parts, self._post, before=line)
            case Receive():
                self._spawn(self._receive(effect))
            case Look():
                self._spawn(self._look(effect.token))
            case Tell():
                self._told(effect.health)
            case Drained():
                self._drained = True
            case _:
                if line is not None:
                    _order(line, effect, partial(self._fetched, line))

    def _fetched(self, line: "_Line", fetched: Fetched, most: int) -> None:
        if len(fetched.batch) < most:
            self.short_at = self._parts.clock.now()
        if line is self._line:
            self._post(fetched)

    # -- the store --------------------------------------------------------------------------------

    async def _receive(self, effect: Receive) -> None:
        parts, token = self._parts, effect.token
        try:
            intake = await self._intake(effect)
            if not effect.again:
                await parts.gate.admit([arrival.job for arrival in intake.arrivals], nested=False)
            if not parts.may_write():
                self._post(StoreAway(token, "another process takes from it now"))
                return
            landed = await parts.post.receive(parts.name, intake)
        except Rejected as error:
            left = min((room.left for room in error.rooms), default=0)
            self._post(Crowded(token, left, error.retry_in or 0.0))
        except StoreError as error:
            self._post(StoreAway(token, str(error)))
        except HeadraceError as error:
            self._post(Unfit(token, str(error)))
        except Exception:
            logger.exception("%s: a batch of %d messages failed", parts.name, len(effect.batch))
            self._post(Unfit(token, BUG))
        else:
            self._landed(effect, intake, landed)

    async def _intake(self, effect: Receive) -> Intake:
        """The jobs of a batch; those of before, if it is sent again."""
        batch, made = effect.batch, self._made
        if made is not None and made[:2] == (effect.token, effect.raw):
            intake = made[2]
            for arrival in intake.arrivals:
                arrival.job.fresh = False
            return intake
        raw = "the store refuses what is in it" if effect.raw else None
        arrivals: list[Arrival] = []
        for at in range(0, len(batch), AT_ONCE):
            if at:
                await asyncio.sleep(0)
            arrivals += self._parts.decoder.arrivals(batch.messages[at : at + AT_ONCE], batch.known, raw=raw)
        intake = Intake(arrivals, batch.marks)
        self._made = (effect.token, effect.raw, intake)
        return intake

    def _landed(self, effect: Receive, intake: Intake, landed: Landed) -> None:
        moved = {part: at for part, at in landed.moved.items() if at is not None}
        if len(moved) < len(landed.moved):  # an operator has them read from another place: begin anew
            if self._line is not None:
                self._post(Lost(self._line.session, "its bookmarks were set by hand"))
            moved.clear()
        if not landed.moved:
            self._count(intake, landed)
        self._made = None
        self._post(Received(effect.token, moved))

    def _count(self, intake: Intake, landed: Landed) -> None:
        counts, arrivals = self._counts, intake.arrivals
        taken = sum(landed.added)
        repeated = len(arrivals) - taken
        letters = unnamed = 0
        for arrival, added in zip(arrivals, landed.added, strict=True):
            letters += added and arrival.letter is not None
            unnamed += added and arrival.digest is None
        counts.taken += taken
        counts.repeated += repeated
        counts.letters += letters
        counts.unnamed += 0 if intake.marks else unnamed
        self._parts.observer.received(
            self._parts.name, self._parts.decoder.task.name, taken=taken - letters, repeated=repeated, letters=letters
        )

    async def _look(self, token: int) -> None:
        parts = self._parts
        task = parts.decoder.task
        try:
            await parts.look()
            left, retry_in_s = await parts.gate.left(task.queue, parts.decoder.priority)
        except StoreError as error:
            self._post(StoreAway(token, str(error)))
        except Exception:
            logger.exception("%s: looking at the store failed", parts.name)
            self._post(StoreAway(token, BUG))
        else:
            self._post(Looked(token, left, retry_in_s))


def _order(line: "_Line", effect: Effect, fetched: Callable[[Fetched, int], None]) -> None:
    match effect:
        case Fetch():
            line.fetch(effect, fetched)
        case Done():
            line.put(lambda link: link.done(effect.batch))
        case Back():
            line.put(lambda link: link.back(effect.batch))
        case Hold():
            line.put(lambda link: link.hold(effect.held))
        case Seek():
            line.put(lambda link: link.seek(effect.marks))
        case Close():
            line.close()
        case _:
            pass


class _Line:
    """One connection: opened, told what to do one thing after the other, closed."""

    def __init__(self, session: int, parts: Parts, post: Callable[[Event], None], before: "_Line | None") -> None:
        self.session = session
        self._parts = parts
        self._post = post
        self._orders: asyncio.Queue[Order | None] = asyncio.Queue()
        self._fetching: asyncio.Task[None] | None = None
        self._closed = False
        self._opened = False
        self._task = asyncio.ensure_future(self._live(before))

    def put(self, order: Order) -> None:
        """Do this after what was put before it."""
        self._orders.put_nowait(order)

    def fetch(self, effect: Fetch, fetched: Callable[[Fetched, int], None]) -> None:
        """Fetch, beside what is put after it."""

        async def begin(link: SourceLink) -> None:
            self._fetching = asyncio.ensure_future(self._fetch(link, effect, fetched))

        self.put(begin)

    def close(self) -> None:
        """Let go, after what was put before."""
        self._closed = True
        self._orders.put_nowait(None)
        if self._fetching is not None:
            self._fetching.cancel()
        if not self._opened:
            self._task.cancel()

    async def ended(self) -> None:
        """Wait until it has let go; at once, if nobody has told it to."""
        if not self._closed:
            self.close()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _live(self, before: "_Line | None") -> None:
        if before is not None:
            await before.ended()  # a broker may allow one connection only
        link = await self._open()
        if link is None:
            return
        try:
            self._post(Opened(self.session))
            while (order := await self._orders.get()) is not None:
                await self._obey(link, order)
        finally:
            if self._fetching is not None:
                self._fetching.cancel()
                await asyncio.gather(self._fetching, return_exceptions=True)
            await self._let_go(link)

    async def _open(self) -> SourceLink | None:
        try:
            link = await self._parts.source.open(self._stand)
        except BridgeError as error:
            self._lost(error)
            return None
        except Exception:
            logger.exception("%s: connecting failed", self._parts.name)
            self._post(Lost(self.session, "connecting failed: see the log"))
            return None
        self._opened = True
        return link

    async def _stand(self, parts: Sequence[str]) -> Mapping[str, Bookmark]:
        """Where the bookmarks of these parts stand."""
        found = await self._parts.post.bookmarks(self._parts.name)
        return {part: found[part] for part in parts if part in found}

    async def _obey(self, link: SourceLink, order: Order) -> None:
        try:
            await order(link)
        except BridgeError as error:
            self._lost(error)
        except Exception:
            logger.exception("%s: the broker's adapter failed", self._parts.name)
            self._post(Lost(self.session, "the broker's adapter failed: see the log"))

    async def _fetch(self, link: SourceLink, effect: Fetch, fetched: Callable[[Fetched, int], None]) -> None:
        try:
            batch = await link.fetch(effect.most, effect.wait_s)
        except BridgeError as error:
            self._lost(error)
        except Exception:
            logger.exception("%s: fetching failed", self._parts.name)
            self._post(Lost(self.session, "fetching failed: see the log"))
        else:
            fetched(Fetched(effect.token, batch), effect.most)

    async def _let_go(self, link: SourceLink) -> None:
        try:
            await link.close()
        except Exception:
            logger.exception("%s: closing failed", self._parts.name)

    def _lost(self, error: BridgeError) -> None:
        self._post(Lost(self.session, str(error), refused=not error.transient))
