"""What running attempts add to their feeds, gathered into few writes.

Items and logs go out at once if no write is under way, else with the next one; progress is kept
back a little, and only the latest of each attempt is written. While the store is away they wait:
an attempt is not to fail because of it, and its timeout bounds the wait.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from headrace.core.errors import Full, LeaseLost, StoreUnavailable
from headrace.core.model import FeedWrite, JobId, Json, Lease, UpdateKind
from headrace.ports.store import Store

logger = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.04
BATCH_MAX = 500
STORE_RETRY_S = 0.5


class FeedWriter:
    """One per worker, on its loop."""

    def __init__(self, store: Store, lost: Callable[[Lease], None], sleep: Callable[[float], Awaitable[None]]) -> None:
        """`lost` is told of attempts whose writes the store refuses; `sleep` is a clock's."""
        self._store = store
        self._lost = lost
        self._sleep = sleep
        self._closing = False
        self._entries: list[tuple[FeedWrite, asyncio.Future[int]]] = []
        self._progress: dict[JobId, tuple[int, Json]] = {}
        self._flush: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def progress(self, job: JobId, fence: int, data: Json) -> None:
        """Note the latest progress; the earlier one, if not yet written, is dropped."""
        self._progress[job] = (fence, data)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PROGRESS_EVERY_S, self._progress_due)

    def forget(self, job: JobId) -> None:
        """The attempt ended: what it last said of its progress does not matter any more."""
        self._progress.pop(job, None)

    async def add(self, write: FeedWrite) -> int:
        """Add an item or a log line; its offset, once it is durable.

        Raises:
            LeaseLost: nothing was written.
            Full: the feed is at its bound.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._entries.append((write, future))
        self._kick()
        return await future

    async def wait_for_store(self, error: StoreUnavailable) -> None:
        """A moment before what `error` kept from being written is tried again."""
        logger.warning("the store is away (%s); what attempts write waits for it", error)
        await self._sleep(STORE_RETRY_S)

    async def close(self) -> None:
        """Wait for the write that is under way; a store that is away is not waited for any more."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        while self._flush is not None:
            await asyncio.wait([self._flush])

    def _progress_due(self) -> None:
        self._timer = None
        self._kick()

    def _kick(self) -> None:
        if self._flush is None and (self._entries or self._progress):
            self._flush = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            await self._write_batch()
        except StoreUnavailable as error:
            await self.wait_for_store(error)
        finally:
            self._flush = None
            if self._entries or (self._progress and self._timer is None):
                self._kick()

    async def _write_batch(self) -> None:
        self._entries = [entry for entry in self._entries if not entry[1].done()]  # nobody waits for those any more
        entries, self._entries = self._entries[:BATCH_MAX], self._entries[BATCH_MAX:]
        due = self._progress if self._timer is None else {}
        if due:
            self._progress = {}
        writes = [write for write, _ in entries]
        writes += [FeedWrite(job, fence, UpdateKind.PROGRESS, data) for job, (fence, data) in due.items()]
        try:
            offsets = await self._store.append(writes)
        except StoreUnavailable as error:
            if self._closing:
                self._refuse(entries, error)
                return
            self._entries[:0] = entries
            self._progress = {**due, **self._progress}  # the newer one wins
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the waiters must hear of it
            self._refuse(entries, error)
        else:
            for write, offset in zip(writes, offsets, strict=True):
                if offset is None:
                    self._lost(Lease(write.id, write.fence))
            for (write, future), offset in zip(entries, offsets, strict=False):
                self._resolve(write, future, offset)

    @staticmethod
    def _refuse(entries: list[tuple[FeedWrite, asyncio.Future[int]]], error: Exception) -> None:
        if not entries:
            logger.warning("progress was not written: %s", error)
        for _, future in entries:
            if not future.done():
                future.set_exception(error)

    @staticmethod
    def _resolve(write: FeedWrite, future: asyncio.Future[int], offset: int | None) -> None:
        if future.done():
            return
        if offset is None:
            future.set_exception(LeaseLost("this attempt lost its lease: the item was not written"))
        elif offset < 0:
            future.set_exception(Full(f"the feed of this job is full; the {write.kind.value} was not written"))
        else:
            future.set_result(offset)
