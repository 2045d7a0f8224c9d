"""What a supervisor does, for workers that live inside another process: from a thread of its own.

A thread cannot run while one statement holds the interpreter, so the lease is longer than that of
supervised workers, and a body that outlives its timeout cannot be killed, only reported.
"""

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Generator

from headrace.core.errors import StoreMoved
from headrace.core.worker_events import Woken
from headrace.ports.clock import Clock
from headrace.ports.store import Store
from headrace.runtime.chores import quietly, reap_once, upkeep
from headrace.runtime.worker import Worker

logger = logging.getLogger(__name__)

RENEW_EVERY_S = 0.5
LOOK_EVERY_S = 0.15


class LeaseKeeper:
    """Renews the leases of embedded workers, brings them cancels, and frees the jobs of the dead."""

    def __init__(self, store: Store, clock: Clock, *, lease_s: float, rng: random.Random) -> None:
        """Keeps nobody yet."""
        self._store = store
        self._clock = clock
        self._lease_s = lease_s
        self._rng = rng
        self._workers: tuple[Worker, ...] = ()
        self._thread: threading.Thread | None = None
        self._stop: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._draining = asyncio.Event()

    def start(self) -> None:
        """Begin; on the loop that runs the workers."""
        self._home = asyncio.get_running_loop()
        begun = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(begun)), name="headrace-keeper", daemon=True
        )
        self._thread.start()
        begun.wait()

    @contextlib.contextmanager
    def keeping(self, worker: Worker) -> Generator[None]:
        """Keep the lease of a registered worker."""
        self._workers = (*self._workers, worker)
        try:
            yield
        finally:
            self._workers = tuple(each for each in self._workers if each is not worker)

    @property
    def draining(self) -> bool:
        """Whether every worker is to end."""
        return self._draining.is_set()

    async def draining_within(self, seconds: float) -> None:
        """Wait until every worker is to end, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()

    async def drain(self, grace_s: float) -> None:
        """Have every worker end; none is made in its place."""
        self._draining.set()
        for worker in self._workers:
            await worker.drain(grace_s)

    async def stop(self) -> None:
        """End the thread. Idempotent."""
        if self._stop is not None:
            loop, event = self._stop
            self._stop = None
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def _main(self, begun: threading.Event) -> None:
        ended = asyncio.Event()
        self._stop = (asyncio.get_running_loop(), ended)
        begun.set()
        chores = [
            asyncio.ensure_future(self._every(RENEW_EVERY_S, self._renew)),
            asyncio.ensure_future(self._every(LOOK_EVERY_S, self._look)),
            *map(asyncio.ensure_future, upkeep(self._store, self._clock, lambda: self._rng.uniform(0.8, 1.2))),
        ]
        await ended.wait()
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await quietly(work, "lease")
            except StoreMoved as error:
                self._home.call_soon_threadsafe(self._leave, error)
                return
            except Exception:
                logger.exception("keeping leases failed; going on")  # without this, they would end unnoticed
            await self._clock.sleep(seconds)

    def _leave(self, error: StoreMoved) -> None:
        """The jobs are elsewhere: every worker ends, and none is made in its place."""
        if not self.draining:
            logger.error("%s; the workers of this process end", error)
            self._draining.set()
            for worker in self._workers:
                worker.abandon()

    async def _renew(self) -> None:
        for worker in self._workers:
            asked_at = self._clock.now()
            renewed = await self._store.renew(worker.record.id, self._lease_s)
            if renewed.lost:
                self._home.call_soon_threadsafe(self._replace, worker)
                continue
            self._home.call_soon_threadsafe(self._renewed, worker, asked_at + self._lease_s)
            if renewed.cancels:
                self._home.call_soon_threadsafe(worker.cancel, renewed.cancels)

    def _renewed(self, worker: Worker, until: float) -> None:
        if worker in self._workers:
            worker.beat.held_until = until

    def _replace(self, worker: Worker) -> None:
        """Its lease is lost: its attempts stop and write nothing, and it ends."""
        if worker in self._workers and not self.draining:
            logger.error("worker %s lost its lease; its attempts are stopped", worker.record.id)
            self._workers = tuple(each for each in self._workers if each is not worker)
            worker.abandon()

    async def _look(self) -> None:
        reaped = await reap_once(self._store)
        if reaped.suspects:
            for worker in self._workers:
                self._home.call_soon_threadsafe(worker.post, Woken())
