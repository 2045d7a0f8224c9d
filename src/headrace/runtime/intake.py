"""One source at work: performs what `core.intake` asks for, on a worker's loop.

Invariant: a batch that is sent again is the same jobs.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from headrace.core.errors import HeadraceError, Rejected, StoreError
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
    Look,
    Looked,
    Lost,
    Open,
    Receive,
    Received,
    Seek,
    StoreAway,
    Tell,
    Unfit,
)
from headrace.core.message import Message
from headrace.ports.post import Arrival, Intake
from headrace.ports.post import Received as Landed
from headrace.runtime.intake_line import Line
from headrace.runtime.intake_parts import Counts, Parts

logger = logging.getLogger(__name__)

AT_ONCE: Final = 250  # messages that are read without letting others have the loop,
BYTES_AT_ONCE: Final = 512 << 10  # or as many bytes of them
BUG: Final = "an error that is no answer of the store: see the log"


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
        self._line: Line | None = None
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
                self._line = Line(effect.session, self._parts, self._post, before=line)
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

    def _fetched(self, line: Line, fetched: Fetched, most: int) -> None:
        if len(fetched.batch) < most:
            self.short_at = self._parts.clock.now()
        if line is self._line:
            self._post(fetched)

    # -- the store --------------------------------------------------------------------------------

    async def _receive(self, effect: Receive) -> None:
        parts, token = self._parts, effect.token
        try:
            intake = await self._intake(effect)
        except Exception:
            logger.exception("%s: reading a batch of %d messages failed", parts.name, len(effect.batch))
            self._post(Unfit(token, BUG))
            return
        try:
            await parts.ready()
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
            never = type(error) is StoreError  # see `Post.receive`
            self._post((Unfit if never else StoreAway)(token, str(error)))
        except HeadraceError as error:
            self._post(Unfit(token, str(error)))
        except Exception:
            logger.exception("%s: a batch of %d messages failed", parts.name, len(effect.batch))
            self._post(Unfit(token, BUG) if effect.again else StoreAway(token, BUG))
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
        for piece in _pieces(batch.messages):
            if arrivals:
                await asyncio.sleep(0)
            arrivals += self._parts.decoder.arrivals(piece, batch.known, raw=raw)
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
            self._count(intake, landed.added)
        elif all(landed.moved.get(part) == mark.next for part, mark in intake.marks.items()):
            self._count(intake, (True,) * len(intake.arrivals))  # the answer of before was lost
        self._made = None
        self._post(Received(effect.token, moved))

    def _count(self, intake: Intake, landed: Sequence[bool]) -> None:
        counts, arrivals = self._counts, intake.arrivals
        taken = sum(landed)
        repeated = len(arrivals) - taken
        letters = unnamed = 0
        for arrival, added in zip(arrivals, landed, strict=True):
            letters += added and arrival.letter is not None
            unnamed += added and arrival.digest is None
        counts.taken += taken
        counts.repeated += repeated
        counts.letters += letters
        counts.unnamed += unnamed if self._parts.decoder.dedup and not intake.marks else 0
        self._parts.observer.received(
            self._parts.name, self._parts.decoder.task.name, taken=taken - letters, repeated=repeated, letters=letters
        )

    async def _look(self, token: int) -> None:
        parts = self._parts
        task = parts.decoder.task
        try:
            await parts.ready()
            await parts.look()
            left, retry_in_s = await parts.gate.left(task.queue, parts.decoder.priority)
        except StoreError as error:
            self._post(StoreAway(token, str(error)))
        except Exception:
            logger.exception("%s: looking at the store failed", parts.name)
            self._post(StoreAway(token, BUG))
        else:
            self._post(Looked(token, left, retry_in_s))


def _pieces(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    begin = size = 0
    for at, message in enumerate(messages):
        if at - begin >= AT_ONCE or size >= BYTES_AT_ONCE:
            yield messages[begin:at]
            begin, size = at, 0
        size += len(message.body)
    yield messages[begin:]


def _order(line: Line, effect: Effect, fetched: Callable[[Fetched, int], None]) -> None:
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
