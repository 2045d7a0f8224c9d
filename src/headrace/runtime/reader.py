"""Follows feeds: one reader per process for every browser, `Job.updates` and `Job.result`.

Hints wake it; where none comes, one cheap look a second at where all followed feeds end finds what
was missed. Readers of the same place share one read of the store, and reads are admitted a few at a
time. Invariant: whoever is told of news reads what was committed before it.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from headrace.core.errors import HeadraceError, UnknownJob
from headrace.core.feed import Position
from headrace.core.model import AttemptRecord, FeedPage, JobId, JobRecord, Update, UpdateKind
from headrace.ports.clock import Clock
from headrace.ports.notifier import Hint, Notifier
from headrace.ports.store import Store
from headrace.runtime.follower import Follower
from headrace.runtime.pressure import Pressure

PAGE = 100
LOOK_BATCH = 500  # feeds of one look at where they end
PROGRESS_LOOKS = 200  # running jobs whose progress is read per look, in turn
PROGRESS_EVERY = 2  # looks
READS_MAX = 16
ITEMS_MAX = 1_000
ITEMS_BYTES_MAX = 512 * 1024
PENDING_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A job as it was at `position` or a little later; `items` are its latest ones, in order."""

    position: Position
    job: JobRecord
    items: tuple[Update, ...]
    items_total: int
    attempts: tuple[AttemptRecord, ...]


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Where a reader stands. `ended`: the feed has ended and the reader has seen all of it."""

    recovered: bool
    position: Position
    snapshot: Snapshot | None
    ended: bool = False


class _Followed:
    """One feed that somebody on this loop follows."""

    __slots__ = ("listeners", "looked", "running")

    def __init__(self) -> None:
        self.listeners: dict[Callable[[], None], bool] = {}  # in the order in which they came; the patient ones
        # The end that the last look found. What one reader has read since says nothing of the others.
        self.looked = -1
        self.running = True  # may have progress, which has no offset to look at

    def ring(self, *, patient: bool = True) -> None:
        for listener, is_patient in tuple(self.listeners.items()):
            if patient or not is_patient:
                listener()


class _LoopReader:
    """The reader's half that is bound to one event loop."""

    def __init__(self, store: Store, notifier: Notifier, clock: Clock, poll_s: float, pressure: Pressure) -> None:
        self._store = store
        self._notifier = notifier
        self._clock = clock
        self._poll_s = poll_s
        self._pressure = pressure
        self._behind: dict[JobId, None] = {}  # whose patient readers have not been told of news
        self._catching_up: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # while somebody follows
        self._followed: dict[JobId, _Followed] = {}
        self._flights: dict[tuple[JobId, int, int], asyncio.Task[FeedPage | None]] = {}
        self._snapshots: dict[JobId, asyncio.Task[Snapshot | None]] = {}
        self._gate = asyncio.Semaphore(READS_MAX)
        self._forget: Callable[[], None] | None = None
        self._poller: asyncio.Task[None] | None = None
        self._turn = 0

    # -- following --------------------------------------------------------------------------------

    @property
    def followed(self) -> int:
        """How many feeds somebody follows."""
        return len(self._followed)

    def follow(self, job: JobId, listener: Callable[[], None], *, patient: bool) -> Callable[[], None]:
        """Ring `listener` whenever the feed may have grown, until the returned function is called."""
        followed = self._followed.setdefault(job, _Followed())
        followed.listeners[listener] = patient
        self._loop = asyncio.get_running_loop()
        if self._forget is None:
            self._forget = self._notifier.subscribe(("job:",), self._heard)
        if self._poller is None:
            self._poller = self._loop.create_task(self._poll())

        def release() -> None:
            followed.listeners.pop(listener, None)
            if not followed.listeners and self._followed.get(job) is followed:
                del self._followed[job]
            if not self._followed:
                self.rest()

        return release

    def rest(self) -> None:
        """Stop hearing and looking; `follow` begins anew."""
        if self._forget is not None:
            self._forget()
            self._forget = None
        if self._poller is not None:
            self._poller.cancel()
            self._poller = None
        if self._catching_up is not None:
            self._catching_up.cancel()
            self._catching_up = None
        self._behind.clear()
        self._loop = None

    def _heard(self, hints: frozenset[Hint]) -> None:
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody follows any more
                loop.call_soon_threadsafe(self._news, hints)

    def _news(self, hints: frozenset[Hint]) -> None:
        if "job:*" in hints:
            jobs = list(self._followed)
        else:
            named = (bytes.fromhex(hint[4:]) for hint in sorted(hints) if len(hint) == len("job:") + 32)
            jobs = [job for job in named if job in self._followed]
        self._ring(jobs)

    def _ring(self, jobs: list[JobId]) -> None:
        pace_s = self._pressure.pace_s
        self._ring_now(jobs, patient=not pace_s)
        if pace_s and jobs:
            self._behind.update(dict.fromkeys(jobs))
            if self._catching_up is None:
                self._catching_up = asyncio.get_running_loop().call_later(pace_s, self._catch_up)

    def _catch_up(self) -> None:
        self._catching_up = None
        jobs = list(self._behind)
        self._behind.clear()
        self._ring_now(jobs, patient=True)

    def _ring_now(self, jobs: list[JobId], *, patient: bool) -> None:
        stale = set(jobs)
        for key in [key for key in self._flights if key[0] in stale]:
            del self._flights[key]  # it may have begun before this news
        for job in jobs:
            followed = self._followed.get(job)
            if followed is not None:
                followed.ring(patient=patient)

    async def _poll(self) -> None:
        looks = 0
        while True:
            await self._clock.sleep(self._poll_s)
            looks += 1
            with suppress(HeadraceError):  # the store is out of reach: the next look may find it
                await self._look(progress=looks % PROGRESS_EVERY == 0)

    async def _look(self, *, progress: bool) -> None:
        jobs = list(self._followed)
        for start in range(0, len(jobs), LOOK_BATCH):
            ends = await self._store.offsets(jobs[start : start + LOOK_BATCH])
            self._ring([job for job, end in ends.items() if self._grew(job, end)])
        running = [job for job in jobs if (followed := self._followed.get(job)) is not None and followed.running]
        if progress and running:
            first = self._turn % len(running)
            turn = list(islice(running[first:] + running[:first], PROGRESS_LOOKS))
            self._turn = first + len(turn)
            self._ring(turn)

    def _grew(self, job: JobId, end: int) -> bool:
        followed = self._followed.get(job)
        if followed is None or end == followed.looked:
            return False
        followed.looked = end
        return True

    # -- reading ----------------------------------------------------------------------------------

    async def read(self, job: JobId, after: int, limit: int) -> FeedPage | None:
        """The feed after an offset; None: unknown job. Callers of the same place share one read."""
        key = (job, after, limit)
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(self._fetch(job, after, limit))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(flight)

    async def _fetch(self, job: JobId, after: int, limit: int) -> FeedPage | None:
        async with self._gate:
            page = await self._store.read_updates(job, after, limit)
        followed = self._followed.get(job)
        if followed is not None and page is not None:
            followed.running = not page.state.terminal
        return page

    def _landed(self, key: tuple[JobId, int, int], done: asyncio.Task[FeedPage | None]) -> None:
        if self._flights.get(key) is done:
            del self._flights[key]
        if not done.cancelled():
            done.exception()  # its waiters see it; without one, nobody needs to

    async def snapshot(self, job: JobId) -> Snapshot | None:
        """The job with its latest items; None: unknown. Callers at the same time share one."""
        flight = self._snapshots.get(job)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(self._take_snapshot(job))
            self._snapshots[job] = flight
            flight.add_done_callback(lambda done: self._taken(job, done))
        return await asyncio.shield(flight)

    def _taken(self, job: JobId, done: asyncio.Task[Snapshot | None]) -> None:
        self._snapshots.pop(job, None)
        if not done.cancelled():
            done.exception()  # as above

    async def _take_snapshot(self, job: JobId) -> Snapshot | None:
        """The position is read first: what is read later may overlap it, and never leaves a gap."""
        page = await self.read(job, 0, PAGE)
        if page is None:
            return None
        end, ended = page.offset, page.state.terminal
        items: deque[Update] = deque()
        total = held = offset = 0
        while page is not None and page.updates and offset < end:
            for update in page.updates:
                offset = update.offset
                if update.kind is UpdateKind.ITEM and offset <= end:
                    items.append(update)
                    total, held = total + 1, held + len(update.data)
            while len(items) > ITEMS_MAX or (held > ITEMS_BYTES_MAX and len(items) > 1):
                held -= len(items.popleft().data)
            if offset < end:
                page = await self.read(job, offset, PAGE)
        record = (await self._store.get([job]))[0]
        if record is None or page is None:
            return None
        attempts = tuple(await self._store.attempts(job))
        # Of an ended job the end itself is left to come as an update: a reader always sees it.
        position = Position(page.epoch, max(0, end - 1) if ended else end)
        return Snapshot(position, record, tuple(items), total, attempts)


class FeedReader:
    """Shared by all that follow feeds; usable from any event loop."""

    def __init__(
        self,
        store: Store,
        notifier: Notifier,
        clock: Clock,
        *,
        poll_s: float = 1.0,
        spooled: Callable[[JobId], bool] = lambda _: False,
    ) -> None:
        """Reads nothing until somebody follows. `spooled` says of a job that this process has yet to store it."""
        self.pressure = Pressure(clock)
        self._store = store
        self._spooled = spooled
        self._notifier = notifier
        self._clock = clock
        self._poll_s = poll_s
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopReader] = weakref.WeakKeyDictionary()

    @property
    def _here(self) -> _LoopReader:
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        if here is None:
            here = self._loops[loop] = _LoopReader(
                self._store, self._notifier, self._clock, self._poll_s, self.pressure
            )
        return here

    @property
    def followed(self) -> int:
        """How many feeds somebody in this process follows."""
        return sum(here.followed for here in list(self._loops.values()))

    def follow(self, job: JobId, listener: Callable[[], None], *, patient: bool = False) -> Callable[[], None]:
        """Ring `listener` on this loop when the feed may have grown; returns what ends that.

        A patient one is rung at the pace of `pressure`.
        """
        return self._here.follow(job, listener, patient=patient)

    async def read(self, job: JobId, after: int, limit: int = PAGE) -> FeedPage | None:
        """The feed after an offset; None: unknown job."""
        return await self._here.read(job, after, limit)

    async def snapshot(self, job: JobId) -> Snapshot | None:
        """The job as it is now; None: unknown job."""
        return await self._here.snapshot(job)

    async def locate(
        self,
        job: JobId,
        position: Position | None,
        *,
        pending_s: float = 0.0,
        on_pending: Callable[[], None] | None = None,
    ) -> Subscribed:
        """Where a reader that comes with `position` stands.

        A job that is not seen yet is waited for up to `pending_s`, and one that is spooled here as long as it is;
        `on_pending` is told once.

        Raises:
            UnknownJob: it is not there, and did not come in time.
        """
        deadline = self._clock.now() + pending_s
        while True:
            if self._spooled(job):
                left = PENDING_LOOK_S
                deadline = self._clock.now() + pending_s
            else:
                found = await self._try_locate(job, position)
                if found is not None:
                    return found
                left = deadline - self._clock.now()
            if left <= 0:
                raise UnknownJob(f"no job {job.hex()} is in the store")
            if on_pending is not None:
                on_pending()
                on_pending = None
            await self._clock.sleep(min(left, PENDING_LOOK_S))

    async def _try_locate(self, job: JobId, position: Position | None) -> Subscribed | None:
        if position is not None:
            page = await self.read(job, position.offset, PAGE)
            if page is None:
                return None
            if position.resumes(page.epoch, page.offset):
                ended = page.state.terminal and position.offset == page.offset
                return Subscribed(recovered=True, position=position, snapshot=None, ended=ended)
        snapshot = await self.snapshot(job)
        if snapshot is None:
            return None
        return Subscribed(recovered=False, position=snapshot.position, snapshot=snapshot)

    def follower(self, job: JobId, *, patient: bool = False) -> Follower:
        """One reader's way through one feed."""
        return Follower(self, self._clock, job, patient=patient)

    async def updates(
        self, job: JobId, after: Position | None = None, *, pending_s: float = 0.0
    ) -> AsyncGenerator[Subscribed | Update, None]:
        """First where the reader stands, then every update, in order, up to the end.

        A second `Subscribed` means that the place was lost; its snapshot stands for all before.

        Raises:
            UnknownJob: there is no such job.
            StoreUnavailable: come back with the last position.
        """
        follower = self.follower(job)
        try:
            where = await follower.open(after, pending_s=pending_s)
            yield where
            while not follower.ended:
                for told in await follower.next():
                    yield told
        finally:
            follower.close()
