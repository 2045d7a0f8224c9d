"""The spool beside the store: where an enqueue goes while the store is out of reach."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.core.errors import StoreUnavailable
from headrace.core.model import Enqueued, JobId, JobRecord, NewJob, Suspicion
from headrace.core.states import JobState
from headrace.runtime.spool import Figures, Spool
from headrace.runtime.spool_file import Head
from headrace.runtime.spool_keeper import SpoolKeeper
from headrace.stores.urls import SQLITE, shown_url

if TYPE_CHECKING:
    from headrace.app.services import Services

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.1
WHY: Final = "it is spooled: the store is out of reach, and takes it in its turn when it is back"


class Spooling:
    """One per Headrace; without a directory, it does nothing and every enqueue is the store's."""

    def __init__(self, services: "Services") -> None:
        """Nothing is touched yet."""
        self._services = services
        settings = services.settings
        self.spool: Spool | None = None
        self._keeper: SpoolKeeper | None = None
        if settings.spool is not None:
            self.spool = Spool(Path(settings.spool), self.head, bytes_max=settings.spool_bytes_max)
            rng = random.Random()  # noqa: S311 - jitter
            self._keeper = SpoolKeeper(self.spool, services.open, self._bring, rng)

    def begin(self) -> None:
        """Bring what is left from before, and look after what comes; on this event loop."""
        if self._keeper is not None:
            self._keeper.begin()

    async def close(self) -> None:
        """Try once more, briefly, and let go."""
        if self._keeper is not None:
            await self._keeper.close()

    async def enqueue(
        self, jobs: list[NewJob], store: Callable[[list[NewJob]], Awaitable[list[Enqueued]]]
    ) -> list[Enqueued]:
        """Where the jobs of one enqueue landed: in the store, or behind what is spooled.

        Raises:
            StoreUnavailable: it is out of reach, and there is no spool, or no room in it.
        """
        spool = self.spool
        if spool is None:
            return await store(jobs)
        self.begin()
        if spool.idle:
            try:
                return await store(jobs)
            except StoreUnavailable as error:
                if not spool.away:
                    logger.warning("enqueues go to the spool %s: %s", spool.directory, error)
        return await spool.put(jobs)

    async def reach(self, open_store: Callable[[], Awaitable[None]]) -> StoreUnavailable | None:
        """Open the store; where it is out of reach and enqueues are spooled, that is no error but the answer."""
        spool = self.spool
        if spool is None:
            await open_store()
            return None
        failed = None
        if not spool.away:
            try:
                await open_store()
            except StoreUnavailable as error:
                failed, spool.away = error, True
                spool.wake()
            else:
                return None
        # Else the keeper tries, and nobody else needs to wait for it.
        await self._services.sign_alone()
        return failed or StoreUnavailable(WHY)

    # -- jobs that wait here ------------------------------------------------------------------------

    def holds(self, job: JobId) -> bool:
        """Whether the job waits in this process's spool."""
        return self.spool is not None and self.spool.holds(job)

    def landed(self, job: JobId) -> JobId:
        """The job that a spooled one became: another one where its key was taken.

        Raises:
            Conflict, UsageError: the store has refused it.
        """
        return job if self.spool is None else self.spool.landed(job)

    async def gone(self, job: JobId) -> None:
        """Wait until the job is not in the spool any more."""
        while self.holds(job):
            await self._services.clock.sleep(LOOK_S)

    async def find(self, job: JobId) -> JobRecord | None:
        """The job as it will be, if it waits here. Its state is not to be told."""
        found = None if self.spool is None else await asyncio.to_thread(self.spool.find, job)
        return None if found is None else _record(found)

    @property
    def figures(self) -> Figures | None:
        """As it is now; None: there is no spool."""
        return None if self.spool is None else self.spool.figures

    # -- for the spool ------------------------------------------------------------------------------

    def head(self) -> Head:
        """The store as it is known now, and the time."""
        services = self._services
        return Head(address(services.settings.store), services.store.epoch, services.clock.wall())

    async def _bring(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        landed = await self._services.store.enqueue(jobs)
        self._services.metrics.observer.enqueued(jobs, landed)
        return landed


def address(store: str) -> str:
    """A store's URL as a spool names it: without a password, and true in any directory."""
    if store.startswith(SQLITE):
        return f"{SQLITE}{Path(store.removeprefix(SQLITE)).absolute()}"
    return shown_url(store)


def _record(job: NewJob) -> JobRecord:
    made_at = int.from_bytes(job.id[:6]) / 1000  # a UUIDv7 tells
    return JobRecord(
        job.id,
        job.task,
        job.queue,
        JobState.READY if job.run_at is None else JobState.SCHEDULED,
        job.args,
        job.priority,
        job.key,
        job.tags,
        0,
        0,
        0,
        0,
        job.max_attempts,
        0,
        0,
        job.timeout_s,
        made_at,
        job.run_at,
        None,
        None,
        job.deadline_at,
        None,
        Suspicion.NONE,
        cancelling=False,
        result=None,
        failure=None,
    )
