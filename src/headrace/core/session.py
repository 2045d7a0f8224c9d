"""One live connection, decided: subscriptions, what may wait for a slow reader, deadlines.

Frames wait only up to a bound. Beyond it nothing is read from the store: each subscription keeps a
place in its feed, and the store is the buffer, so numbered updates are never dropped and of progress
only the latest is left when the reader is ready. A reader that does not take one frame in time is
asked to come back. Invariant: at most one write, and per subscription one read, is under way.
"""

from collections import deque
from dataclasses import dataclass
from typing import assert_never

from headrace.core import wire
from headrace.core.cursor import Cursor
from headrace.core.feed import Position
from headrace.core.model import JobId, UpdateKind
from headrace.core.outbox import Outbox, Ticket
from headrace.core.problems import Problem
from headrace.core.session_events import (
    CONNECTION,
    Authenticate,
    Awaited,
    Close,
    FrameReceived,
    Grant,
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
from headrace.core.wire import CloseCode

READS_MAX = 8  # under way at a time, so that a page seldom arrives when there is no room left
REASON_CHARS_MAX = 100


@dataclass(slots=True, eq=False)
class _Subscription:
    """One followed feed. Without a `grant` the connection's speaks for it; if it came with a token, nobody's yet."""

    ref: int
    id: str
    job: JobId
    position: Position | None
    own: bool = False  # it came with a token
    grant: Grant | None = None
    cursor: Cursor | None = None
    busy: bool = False  # an answer is awaited: Granted, Opened or PageRead
    unopened: bool = False  # to be opened as soon as there is room
    dirty: bool = False
    page: int = 0  # updates of its next read; fewer where they are large
    retry_at: float | None = None
    progress: Ticket | None = None  # its progress that may still wait


class SessionCore:
    """One WebSocket connection from accept to close; takes `now`, returns effects."""

    def __init__(self, limits: SessionLimits, now: float, age_s: float | None = None) -> None:
        """`age_s` is this connection's age limit, jittered by the shell."""
        self._limits = limits
        self._grant: Grant | None = None
        self._asked = False  # `connect` was received
        self._refreshing: deque[int] = deque()
        self._subs: dict[int, _Subscription] = {}
        self._refs: dict[str, int] = {}
        self._last_ref = CONNECTION
        self._out = Outbox(now)
        self._began_at = now
        self._ends_at = now + (limits.age_s if age_s is None else age_s)
        self._allowance = float(limits.frames_burst)
        self._allowance_at = now
        self._effects: list[SessionEffect] = []
        self._reading: set[int] = set()
        self.closed = False

    # -- the core's contract ----------------------------------------------------------------------

    def handle(self, event: SessionEvent, now: float) -> list[SessionEffect]:
        """What follows from `event`."""
        if not self.closed:
            self._hear(event, now)
        return self._taken(now)

    def next_deadline(self) -> float | None:
        """When `handle_timeout` is due."""
        if self.closed:
            return None
        due = [self._ends_at]
        if not self._asked:
            due.append(self._began_at + self._limits.connect_s)
        if self._out.writing_since is not None:
            due.append(self._out.writing_since + self._limits.write_s)
        elif self._grant is not None:
            due.append(self._out.sent_at + self._limits.heartbeat_s)
        if self._grant is not None and self._grant.expires_at is not None:
            due.append(self._grant.expires_at)
        for sub in self._subs.values():
            if sub.retry_at is not None:
                due.append(sub.retry_at)
            if sub.grant is not None and sub.grant.expires_at is not None:
                due.append(sub.grant.expires_at)
        return min(due)

    def handle_timeout(self, now: float) -> list[SessionEffect]:
        """What is due at `now`; nothing, if nothing is."""
        if not self.closed:
            self._time(now)
        return self._taken(now)

    @property
    def queued_bytes(self) -> int:
        """What waits for the reader."""
        return self._out.waiting_bytes

    # -- time -------------------------------------------------------------------------------------

    def _time(self, now: float) -> None:
        limits, out = self._limits, self._out
        if out.writing_since is not None and now >= out.writing_since + limits.write_s:
            return self._close(CloseCode.SLOW)
        if not self._asked and now >= self._began_at + limits.connect_s:
            return self._close(CloseCode.SILENT)
        if self._grant is not None and _expired(self._grant, now):
            return self._close(CloseCode.EXPIRED)
        if now >= self._ends_at:
            return self._close(CloseCode.AGED)
        for sub in list(self._subs.values()):
            if sub.grant is not None and _expired(sub.grant, now):
                self._refuse(sub, Problem("token-expired", "the subscription's token has expired; subscribe anew"))
            elif sub.retry_at is not None and now >= sub.retry_at:
                sub.retry_at = None
                self._begin(sub)
        if self._grant is not None and out.idle and now >= out.sent_at + limits.heartbeat_s:
            self._say(CONNECTION, wire.HEARTBEAT)
        return None

    # -- events -----------------------------------------------------------------------------------

    def _hear(self, event: SessionEvent, now: float) -> None:
        match event:
            case FrameReceived(text):
                self._frame(text, now)
            case Granted():
                self._granted(event, now)
            case Written():
                self._out.written(now)
            case ShutdownAsked():
                self._close(CloseCode.SHUTDOWN)
            case Opened() | Awaited() | Missed() | PageRead() | ReadFailed() | News():
                if not isinstance(event, News):
                    self._reading.discard(event.ref)
                sub = self._subs.get(event.ref)
                if sub is not None:
                    self._told(sub, event, now)
            case _:
                assert_never(event)

    def _told(
        self, sub: _Subscription, event: Opened | Awaited | Missed | PageRead | ReadFailed | News, now: float
    ) -> None:
        match event:
            case Opened():
                self._opened(sub, event)
            case Awaited():
                self._say(sub.ref, wire.pending(sub.id))
            case Missed():
                self._refuse(sub, Problem("unknown-job", "no job of this id is in the store"))
            case PageRead(page=page):
                sub.busy = False
                self._page(sub, event)
                sub.dirty = sub.dirty or (sub.cursor is not None and sub.cursor.position.offset < page.offset)
            case ReadFailed():
                sub.busy = False
                sub.retry_at = now + self._limits.retry_s
            case News():
                sub.dirty = True

    def _frame(self, text: str | bytes, now: float) -> None:
        rate = self._limits.frames_per_s
        refilled = self._allowance + (now - self._allowance_at) * rate
        self._allowance, self._allowance_at = min(refilled, float(self._limits.frames_burst)) - 1, now
        if self._allowance < 0:
            return self._close(CloseCode.FLOOD)
        try:
            frame = wire.parse_frame(text)
        except wire.BadFrame as bad:
            return self._close(bad.close, str(bad))
        match frame:
            case wire.Connect(token):
                if self._asked:
                    return self._close(CloseCode.BAD_FRAME, "connect comes once")
                self._asked = True
                self._effects.append(Authenticate(CONNECTION, token))
            case _ if self._grant is None:
                return self._close(CloseCode.BAD_FRAME, "wait for `connected` first")
            case wire.Subscribe():
                self._subscribe(frame)
            case wire.Unsubscribe(name):
                self._drop(self._refs.get(name, CONNECTION))
            case wire.Refresh(token, name):
                self._refresh(token, name)
            case _:
                assert_never(frame)
        return None

    def _subscribe(self, frame: wire.Subscribe) -> None:
        if frame.id in self._refs:
            detail = f"the subscription {frame.id!r} exists; unsubscribe it first"
            return self._say(CONNECTION, wire.error(Problem("subscription-exists", detail), None))
        if len(self._subs) >= self._limits.topics_max:
            detail = f"one connection follows at most {self._limits.topics_max} jobs"
            return self._say(CONNECTION, wire.error(Problem("too-many-topics", detail), frame.id))
        self._last_ref += 1
        sub = _Subscription(self._last_ref, frame.id, frame.job, frame.position, page=self._limits.page)
        self._subs[sub.ref] = sub
        self._refs[sub.id] = sub.ref
        if frame.token is not None:
            sub.own = sub.busy = True
            self._effects.append(Authenticate(sub.ref, frame.token))
        elif self._grant is not None and self._grant.reads(sub.job):
            self._begin(sub)
        else:
            self._refuse(sub, Problem("forbidden", "the connection's token does not cover this job"))
        return None

    def _refresh(self, token: str, name: str | None) -> None:
        ref = CONNECTION if name is None else self._refs.get(name)
        if ref is None:
            problem = Problem("unknown-subscription", f"there is no subscription {name!r} to refresh")
            return self._say(CONNECTION, wire.error(problem, None))
        self._refreshing.append(ref)
        self._effects.append(Authenticate(ref, token))
        return None

    def _granted(self, event: Granted, now: float) -> None:
        refreshing = event.ref in self._refreshing
        if refreshing:
            self._refreshing.remove(event.ref)
        grant = event.grant if event.grant is not None and not _expired(event.grant, now) else None
        if event.ref == CONNECTION:
            return self._granted_connection(grant, event.code, now, refreshing=refreshing)
        sub = self._subs.get(event.ref)
        if sub is None:
            return None
        if grant is None or not grant.reads(sub.job):
            code = event.code if grant is None else "forbidden"
            return self._refuse(sub, Problem(code, "the token does not cover this job"))
        sub.grant = grant
        if refreshing:
            return self._say(sub.ref, wire.refreshed(_left(grant, now), sub.id))
        sub.busy = False
        return self._begin(sub)

    def _granted_connection(self, grant: Grant | None, code: str, now: float, *, refreshing: bool) -> None:
        if grant is None:
            return self._close(CloseCode.EXPIRED if code == "token-expired" else CloseCode.UNAUTHORIZED)
        self._grant = grant
        left = _left(grant, now)
        if not refreshing:
            return self._say(CONNECTION, wire.connected(self._limits.heartbeat_s, self._limits.topics_max, left))
        self._say(CONNECTION, wire.refreshed(left, None))
        for sub in list(self._subs.values()):
            if sub.grant is None and not sub.own and not grant.reads(sub.job):
                self._refuse(sub, Problem("forbidden", "the connection's new token does not cover this job"))
        return None

    # -- subscriptions ----------------------------------------------------------------------------

    def _begin(self, sub: _Subscription) -> None:
        """Open the feed, or go on reading it."""
        if sub.cursor is not None:
            sub.dirty = True
        else:
            sub.unopened = True

    def _opened(self, sub: _Subscription, event: Opened) -> None:
        sub.busy = False
        if self._out.waiting_bytes >= self._limits.queued_bytes_max:
            sub.unopened = True  # others were quicker; its place is looked for again when there is room
            return
        sub.cursor = Cursor(event.position)
        sub.dirty = True
        frame = wire.subscribed(
            sub.id, recovered=event.recovered, position=event.position, ended=event.ended, snapshot=event.snapshot
        )
        self._say(sub.ref, frame)
        if event.ended:
            self._drop(sub.ref, keep_frames=True)

    def _page(self, sub: _Subscription, event: PageRead) -> None:
        if sub.cursor is None:
            return None
        taken = sub.cursor.take(event.page)
        if taken.lost:
            sub.cursor = sub.position = None
            return self._begin(sub)
        sub.page = min(2 * sub.page, self._limits.page)
        for count, update in enumerate(taken.updates):
            if self._out.waiting_bytes >= self._limits.queued_bytes_max:
                sub.dirty = True  # the rest is read again when there is room
                sub.page = max(2 * count, 2)
                return None
            text = wire.update(sub.id, update, sub.cursor.advance(update))
            if update.kind is UpdateKind.PROGRESS:
                if sub.progress is not None:
                    self._out.take_back(sub.progress)
                sub.progress = self._out.push(sub.ref, text)
            else:
                self._say(sub.ref, text)
            if update.kind is UpdateKind.END:
                return self._drop(sub.ref, keep_frames=True)
        return None

    def _refuse(self, sub: _Subscription, problem: Problem) -> None:
        self._say(CONNECTION, wire.error(problem, sub.id))
        self._drop(sub.ref, keep_frames=True)

    def _drop(self, ref: int, *, keep_frames: bool = False) -> None:
        sub = self._subs.pop(ref, None)
        if sub is None:
            return
        del self._refs[sub.id]
        self._effects.append(Release(ref))
        if not keep_frames:
            self._out.forget(ref)

    # -- out --------------------------------------------------------------------------------------

    def _say(self, ref: int, text: str) -> None:
        self._out.push(ref, text)

    def _close(self, code: CloseCode, detail: str = "") -> None:
        advice = wire.CLOSE_CODES[code]
        self.closed = True
        self._out.clear()
        self._effects = [Close(code, f"{advice.name}: {detail or advice.means}"[:REASON_CHARS_MAX])]

    def _taken(self, now: float) -> list[SessionEffect]:
        if not self.closed:
            self._write(now)
            self._read()
        effects, self._effects = self._effects, []
        return effects

    def _write(self, now: float) -> None:
        text = self._out.next_frame(now)
        if text is not None:
            self._effects.append(Write(text))

    def _read(self) -> None:
        """Ask for what is wanted and has room: snapshots and pages are what fills a connection."""
        if self._out.waiting_bytes >= self._limits.queued_bytes_max // 2:
            return
        for sub in list(self._subs.values()):
            if len(self._reading) >= READS_MAX:
                return
            if sub.busy or sub.retry_at is not None:
                continue
            if sub.cursor is None and sub.unopened:
                sub.unopened = False
                self._ask(sub, Open(sub.ref, sub.job, sub.position))
            elif sub.cursor is not None and sub.dirty:
                sub.dirty = False
                self._ask(sub, Read(sub.ref, sub.job, sub.cursor.position.offset, sub.page))

    def _ask(self, sub: _Subscription, effect: Open | Read) -> None:
        sub.busy = True
        self._reading.add(sub.ref)
        self._subs[sub.ref] = self._subs.pop(sub.ref)  # the others come first next time
        self._effects.append(effect)


def _expired(grant: Grant, now: float) -> bool:
    return grant.expires_at is not None and now >= grant.expires_at


def _left(grant: Grant, now: float) -> float | None:
    return None if grant.expires_at is None else grant.expires_at - now
