"""The shell of one live connection: performs what its core decides, whatever carries the frames."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol, assert_never

from headrace.core.errors import HeadraceError, UnknownJob
from headrace.core.model import Json
from headrace.core.session import SessionCore
from headrace.core.session_events import (
    Authenticate,
    Awaited,
    Close,
    FrameReceived,
    Granted,
    Missed,
    News,
    Open,
    Opened,
    PageRead,
    Read,
    ReadFailed,
    Release,
    SessionEffect,
    SessionEvent,
    SessionLimits,
    ShutdownAsked,
    Write,
    Written,
)
from headrace.core.wire import CLOSE_CODES, CloseCode
from headrace.ports.clock import Clock
from headrace.runtime.reader import FeedReader, Snapshot

logger = logging.getLogger(__name__)

GONE = "gone"
CLOSE_S = 5.0  # for the closing frame of a reader that does not read


class Wire(Protocol):
    """What carries the frames."""

    async def receive(self) -> str | bytes | None:
        """The next frame; None: the client is gone."""
        ...

    async def send(self, text: str) -> None:
        """Send one frame; returns when the transport took it."""
        ...

    async def close(self, code: CloseCode, reason: str) -> None:
        """Close the connection."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """What a connection is given: who may read, how snapshots look, how long to wait for a job."""

    authenticate: Callable[[str | None], Awaitable[Granted]]
    render: Callable[[Snapshot], Json]
    pending_s: float


class LiveConnection:
    """One connection; `run` lives as long as it does and holds nothing of the store between reads."""

    def __init__(
        self, wire: Wire, feed: FeedReader, clock: Clock, host: Host, limits: SessionLimits, *, rng: random.Random
    ) -> None:
        """On its event loop; nothing is sent or received before `run`. `rng` spreads reconnects."""
        self._wire = wire
        self._feed = feed
        self._clock = clock
        self._host = host
        age_s = limits.age_s * rng.uniform(0.9, 1.0)
        self._core = SessionCore(limits, clock.now(), age_s)
        self._releases: dict[int, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._frames: asyncio.Queue[str] = asyncio.Queue(1)
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[Close | None] = self._loop.create_future()
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order of making

    async def run(self) -> str:
        """Serve until either side closes; why it ended: a close reason, or `gone`, which is the client."""
        try:
            self._spawn(self._receive())
            self._spawn(self._write())
            self._schedule()
            close = await self._ending
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for release in self._releases.values():
                release()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if close is None:
            return GONE
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._wire.close(close.code, close.reason)
        except (TimeoutError, OSError):
            logger.debug("a live connection did not take its close: %s", close.reason)
        return CLOSE_CODES[close.code].name

    def shut_down(self) -> None:
        """The server is stopping; on the connection's loop."""
        self._post(ShutdownAsked())

    # -- events in, effects out -------------------------------------------------------------------

    def _post(self, event: SessionEvent) -> None:
        self._perform(self._core.handle(event, self._clock.now()))

    def _time(self) -> None:
        """A turn late: after a stall, what the client has taken meanwhile is told before it counts as slow."""
        self._timer = None
        self._loop.call_soon(self._expire)

    def _expire(self) -> None:
        self._perform(self._core.handle_timeout(self._clock.now()))

    def _perform(self, effects: list[SessionEffect]) -> None:
        for effect in effects:
            self._do(effect)
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._core.next_deadline()
        if deadline is not None and not self._ending.done():
            self._timer = self._loop.call_later(max(0.0, deadline - self._clock.now()) + 0.001, self._time)

    def _do(self, effect: SessionEffect) -> None:
        match effect:
            case Write(text):
                self._frames.put_nowait(text)
            case Read():
                self._spawn(self._read(effect))
            case Open(ref, job):
                if ref not in self._releases:  # at once: a Release may come before the task begins
                    self._releases[ref] = self._feed.follow(job, lambda: self._post(News(ref)), patient=True)
                self._spawn(self._open(effect))
            case Authenticate():
                self._spawn(self._authenticate(effect))
            case Release(ref):
                release = self._releases.pop(ref, None)
                if release is not None:
                    release()
            case Close():
                if not self._ending.done():
                    self._ending.set_result(effect)
            case _:
                assert_never(effect)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._reap)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled() or task.exception() is None or self._ending.done():
            return
        logger.error("a live connection failed", exc_info=task.exception())
        self._ending.set_result(Close(CloseCode.UNAVAILABLE, CLOSE_CODES[CloseCode.UNAVAILABLE].name))

    def _gone(self) -> None:
        if not self._ending.done():
            self._ending.set_result(None)

    # -- effects ----------------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            text = await self._wire.receive()
            if text is None:
                return self._gone()
            self._post(FrameReceived(text))

    async def _write(self) -> None:
        while True:
            text = await self._frames.get()
            try:
                await self._wire.send(text)
            except OSError:
                return self._gone()
            self._post(Written())

    async def _authenticate(self, effect: Authenticate) -> None:
        try:
            granted = await self._host.authenticate(effect.token)
        except HeadraceError:
            self._perform([Close(CloseCode.UNAVAILABLE, CLOSE_CODES[CloseCode.UNAVAILABLE].name)])
            return
        self._post(Granted(effect.ref, granted.grant, granted.code))

    async def _open(self, effect: Open) -> None:
        ref = effect.ref
        try:
            where = await self._feed.locate(
                effect.job,
                effect.position,
                pending_s=self._host.pending_s,
                on_pending=lambda: self._post(Awaited(ref)),
            )
        except UnknownJob:
            self._post(Missed(ref))
        except HeadraceError:
            self._post(ReadFailed(ref))
        else:
            snapshot = "" if where.snapshot is None else self._host.render(where.snapshot)
            self._post(Opened(ref, where.recovered, where.position, snapshot, where.ended))

    async def _read(self, effect: Read) -> None:
        try:
            page = await self._feed.read(effect.job, effect.after, effect.limit)
        except HeadraceError:
            self._post(ReadFailed(effect.ref))
        else:
            self._post(Missed(effect.ref) if page is None else PageRead(effect.ref, page))
