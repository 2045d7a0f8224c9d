"""The spool: enqueues that the store could not take, on this machine's disk until it can.

Concurrent callers share one flush. A process has files of its own, one after another, and while any job is in them all
its enqueues go there, so that none overtakes an earlier one. Files of processes that are gone are taken over.
Invariant: `put` returns when its jobs are on the disk; a file is removed when the store has answered for all of it.
"""

import asyncio
import logging
import os
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from headrace.core.errors import HeadraceError, StoreError, StoreUnavailable, UsageError
from headrace.core.ids import as_uuid
from headrace.core.model import Enqueued, JobId, NewJob
from headrace.runtime.spool_admit import Keyed, dated, sort_out
from headrace.runtime.spool_adopt import Finder, fits
from headrace.runtime.spool_file import DAMAGED, Head, Record, SpoolFile, job_record, sync_directory
from headrace.runtime.spool_look import Rejections, by_writer

logger = logging.getLogger(__name__)

FILE_BYTES: Final = 1 << 20  # a file that is longer is followed by another one
BATCH_JOBS: Final = 500
BATCH_BYTES: Final = 1 << 20
REMEMBERED_MAX: Final = 10_000  # jobs that landed on another one, or were refused


@dataclass(frozen=True, slots=True)
class Figures:
    """What this process holds, its own and taken over, and what became of the rest."""

    files: int
    bytes: int
    jobs: int
    oldest_at: float | None
    drained: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one file, in order, to be brought to the store next."""

    file: SpoolFile
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    data: bytes
    jobs: tuple[NewJob, ...]
    done: "Future[None]"


class Spool:
    """One per Headrace; safe from any thread and event loop."""

    def __init__(
        self, directory: Path, head: Callable[[], Head], *, bytes_max: int, file_bytes: int = FILE_BYTES
    ) -> None:
        """Nothing is touched yet. `head` tells of the store as it is known now, and the wall clock."""
        self.directory = directory.absolute()
        self.trouble: StoreError | None = None  # why the store takes nothing, where a person is needed
        self.away = False  # the store was out of reach when it was last tried
        self.wake: Callable[[], None] = lambda: None
        self._head = head
        self._bytes_max = bytes_max
        self._file_bytes = file_bytes
        self._rejections = Rejections(self.directory)
        self._landed: OrderedDict[JobId, JobId | HeadraceError] = OrderedDict()
        self._finder = Finder()
        self._drained = self._rejected = 0
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._pid = 0  # of the process that uses it: the app may have been made before that was forked
        self._name = ""  # of this process's files, once there is one
        self._count = 0
        self._pending: list[_Entry] = []
        self._writing = False
        self._own: deque[SpoolFile] = deque()
        self._taken: dict[str, deque[SpoolFile]] = {}  # by the process that wrote them
        self._where: dict[JobId, tuple[SpoolFile, int] | None] = {}  # None: on its way to the disk
        self._keys: dict[tuple[str, str], Keyed] = {}
        self._waiting = 0  # own jobs that the store has not taken

    # -- what it holds ----------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether an enqueue may go to the store: no earlier one of this process waits here."""
        return not self._waiting

    def holds(self, job: JobId) -> bool:
        """Whether the job waits here."""
        return job in self._where

    def find(self, job: JobId) -> NewJob | None:
        """The job, if it waits here; reads the disk."""
        with self._lock:
            where = self._where.get(job)
            if where is None:
                return None
            file, begin = where
            records = file.records(begin, 1)
        return next((each for record in records[:1] for each in record.jobs if each.id == job), None)

    def landed(self, job: JobId) -> JobId:
        """The job that it landed on: another one where its key was taken.

        Raises:
            Conflict, UsageError: the store has refused it since.
        """
        known = self._landed.get(job, job)
        if isinstance(known, HeadraceError):
            raise known
        return known

    @property
    def figures(self) -> Figures:
        """As it is now."""
        with self._lock:
            files = list(self._files())
            oldest_at = min((file.head.made_at for file in files), default=None)
            return Figures(len(files), self._bytes(), len(self._where), oldest_at, self._drained, self._rejected)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more job of usual size."""
        with self._lock:
            return self._bytes() + 1024 >= self._bytes_max

    def _files(self) -> Iterator[SpoolFile]:
        return chain(self._own, chain.from_iterable(self._taken.values()))

    def _bytes(self) -> int:
        pending = sum(len(entry.data) for entry in self._pending)
        return sum(file.size for file in self._files()) + pending + self._rejections.bytes

    # -- in ---------------------------------------------------------------------------------------

    async def put(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Keep the jobs of one enqueue, all or none; they are on the disk when it returns.

        A key that a job of this process holds here finds that job.

        Raises:
            Conflict: the key is held by a job with other arguments.
            StoreUnavailable: the spool is full, or its disk is; nothing was kept.
            StoreError: the store has refused what came before, and a person is needed.
        """
        landed, waits = self._admit(jobs)
        for done in waits:
            await asyncio.shield(asyncio.wrap_future(done))
        self.wake()
        return landed

    def _admit(self, jobs: Sequence[NewJob]) -> tuple[list[Enqueued], list["Future[None]"]]:
        self._check_process()
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # a caller that is cancelled takes nobody else along
        now_at = self._head().made_at
        with self._lock:
            if self.trouble is not None:
                raise type(self.trouble)(str(self.trouble))
            landed, new, keys, waits = sort_out(jobs, self._keys, done)
            if new:
                entry = _Entry(job_record([dated(job, now_at) for job in new]), tuple(new), done)
                self._check_room(len(entry.data))
                self._keys.update(keys)
                self._where.update((job.id, None) for job in new)
                self.away = self.away or not self._waiting
                self._waiting += len(new)
                self._pending.append(entry)
                if not self._writing:
                    self._writing = True
                    threading.Thread(target=self._write, name="headrace-spool").start()
                waits = [*waits, done]
        return landed, waits

    def _check_process(self) -> None:
        self._pid = self._pid or os.getpid()
        if self._pid != os.getpid():
            raise UsageError("this Headrace was opened before the process was forked; open it in the child only")

    def _check_room(self, more: int) -> None:
        if self._bytes() + more <= self._bytes_max:
            return
        rejected = self._rejections.bytes
        of_it = f", {rejected:,} of them {self._rejections.path}" if rejected else ""
        raise StoreUnavailable(
            f"the store is out of reach, and the spool {self.directory} is full: {self._bytes():,} of"
            f" {self._bytes_max:,} bytes{of_it} (HEADRACE_SPOOL_BYTES_MAX)"
        )

    def _write(self) -> None:
        """In a thread, as long as there is something: all that came meanwhile is one write and one flush."""
        while True:
            with self._lock:
                group, self._pending = self._pending, []
                if not group:
                    self._writing = False
                    self._tidy()  # what was drained meanwhile could not be removed
                    return
            try:
                file, at = self._append(b"".join(entry.data for entry in group))
            except OSError as error:
                self._fail(group, error)
                continue
            with self._lock:
                for entry in group:
                    for job in entry.jobs:
                        if job.id in self._where:  # else it has been brought to the store already
                            self._where[job.id] = file, at
                            file.jobs.add(job.id)
                    at += len(entry.data)
            for entry in group:
                entry.done.set_result(None)

    def _append(self, data: bytes) -> tuple[SpoolFile, int]:
        with self._lock:
            last = self._own[-1] if self._own else None
        if last is not None and not last.sealed:
            if last.size + len(data) <= self._file_bytes:
                return last, last.append(data)
            last.sealed = True
        if not self.directory.exists():
            self.directory.mkdir(0o700, parents=True, exist_ok=True)
            sync_directory(self.directory.parent)
        if not self._name:
            self._name = f"{int(self._head().made_at * 1000):013d}-{os.getpid()}-{secrets.token_hex(4)}"
        self._count += 1
        path = self.directory / f"{self._name}.{self._count:06d}.spool"
        file, at = SpoolFile.create(path, self._head(), data)
        with self._lock:
            self._own.append(file)
        return file, at

    def _fail(self, group: list[_Entry], error: OSError) -> None:
        logger.error("the spool %s cannot be written: %s", self.directory, error)
        with self._lock:
            for entry in group:
                self._forget(entry.jobs)
                self._waiting -= len(entry.jobs)
        for entry in group:
            said = f"the store is out of reach, and the spool {self.directory} cannot be written: {error.strerror}"
            entry.done.set_exception(StoreUnavailable(said))

    def _forget(self, jobs: Sequence[NewJob]) -> None:
        for job in jobs:
            self._where.pop(job.id, None)
            if job.key is not None:
                keyed = self._keys.get((job.task, job.key))
                if keyed is not None and keyed.id == job.id:
                    del self._keys[job.task, job.key]

    # -- out --------------------------------------------------------------------------------------

    def next(self) -> Batch | None:
        """What is to be brought next: of this process, then of those that are gone, oldest first; reads the disk."""
        with self._lock:
            self._tidy()
            file = next((file for file in self._files() if file.at < file.size), None)
        if file is None:
            return None
        records = file.records(file.at, BATCH_BYTES)
        self._check(file)
        taken: list[Record] = []
        count = 0
        for record in records:
            if taken and count + len(record.jobs) > BATCH_JOBS:
                break
            taken.append(record)
            count += len(record.jobs)
        return Batch(file, tuple(taken))

    def _check(self, file: SpoolFile) -> None:
        if file.damaged:
            file.set_aside()
            kept = f"{file.path}{DAMAGED}"
            logger.error("a record of the spool file %s is damaged; it is kept as %s", file.path, kept)
            file.damaged = False

    def done(self, record: Record, file: SpoolFile, landed: Sequence[Enqueued] = ()) -> None:
        """The store has answered for this record; it was the next one of its file."""
        with self._lock:
            file.at = record.end
            ids = [job.id for job in record.jobs]
            file.jobs.difference_update(ids)
            self._forget(record.jobs)
            for job, answer in zip(record.jobs, landed, strict=False):
                if answer.id != job.id:
                    self._remember(job.id, answer.id)
            self._drained += len(landed)
            if file in self._own:
                self._waiting -= len(ids)
            self._tidy()

    def reject(self, record: Record, file: SpoolFile, error: HeadraceError) -> None:
        """The store refuses this record for good: it is written down beside the spool, and the next one follows.

        Raises:
            OSError: it could not be written down, and stays.
        """
        self._rejections.add(record.jobs, error, self._head().made_at)
        for job in record.jobs:
            logger.error("spooled job %s (%s) is refused: %s", as_uuid(job.id), job.task, error)
            self._remember(job.id, error)
        self._rejected += len(record.jobs)
        self.done(record, file)

    def _remember(self, job: JobId, what: JobId | HeadraceError) -> None:
        self._landed[job] = what
        while len(self._landed) > REMEMBERED_MAX:
            self._landed.popitem(last=False)

    def _tidy(self) -> None:
        """Remove the files of which nothing is left to bring; not one that may be written to."""
        for files in (self._own, *self._taken.values()):
            while files and files[0].at >= files[0].size and (files[0].sealed or not self._writing):
                file = files.popleft()
                lost = dict.fromkeys(file.jobs)  # what stood in damaged lines
                if lost:
                    self._keys = {key: keyed for key, keyed in self._keys.items() if keyed.id not in lost}
                    self._waiting -= len(lost) if files is self._own else 0
                for job in lost:
                    self._where.pop(job, None)
                try:
                    file.remove()
                except OSError as error:
                    logger.error("the spool file %s stays, and will be brought again: %s", file.path, error)  # noqa: TRY400
        for writer in [writer for writer, files in self._taken.items() if not files]:
            del self._taken[writer]

    # -- files of others ----------------------------------------------------------------------------

    def adopt(self) -> None:
        """Take over the files of processes that are gone, as far as there is room, oldest first; reads the disk.

        What is of another store, or cannot be read, is left and told once.
        """
        here = self._head()
        self._check_process()
        self._finder.sweep(self.directory)
        with self._lock:
            self._let_go(here)
        for writer, paths in by_writer(self.directory).items():
            with self._lock:
                known = writer == self._name or writer in self._taken
                room = self._bytes() < self._bytes_max
            if not room:
                return
            if not known:
                self._learn(writer, list(self._finder.take(paths, here)))

    def _learn(self, writer: str, files: Sequence[SpoolFile]) -> None:
        where: dict[JobId, tuple[SpoolFile, int] | None] = {}
        for file in files:
            for record in file.records(file.at, file.size):
                for job in record.jobs:
                    where[job.id] = file, record.begin
                    file.jobs.add(job.id)
            self._check(file)
            logger.info("took over %s: %d jobs", file.path, len(file.jobs))
        with self._lock:
            if files:
                self._taken[writer] = deque(files)
                self._where.update(where)

    def _let_go(self, here: Head) -> None:
        """Of what was taken over before this process knew its store."""
        for writer, files in list(self._taken.items()):
            if here.epoch and not all(fits(file, here) for file in files):
                for file in self._taken.pop(writer):
                    for job in file.jobs:
                        self._where.pop(job, None)
                    self._finder.refuse(file, here)

    def close(self) -> int:
        """Wait for what is being written and let go of the files; how many jobs stay. It may be used again."""
        while self._writing:
            threading.Event().wait(0.005)
        with self._lock:
            left = len(self._where)
            for file in self._files():
                file.close()
            self.trouble, self.away = None, False
            self._begin()
        return left
