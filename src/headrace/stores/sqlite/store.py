"""The SQLite store: one file, any number of processes on one machine.

Invariant: writes go through the one writer, reads through the readers; leases lie in slots beside
the file.
"""

import sqlite3
import threading
import time as _time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from headrace.core.errors import InvalidConfig, StoreUnavailable
from headrace.core.limits import ScopeState
from headrace.core.load import LoadAsked, QueueLoad
from headrace.core.model import (
    AttemptRecord,
    ClaimRequest,
    Enqueued,
    Exchanged,
    FeedPage,
    FeedWrite,
    JobFilter,
    JobId,
    JobPage,
    JobRecord,
    Json,
    Lease,
    NewJob,
    QueueRecord,
    Reaped,
    Renewed,
    Settle,
    WorkerId,
    WorkerRecord,
)
from headrace.core.states import JobState
from headrace.ports.store import Amendment, Capabilities, Joined, StoreSettings
from headrace.ports.vault import ApiKey, Replay, Taken
from headrace.stores.sqlite import chores, feed, load, schema, upstreams, vault, workers
from headrace.stores.sqlite import jobs as verbs
from headrace.stores.sqlite.claim import claim as start
from headrace.stores.sqlite.claim import left_free, scopes
from headrace.stores.sqlite.connection import (
    SYNCHRONOUS,
    check_path,
    check_writable,
    connect,
    fault,
    make_private,
    use_wal,
)
from headrace.stores.sqlite.enqueue import enqueue
from headrace.stores.sqlite.join import Home, join
from headrace.stores.sqlite.post import SqlitePost
from headrace.stores.sqlite.readers import Readers
from headrace.stores.sqlite.settle import freed, settle
from headrace.stores.sqlite.slots import Slots
from headrace.stores.sqlite.tx import MICRO, Ledger, Tx
from headrace.stores.sqlite.writer import Writer

T = TypeVar("T")


class SqliteStore(SqlitePost):
    """Jobs in a SQLite file, durable when a verb has returned."""

    capabilities = Capabilities(durable=True, shared=True, joins=True)

    def __init__(
        self,
        path: str | Path,
        settings: StoreSettings | None = None,
        *,
        wall: Callable[[], float] | None = None,
        notify: Callable[[Iterable[str]], None] | None = None,
        wants: Callable[[str], bool] | None = None,
        synchronous: str = "FULL",
        busy_timeout_s: float = 5.0,
    ) -> None:
        """`wall` replaces the system's clocks (for tests); `notify` and `wants` are a notifier's."""
        if synchronous not in SYNCHRONOUS:
            raise InvalidConfig(f"synchronous must be one of {', '.join(SYNCHRONOUS)}, not {synchronous!r}")
        self.path = Path(path).absolute()
        self._settings = settings if settings is not None else StoreSettings()
        self._wall = wall if wall is not None else _time.time  # noqa: TID251 - the database's machine is this one
        self._notify = notify
        self._wants = wants
        self._synchronous = synchronous
        self._busy_timeout_s = busy_timeout_s
        self._ledger = Ledger()
        shared_clock = wall if wall is not None else _time.monotonic  # noqa: TID251 - of the whole machine
        self._slots = Slots(self.directory / "workers", shared_clock)
        self._counts = chores.Counts(_time.monotonic)  # noqa: TID251 - how long counting took, not what is counted
        self._lifecycle = threading.Lock()
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._epoch = ""

    @property
    def directory(self) -> Path:
        """Where slots and other small files stand, beside the database."""
        return self.path.with_name(self.path.name + "-headrace")

    @property
    def epoch(self) -> str:
        """Names this history of offsets."""
        return self._epoch

    # -- open and close -----------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and check the schema; a new, empty file is migrated at once."""
        readers = Readers(str(self.path), self._wall)
        try:
            await readers.call(lambda: self._open(readers))
        finally:
            if self._readers is not readers:
                readers.stop()

    def _open(self, readers: Readers) -> None:
        with self._lifecycle:
            if self._writer is not None:
                return
            self._epoch = _prepare(self.path, self._wall, self._busy_timeout_s, self._synchronous)
            self._slots.open()
            self._ledger = Ledger()
            self._writer = Writer(
                str(self.path),
                wall=self._wall,
                ledger=self._ledger,
                synchronous=self._synchronous,
                busy_timeout_s=self._busy_timeout_s,
                ring=self._ring,
            )
            self._readers = readers

    async def close(self) -> None:
        """Finish the writes that are under way and let go of everything."""
        writer, readers = self._writer, self._readers
        if writer is None or readers is None:
            return
        await readers.call(writer.stop)
        self._writer = self._readers = None
        readers.stop()
        self._slots.close()

    async def _write(self, op: Callable[[Tx], T]) -> T:
        if self._writer is None:
            raise StoreUnavailable(f"the store {self.path} is not open")
        return await self._writer.run(op)

    async def _read(self, question: Callable[[Tx], T]) -> T:
        return await self._open_readers().run(question)

    def _open_readers(self) -> Readers:
        if self._readers is None:
            raise StoreUnavailable(f"the store {self.path} is not open")
        return self._readers

    def _ring(self, tx: Tx) -> None:
        if self._notify is None:
            return
        wants_jobs = bool(tx.grown) and (self._wants is None or self._wants("job:"))
        hints = tuple(tx.owed(wants_jobs=wants_jobs))
        if hints:
            self._notify(hints)

    # -- jobs ---------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Add jobs, all or none."""
        retention_s = self._settings.key_retention_s
        return await self._write(lambda tx: enqueue(tx, jobs, retention_s))

    async def exchange(self, worker: WorkerId, settles: Sequence[Settle], claim: ClaimRequest | None) -> Exchanged:
        """Settle ended attempts, then claim: one transaction."""
        return await self._write(lambda tx: _exchange(tx, worker, settles, claim))

    async def reconcile(self, worker: WorkerId, held: Sequence[Lease]) -> int:
        """Give back what the store thinks this worker runs and the worker does not know of."""
        known = frozenset(held)
        return await self._write(lambda tx: workers.reconcile(tx, worker, known))

    async def append(self, writes: Sequence[FeedWrite]) -> list[int | None]:
        """Add items, logs and progress to feeds of running jobs."""
        return await self._write(lambda tx: feed.append(tx, writes, self._settings.items_max))

    async def get(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """The jobs, in order; None for unknown ones."""
        retention_s = self._settings.result_retention_s

        def question(tx: Tx) -> list[JobRecord | None]:
            found = [verbs.get_one(tx, job, retention_s) for job in ids]
            return [None if one is None else one.record for one in found]

        return await self._read(question)

    async def find(self, where: JobFilter, *, after: JobId | None = None, limit: int = 50) -> JobPage:
        """Jobs that match, newest first, live and ended."""
        return await self._read(lambda tx: verbs.find(tx, where, after, limit, self._settings.result_retention_s))

    async def attempts(self, job: JobId) -> list[AttemptRecord]:
        """Every attempt of one job, in order; the running one last."""
        return await self._read(lambda tx: feed.attempts(tx, job))

    async def read_updates(self, job: JobId, after: int, limit: int) -> FeedPage | None:
        """Up to `limit` updates with offsets above `after`, in order; None: unknown job."""
        retention_s = self._settings.result_retention_s
        page = await self._read(lambda tx: feed.read_updates(tx, job, after, limit, retention_s))
        return None if page is None else replace(page, epoch=self._epoch)

    async def offsets(self, jobs: Sequence[JobId]) -> dict[JobId, int]:
        """Where these feeds end now; unknown ones are left out."""
        return await self._read(lambda tx: feed.offsets(tx, jobs))

    async def cancel(self, jobs: Sequence[JobId]) -> list[JobState | None]:
        """Cancel waiting jobs at once; ask running ones to stop."""
        return await self._write(lambda tx: verbs.cancel(tx, jobs))

    async def retry(self, jobs: Sequence[JobId]) -> list[JobState | None]:
        """Make failed and cancelled jobs ready again."""
        return await self._write(lambda tx: verbs.retry(tx, jobs, self._settings.result_retention_s))

    async def edit(self, job: JobId, args: Json) -> JobState | None:
        """Give a failed job other arguments."""
        return await self._write(lambda tx: verbs.edit(tx, job, args))

    def join(self, using: object) -> Joined:
        """Bind to a user's session or connection."""
        home = Home(self.path, self._wall, self._ledger, self._settings.key_retention_s, self._ring)
        return join(home, using)

    # -- workers ------------------------------------------------------------------------------

    async def register(self, worker: WorkerRecord, lease_s: float) -> None:
        """Make the worker known and give it its lease; again for changes."""
        try:
            await self._open_readers().call(lambda: self._slots.take(worker.id, lease_s))
        except OSError as error:
            raise StoreUnavailable(f"no lease can be kept beside the database: {error}") from error
        await self._write(lambda tx: workers.register(tx, worker))

    def slot_fd(self, worker: WorkerId) -> int:
        """The descriptor of a registered worker's slot, for its child to inherit (`pass_fds`)."""
        return self._slots.fd(worker)

    def adopt_slot(self, worker: WorkerId, fd: int) -> None:
        """Keep an inherited slot open, so that it stays locked while this process lives."""
        self._slots.adopt(worker, fd)

    async def renew(self, worker: WorkerId, lease_s: float) -> Renewed:
        """Extend the lease and read the cancels; never blocked by a writer."""
        readers = self._open_readers()

        def work() -> Renewed:
            if not self._slots.renew(worker, lease_s):
                return Renewed((), lost=True)
            cancels = readers.ask(lambda tx: workers.cancels(tx, worker))
            return Renewed((), lost=True) if cancels is None else Renewed(cancels)

        try:
            return await readers.call(work)
        except OSError as error:
            raise StoreUnavailable(f"the lease beside the database cannot be renewed: {error}") from error

    async def unregister(self, worker: WorkerId) -> None:
        """The worker ended in order: jobs that it still held are given back."""
        await self._write(lambda tx: workers.unregister(tx, worker))
        await self._open_readers().call(lambda: self._slots.remove(worker))

    async def reap(self, dead: Sequence[WorkerId] = ()) -> Reaped:
        """Free the jobs of workers that are known `dead`, whose holder died, or whose lease ended."""
        readers = self._open_readers()
        named = set(dead)

        def look() -> list[WorkerId]:
            known = readers.ask(workers.known)
            return [worker for worker in known if worker in named or not self._slots.alive(worker)]

        gone = await readers.call(look)
        if not gone:
            return Reaped((), (), 0, 0)
        reaped = await self._write(lambda tx: workers.reap(tx, gone, self._settings))
        await readers.call(lambda: self._slots.remove(*reaped.workers))
        return reaped

    async def workers(self) -> list[WorkerRecord]:
        """Every worker that is known, with what it runs now."""
        return await self._read(lambda tx: workers.records(tx, self._slots.alive))

    # -- queues and chores --------------------------------------------------------------------

    async def queues(self) -> list[QueueRecord]:
        """Every queue that has or had jobs, by name."""
        return await self._read(self._counts.queues)

    async def scopes(self, names: Sequence[str]) -> list[ScopeState]:
        """Of each scope of limits how many attempts run, how far its rate is ahead, and whose turn it is."""
        return await self._read(lambda tx: scopes(tx, names))

    async def loads(self, asked: Sequence[LoadAsked]) -> list[QueueLoad]:
        """How much waits in these queues, in order."""
        return await self._read(lambda tx: load.loads(tx, list(asked)))

    async def pause(self, queue: str, *, paused: bool) -> None:
        """Hold or release a queue: one row, whatever waits in it."""
        await self._write(lambda tx: chores.pause(tx, queue, paused=paused))

    async def promote(self, limit: int) -> tuple[int, float | None]:
        """Make due jobs ready; how many, and how long until the next is due."""
        return await self._write(lambda tx: chores.promote(tx, limit))

    async def prune(self, limit: int) -> int:
        """Delete what is past its retention, at most `limit` rows; how many."""
        return await self._write(lambda tx: chores.prune(tx, limit, self._settings))

    # -- upstreams ------------------------------------------------------------------------------

    async def upstreams(self) -> tuple[float, Mapping[str, Json]]:
        """Every upstream's document, and the instant."""
        return await self._read(upstreams.read)

    async def amend(self, upstream: str, change: Callable[[Json | None, float], Amendment[T]]) -> T:
        """Turn an upstream's document into the next."""
        return await self._write(lambda tx: upstreams.amend(tx, upstream, change))

    # -- vault ----------------------------------------------------------------------------------

    async def secret(self, name: str, candidate: bytes) -> bytes:
        """The secret of this name; the first caller's `candidate` becomes it."""
        return await self._write(lambda tx: vault.secret(tx, name, candidate))

    async def add_api_key(self, key: ApiKey) -> None:
        """Keep a key."""
        await self._write(lambda tx: vault.add_api_key(tx, key))

    async def api_keys(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        return await self._read(vault.api_keys)

    async def revoke_api_key(self, key_id: str) -> bool:
        """Revoke; False: there is no such key."""
        return await self._write(lambda tx: vault.revoke_api_key(tx, key_id))

    async def begin(self, scope: str, key: str, fingerprint: bytes, retention_s: float) -> Taken | Replay:
        """Take an Idempotency-Key, or learn what was there before."""
        return await self._write(lambda tx: vault.begin(tx, scope, key, fingerprint, retention_s))

    async def finish(self, scope: str, key: str, answer: bytes | None) -> None:
        """Keep the answer, or with None let the key go."""
        await self._write(lambda tx: vault.finish(tx, scope, key, answer))


def _exchange(tx: Tx, worker: WorkerId, settles: Sequence[Settle], request: ClaimRequest | None) -> Exchanged:
    settled = settle(tx, settles) if settles else ()
    free = freed(tx, settles)
    claimed = start(tx, worker, request)
    if free:
        tx.hints.update(left_free(tx, free, claimed, request))
    due = claimed.next_due_at
    next_due_s = None if due is None else max(0.0, (due - tx.now) / MICRO)
    return Exchanged(settled, tuple(claimed.jobs), next_due_s, claimed.more, min(claimed.waits, default=None))


def _prepare(path: Path, wall: Callable[[], float], busy_timeout_s: float, synchronous: str) -> str:
    """Check the file, migrate it if nothing of ours is in it; its epoch. Others may be making it at the same time."""

    def work() -> str:
        connection = connect(str(path), synchronous=synchronous, create=True)
        try:
            found = schema.plan(connection)
            if not found.found:
                schema.locked(connection, lambda: None, busy_timeout_s)  # a read-only file says so here
                use_wal(connection, str(path))
                schema.apply(connection, wall, where=str(path), busy_timeout_s=busy_timeout_s)
                found = schema.plan(connection)
            found.check(str(path))
            use_wal(connection, str(path))
            check_writable(connection)
            return schema.epoch(connection)
        finally:
            connection.close()

    check_path(path)
    try:
        make_private(path)
        return schema.patiently(work, busy_timeout_s)
    except sqlite3.Error as error:
        raise fault(error, str(path)) from error
