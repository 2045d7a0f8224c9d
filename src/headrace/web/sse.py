"""The live feed as Server-Sent Events: one job, one stream, from `Last-Event-ID` to its end.

A response of our own, since a stream must notice a reader that is gone or does not read, say
heartbeats, and hold nothing while it waits. Invariant: a reader that sent the last id of an ended
feed is answered with 204, so that its EventSource stops.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response
from starlette.types import Receive, Scope, Send

from headrace.core import wire
from headrace.core.errors import HeadraceError, PositionLost, UnknownJob
from headrace.core.feed import Position
from headrace.core.model import JobId, Update
from headrace.core.problems import problem_of
from headrace.runtime.follower import Follower
from headrace.runtime.reader import Subscribed
from headrace.runtime.views import snapshot_view
from headrace.web.auth import Credential
from headrace.web.jobs import JobsApi
from headrace.web.live import Live
from headrace.web.problems import ProblemRoute, Refused, refusals

WRITE_S: Final = 10.0
END_S: Final = 1.0
AGE_S: Final = 1_800.0
PENDING_AFTER_S: Final = 0.2
RETRY_MS: Final = 1_000
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class Following:
    """What one stream shows, and until when (`ends_in_s`)."""

    job: JobId
    position: Position | None
    base: str
    traceback: bool
    pending_s: float
    heartbeat_s: float
    ends_in_s: float


class FeedResponse(Response):
    """Streams a feed; ends with it, with the reader, or when the server stops."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, follower: Follower, following: Following) -> None:
        """Nothing is read before it is sent."""
        super().__init__(None, 200, HEADERS, self.media_type)
        del self.headers["content-length"]
        self._live = live
        self._follower = follower
        self._following = following
        self._stop = asyncio.Event()
        self._why_written = "ended"

    def shut_down(self) -> None:
        """The server is stopping; on the stream's loop."""
        self._stop.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the feed, the reader or the server ends."""
        del scope
        with self._live.counted(self, "sse"):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            loop = asyncio.get_running_loop()
            writing = loop.create_task(self._write(send))
            gone, stop = loop.create_task(_gone(receive)), loop.create_task(_set(self._stop))
            tasks = (writing, gone, stop)
            try:
                await asyncio.wait(tasks, timeout=self._following.ends_in_s, return_when=asyncio.FIRST_COMPLETED)
                self._live.closed("sse", self._why(*tasks))
                if writing.done():
                    writing.result()
                elif not gone.done():
                    writing.cancel()
                    await _end(send)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._follower.close()

    def _why(self, writing: asyncio.Task[None], gone: asyncio.Task[None], stop: asyncio.Task[None]) -> str:
        """How the stream ended, in the words that WebSockets use."""
        if writing.done():
            return self._why_written
        return "gone" if gone.done() else "shutdown" if stop.done() else "aged"

    async def _write(self, send: Send) -> None:
        try:
            async with aclosing(self._events()) as events:
                async for text in events:
                    async with asyncio.timeout(WRITE_S):
                        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        except TimeoutError:
            self._why_written = "slow"  # it comes back with its last id
        except OSError:
            self._why_written = "gone"
        await _end(send)

    async def _events(self) -> AsyncGenerator[str, None]:
        yield f"retry: {RETRY_MS + secrets.randbelow(RETRY_MS)}\n\n"  # spreads reconnects
        opening = asyncio.get_running_loop().create_task(self._open())
        try:
            done, _ = await asyncio.wait([opening], timeout=PENDING_AFTER_S)
            if not done:
                yield _event("pending", wire.pending(None), None)
            while not opening.done():  # a job that is spooled may take long
                await asyncio.wait([opening], timeout=self._following.heartbeat_s)
                if not opening.done():
                    yield ":\n\n"
            where = await opening
        except HeadraceError as error:
            yield _event("error", wire.error(problem_of(error), None), None)
            return
        finally:
            opening.cancel()
        yield self._subscribed(where)
        while not self._follower.ended:
            try:
                told = await self._follower.next_within(self._following.heartbeat_s)
            except HeadraceError as error:
                yield _event("error", wire.error(problem_of(error), None), None)
                return
            if not told:
                yield ":\n\n"
            for each in told:
                yield self._update(each) if isinstance(each, Update) else self._subscribed(each)

    async def _open(self) -> Subscribed:
        return await self._follower.open(self._following.position, pending_s=self._following.pending_s)

    def _subscribed(self, where: Subscribed) -> str:
        following = self._following
        shown = where.snapshot
        snapshot = "" if shown is None else snapshot_view(shown, following.base, traceback=following.traceback)
        text = wire.subscribed(
            None, recovered=where.recovered, position=where.position, ended=where.ended, snapshot=snapshot
        )
        return _event("subscribed", text, where.position)

    def _update(self, update: Update) -> str:
        position = Position(self._follower.position.epoch, update.offset)
        return _event(update.kind.value, wire.update(None, update, position), position)


def _event(name: str, data: str, position: Position | None) -> str:
    # JSON text has no raw line ends, and a position none at all, so that one data line is enough.
    ident = "" if position is None else f"id: {position}\n"
    return f"event: {name}\n{ident}data: {data}\n\n"


async def _set(event: asyncio.Event) -> None:
    await event.wait()


async def _end(send: Send) -> None:
    """End the body, so that the reader knows the stream for complete and comes back by itself."""
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(END_S):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def updates_router(api: JobsApi, live: Live, route: type[ProblemRoute]) -> APIRouter:
    """`GET /api/jobs/{id}/updates`."""
    router = APIRouter(prefix="/api/jobs", tags=["live feed"], route_class=route)
    hr = live.hr
    said: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "The job's updates as Server-Sent Events, up to its end; each event's id is its position.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The feed has ended, and Last-Event-ID is its end: do not come back."},
        **refusals(400, 401, 403, 404, 422),
    }

    @router.get("/{job_id}/updates", response_class=Response, responses=said)
    async def updates(
        request: Request,
        job_id: UUID,
        last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=200)] = None,
    ) -> Response:
        """Follow one job live."""
        credential = await api.allowed(request, "read", job_id)
        if live.full:
            raise Refused(
                "too-many-connections",
                "this process has as many live connections as it may, or cannot keep up with them",
            )
        position = _position(last_event_id)
        if await _is_over(api, job_id, position, credential):
            return Response(status_code=204, headers={"Cache-Control": "no-store"})
        settings = hr.settings
        following = Following(
            job_id.bytes,
            position,
            api.base(request),
            credential.jobs is None,
            settings.pending_s,
            settings.heartbeat_s,
            _ends_in(credential, hr.clock.wall()),
        )
        return FeedResponse(live, hr.feed.follower(job_id.bytes, patient=True), following)

    return router


async def _is_over(api: JobsApi, job: UUID, position: Position | None, credential: Credential) -> bool:
    """Whether the reader has seen all of it. An unknown job is waited for only with a token for it."""
    if api.spooled(job):
        return False
    try:
        record = await api.found(job)
    except UnknownJob:
        if credential.jobs is None:
            raise
        return False
    return record.state.terminal and position == Position(api.epoch, record.offset)


def _ends_in(credential: Credential, now_at: float) -> float:
    """A stream lasts as long as its credential, and never for ever: the reader comes back and is asked again."""
    age_s = AGE_S - secrets.randbelow(int(AGE_S / 10))
    return age_s if credential.expires_at is None else max(0.0, min(age_s, credential.expires_at - now_at))


def _position(text: str | None) -> Position | None:
    if not text:
        return None
    try:
        return Position.parse(text)
    except PositionLost:
        return Position("lost", 0)  # of no epoch: it is answered with a snapshot
