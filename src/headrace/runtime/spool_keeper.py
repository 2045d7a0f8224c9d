"""Brings what is spooled to the store: as soon as it is back, in order, each process's files by one process.

Invariant: a record leaves the spool only when the store has answered for it, or has refused it for good.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, ParamSpec, TypeVar

from headrace.core.errors import Conflict, StoreError, StoreUnavailable, UsageError
from headrace.core.model import Enqueued, NewJob
from headrace.runtime.spool import Batch, Spool

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

AGAIN_S: Final = 0.1
AGAIN_S_MAX: Final = 5.0
ADOPT_S: Final = 15.0
CLOSE_S: Final = 2.0


class SpoolKeeper:
    """The background task of one Headrace; on the event loop that began it last."""

    def __init__(
        self,
        spool: Spool,
        ready: Callable[[], Awaitable[None]],
        enqueue: Callable[[Sequence[NewJob]], Awaitable[list[Enqueued]]],
        rng: random.Random,
    ) -> None:
        """Nothing runs yet. `ready` opens the store, `enqueue` writes to it."""
        self._spool = spool
        self._ready = ready
        self._enqueue = enqueue
        self._rng = rng
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._told = ""
        spool.wake = self.wake

    def begin(self) -> None:
        """See to it that it runs: on this event loop, unless it does on another one."""
        if self._loop is not None and self._loop.is_running() and self._task is not None and not self._task.done():
            return
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._task = self._loop.create_task(self._run())

    def wake(self) -> None:
        """Something was spooled; from any thread."""
        loop = self._loop
        if loop is not None and not self._news.is_set() and loop.is_running():
            with suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(self._news.set)

    async def close(self) -> None:
        """End it; what is left is tried once more, briefly, and then stays on the disk. Idempotent."""
        loop, task = self._loop, self._task
        self._loop = self._task = None
        if task is not None and loop is not None and loop.is_running():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_ended(task), loop))
        if self._spool.figures.jobs:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._drain()
            except (StoreError, UsageError, OSError, TimeoutError) as error:
                logger.debug("the spool was not drained at the end: %s", error)
        left = await _aside(self._spool.close)
        if left:
            logger.warning("%d jobs stay in the spool %s until a process of this app runs", left, self._spool.directory)

    async def _run(self) -> None:
        again_s = AGAIN_S
        while True:
            self._news.clear()
            wait_s = ADOPT_S
            try:
                await _aside(self._spool.adopt)
                await self._drain()
                again_s = AGAIN_S
            except StoreUnavailable as error:
                logger.log(logging.INFO if again_s == AGAIN_S else logging.DEBUG, "the spool waits: %s", error)
                self._spool.trouble, self._spool.away = None, True
                wait_s = again_s
                again_s = min(2 * again_s, AGAIN_S_MAX)
            except (StoreError, UsageError) as error:
                if self._told != str(error):
                    self._told = str(error)
                    logger.error(  # noqa: TRY400 - it says what to do
                        "what is spooled waits for a person: %s", error
                    )
                self._spool.trouble = error if isinstance(error, StoreError) else None
                wait_s = AGAIN_S_MAX
            except Exception:
                logger.exception("the spool could not be drained; it is tried again")
                wait_s = AGAIN_S_MAX
            await self._rest(wait_s * self._rng.uniform(0.5, 1.0), early=wait_s == ADOPT_S)

    async def _rest(self, wait_s: float, *, early: bool) -> None:
        """Until it is time; what was spooled meanwhile ends the long rest, not a wait for the store."""
        if not early:
            await asyncio.sleep(wait_s)
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._news.wait()
        except TimeoutError:
            return

    async def _drain(self) -> None:
        if not self._spool.figures.jobs:
            self._spool.trouble = None
            if not self._spool.away:
                return
        await self._ready()
        await _aside(self._spool.adopt)  # now that the store's epoch is known
        before = self._spool.figures.drained
        while (batch := await _aside(self._spool.next)) is not None:
            await self._bring(batch)
            self._spool.trouble, self._spool.away = None, False
        self._spool.away = False
        drained = self._spool.figures.drained - before
        if drained:
            logger.info("the spool is drained: the store has taken %d jobs", drained)

    async def _bring(self, batch: Batch) -> None:
        jobs = [job for record in batch.records for job in record.jobs]
        try:
            landed = await self._enqueue(jobs) if jobs else []
        except (Conflict, UsageError):
            for record in batch.records:  # all or none is by record; the others are not to blame
                await self._bring_one(Batch(batch.file, (record,)))
            return
        await _aside(self._done, batch, landed)

    def _done(self, batch: Batch, landed: Sequence[Enqueued]) -> None:
        at = 0
        for record in batch.records:
            self._spool.done(record, batch.file, landed[at : at + len(record.jobs)])
            at += len(record.jobs)

    async def _bring_one(self, batch: Batch) -> None:
        (record,) = batch.records
        try:
            landed = await self._enqueue(record.jobs) if record.jobs else []
        except (Conflict, UsageError) as error:
            await _aside(self._spool.reject, record, batch.file, error)
        else:
            await _aside(self._done, batch, landed)


async def _aside(work: Callable[P, R], *args: P.args, **given: P.kwargs) -> R:
    """Do what touches the disk in a thread; who is cancelled waits for its end, since it cannot be stopped."""
    thread = asyncio.ensure_future(asyncio.to_thread(work, *args, **given))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])
