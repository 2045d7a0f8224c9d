"""One reader's way through one feed, at its own pace: what it has not asked for waits in the store."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.core.cursor import Cursor
from headrace.core.errors import UnknownJob
from headrace.core.feed import Position
from headrace.core.model import JobId, Update, UpdateKind
from headrace.ports.clock import Clock

if TYPE_CHECKING:
    from headrace.runtime.reader import FeedReader, Subscribed


class Follower:
    """One reader of one feed. Safe to cancel: a cancelled call loses nothing."""

    def __init__(self, reader: "FeedReader", clock: Clock, job: JobId, *, patient: bool = False) -> None:
        """`open` comes first. A patient one may be told of news later, when there is too much to do."""
        self._reader = reader
        self._clock = clock
        self._job = job
        self._patient = patient
        self._cursor: Cursor | None = None
        self._news = asyncio.Event()
        self._release: Callable[[], None] | None = None
        self.ended = False

    @property
    def position(self) -> Position:
        """After the last update that `next` returned."""
        assert self._cursor is not None, "open() comes first"  # noqa: S101 - a caller's bug, not input
        return self._cursor.position

    async def open(
        self, after: Position | None, *, pending_s: float = 0.0, on_pending: Callable[[], None] | None = None
    ) -> "Subscribed":
        """Find the place; the same errors as `FeedReader.locate`."""
        if self._release is None:
            self._release = self._reader.follow(self._job, self._news.set, patient=self._patient)
        where = await self._reader.locate(self._job, after, pending_s=pending_s, on_pending=on_pending)
        self._cursor = Cursor(where.position)
        self.ended = where.ended
        self._news.set()
        return where

    async def next(self) -> "list[Subscribed | Update]":
        """What is new, in order and at least one entry; waits until there is something."""
        while True:
            await self._news.wait()
            cursor = self._cursor
            assert cursor is not None, "open() comes first"  # noqa: S101 - a caller's bug, not input
            self._news.clear()
            try:
                page = await self._reader.read(self._job, cursor.position.offset)
            except BaseException:
                self._news.set()
                raise
            if page is None:
                raise UnknownJob(f"job {self._job.hex()} is past its retention")
            taken = cursor.take(page)
            if taken.lost:
                self._news.set()
                return [await self.open(None)]
            if taken.more:
                self._news.set()
            told: list[Subscribed | Update] = []
            for update in taken.updates:
                # Progress may be older than what stands before it: who resumes from it must not see that again.
                told.append(replace(update, offset=cursor.advance(update).offset))
                self.ended = self.ended or update.kind is UpdateKind.END
            if told:
                return told

    async def next_within(self, timeout_s: float) -> "list[Subscribed | Update]":
        """As `next`, or nothing after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.next()
        except TimeoutError:
            return []

    def close(self) -> None:
        """Stop following."""
        if self._release is not None:
            self._release()
            self._release = None
