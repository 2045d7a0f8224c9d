"""One connection of an intake: opened, told what to do one thing after the other, closed.

Invariant: what is put is done in the order in which it was put; only a fetch waits beside.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from headrace.core.errors import BridgeError
from headrace.core.intake_events import Event, Fetch, Fetched, Lost, Opened
from headrace.core.message import Bookmark
from headrace.ports.bridge import SourceLink
from headrace.runtime.intake_parts import Parts

logger = logging.getLogger(__name__)

Order: TypeAlias = Callable[[SourceLink], Awaitable[None]]


class Line:
    """One connection: opened, told what to do one thing after the other, closed."""

    def __init__(self, session: int, parts: Parts, post: Callable[[Event], None], before: "Line | None") -> None:
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

    async def _live(self, before: "Line | None") -> None:
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
        await self._parts.ready()
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
