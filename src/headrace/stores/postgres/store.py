"""The PostgreSQL store: one database, any number of machines.

Invariant: instants are the database's; a verb is one transaction, the hot ones (enqueue, exchange,
renew) one round trip.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from headrace.core.errors import StoreUnavailable
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
from headrace.ports.store import Amendment, Capabilities, Joined
from headrace.ports.vacuum import Laggard
from headrace.ports.vault import ApiKey, Replay, Taken
from headrace.stores.postgres import chores, days, feed, horizon, schema, upstreams, vault, workers
from headrace.stores.postgres import jobs as verbs
from headrace.stores.postgres.exchange import exchange
from headrace.stores.postgres.holder import CLASS, Holder
from headrace.stores.postgres.join import Home, join
from headrace.stores.postgres.post import PostgresPost
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import ConnectionTx

T = TypeVar("T")
_DEAD: Final = query("workers_dead")
_ABSENT_S: Final = 0.1  # between the two looks that must miss a holder's lock
_DAYS_EVERY_S: Final = 3600.0


class PostgresStore(PostgresPost):
    """Jobs in PostgreSQL, durable when a verb has returned."""

    capabilities = Capabilities(durable=True, shared=True, joins=True)

    @property
    def epoch(self) -> str:
        """Names this history of offsets."""
        return self._epoch

    # -- open and close -----------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and check the schema; a database without one is migrated at once."""
        await self._pools.open()
        if self._epoch:
            return
        async with self._pools.transaction() as connection:
            if await schema.prepare(connection, self.where):
                await days.keep(ConnectionTx(connection, self._now()))
            self._epoch = await schema.epoch(connection)

    async def close(self) -> None:
        """Finish the writes that are under way and let go of everything."""
        holder, self._holder = self._holder, None
        if holder is not None:
            await holder.close()
        await self._pools.close()
        self._forget()
        self._epoch = ""

    # -- jobs ---------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Add jobs, all or none."""
        return await self._gatherer.add(jobs) if jobs else []

    async def exchange(self, worker: WorkerId, settles: Sequence[Settle], claim: ClaimRequest | None) -> Exchanged:
        """Settle ended attempts, then claim."""
        return await self._each(lambda tx: exchange(tx, self._lines, worker, settles, claim), first=True)

    async def reconcile(self, worker: WorkerId, held: Sequence[Lease]) -> int:
        """Give back what the store thinks this worker runs and the worker does not know of."""
        known = frozenset(held)
        return await self._write(lambda tx: workers.reconcile(tx, self._lines, worker, known))

    async def append(self, writes: Sequence[FeedWrite]) -> list[int | None]:
        """Add items, logs and progress to feeds of running jobs."""
        if not writes:
            return []
        return await self._write(lambda tx: feed.append(tx, writes, self._settings.items_max))

    async def get(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """The jobs, in order; None for unknown ones."""
        found = await self._each(lambda tx: verbs.get(tx, ids, self._settings.result_retention_s))
        return [None if one is None else one.record for one in found]

    async def find(self, where: JobFilter, *, after: JobId | None = None, limit: int = 50) -> JobPage:
        """Jobs that match, newest first, live and ended."""
        retention_s = self._settings.result_retention_s
        return await self._each(lambda tx: verbs.find(tx, where, after, limit, retention_s))

    async def attempts(self, job: JobId) -> list[AttemptRecord]:
        """Every attempt of one job, in order; the running one last."""
        return await self._each(lambda tx: feed.attempts(tx, job))

    async def read_updates(self, job: JobId, after: int, limit: int) -> FeedPage | None:
        """Up to `limit` updates with offsets above `after`, in order; None: unknown job."""
        epoch, retention_s = self._known_epoch(), self._settings.result_retention_s
        page = await self._each(lambda tx: feed.read_updates(tx, job, after, limit, retention_s))
        return None if page is None else replace(page, epoch=epoch)

    async def offsets(self, jobs: Sequence[JobId]) -> dict[JobId, int]:
        """Where these feeds end now; unknown ones are left out."""
        return await self._each(lambda tx: feed.offsets(tx, jobs))

    async def cancel(self, jobs: Sequence[JobId]) -> list[JobState | None]:
        """Cancel waiting jobs at once; ask running ones to stop."""
        return await self._write(lambda tx: verbs.cancel(tx, jobs))

    async def retry(self, jobs: Sequence[JobId]) -> list[JobState | None]:
        """Make failed and cancelled jobs ready again."""
        retention_s = self._settings.result_retention_s
        return await self._write(lambda tx: verbs.retry(tx, jobs, retention_s))

    async def edit(self, job: JobId, args: Json) -> JobState | None:
        """Give a failed job other arguments."""
        return await self._write(lambda tx: verbs.edit(tx, job, args))

    def join(self, using: object) -> Joined:
        """Bind to a user's session or connection."""
        home = Home(self.where, self._known_epoch(), self._now, self._lines, self._settings.key_retention_s, self._ring)
        return join(home, using)

    def _known_epoch(self) -> str:
        """Known once it was opened; its connections may be there before, where an outage ended meanwhile."""
        if not self._epoch:
            raise StoreUnavailable(f"the store {self.where} is not open")
        return self._epoch

    # -- workers ------------------------------------------------------------------------------

    async def register(self, worker: WorkerRecord, lease_s: float) -> None:
        """Make the worker known and give it its lease; again for changes."""
        # A supervised worker registers again itself: its supervisor goes on holding its lease.
        held = await self._write(lambda tx: workers.register(tx, worker, lease_s, None))
        holder = await self._held() if held is None else None
        if holder is not None:
            await self._write(lambda tx: workers.register(tx, worker, lease_s, holder))

    async def renew(self, worker: WorkerId, lease_s: float) -> Renewed:
        """Extend the lease and read the cancels; never blocked by a writer."""
        holder = await self._held()
        return await self._each(lambda tx: workers.renew(tx, worker, lease_s, holder))

    async def _held(self) -> int | None:
        if self._pools.pooled:
            return None
        if self._holder is None:
            self._holder = Holder(self._url)
        return await self._holder.key()

    async def unregister(self, worker: WorkerId) -> None:
        """The worker ended in order: jobs that it still held are given back."""
        await self._write(lambda tx: workers.unregister(tx, self._lines, worker))

    async def reap(self, dead: Sequence[WorkerId] = ()) -> Reaped:
        """Free the jobs of workers that are known `dead`, whose holder died, or whose lease ended."""
        gone, absent = await self._look(dead)
        if absent:  # its session may be made anew just now: that takes a moment
            await asyncio.sleep(_ABSENT_S)  # noqa: TID251 - of sessions, not of jobs: no clock of a test moves it
            again, still_absent = await self._look(())
            gone += [worker for worker in again if worker not in gone]
            gone += [worker for worker in still_absent if worker in absent]
        freed: list[Reaped] = []
        for worker in gone:
            reaped = await self._reap_one(worker)
            if reaped.workers:
                freed.append(reaped)
        return Reaped(
            tuple(worker for reaped in freed for worker in reaped.workers),
            tuple(job for reaped in freed for job in reaped.jobs),
            sum(reaped.suspects for reaped in freed),
            sum(reaped.quarantined for reaped in freed),
        )

    async def _look(self, dead: Sequence[WorkerId]) -> tuple[list[WorkerId], list[WorkerId]]:
        """Workers that are dead, and those whose holder's lock is not held."""
        rows = await self._pools.fetch(_DEAD, list(dead), self._now(), CLASS)
        return [row[0] for row in rows if row[1]], [row[0] for row in rows if not row[1]]

    async def _reap_one(self, worker: WorkerId) -> Reaped:
        return await self._write(lambda tx: workers.reap(tx, self._lines, worker, self._settings))

    async def workers(self) -> list[WorkerRecord]:
        """Every worker that is known, with what it runs now."""
        return await self._each(workers.records)

    # -- queues and chores --------------------------------------------------------------------

    async def queues(self) -> list[QueueRecord]:
        """Every queue that has or had jobs, by name."""
        return await self._each(self._counts.queues)

    async def scopes(self, names: Sequence[str]) -> list[ScopeState]:
        """Of each scope of limits how many attempts run, how far its rate is ahead, and whose turn it is."""
        return await self._each(lambda tx: chores.scopes(tx, names))

    async def loads(self, asked: Sequence[LoadAsked]) -> list[QueueLoad]:
        """How much waits in these queues, in order."""
        return await self._each(lambda tx: chores.loads(tx, asked)) if asked else []

    async def pause(self, queue: str, *, paused: bool) -> None:
        """Hold or release a queue: one row, whatever waits in it."""
        await self._each(lambda tx: chores.pause(tx, queue, paused=paused))

    async def promote(self, limit: int) -> tuple[int, float | None]:
        """Make due jobs ready; how many, and how long until the next is due."""
        return await self._each(lambda tx: chores.promote(tx, self._lines, limit))

    async def prune(self, limit: int) -> int:
        """Delete what is past its retention, at most `limit` rows; how many."""
        count = await self._write(lambda tx: chores.prune(tx, limit, self._settings))
        if count < limit and self._clock() - self._days_at >= _DAYS_EVERY_S:
            self._days_at = self._clock()
            await self._write(days.keep)
        return count

    async def laggards(self, older_than_s: float) -> list[Laggard]:
        """What has kept a snapshot for longer and holds vacuum back, the furthest behind first."""
        return await self._each(lambda tx: horizon.laggards(tx, older_than_s))

    # -- upstreams ------------------------------------------------------------------------------

    async def upstreams(self) -> tuple[float, Mapping[str, Json]]:
        """Every upstream's document, and the instant."""
        return await self._each(upstreams.read)

    async def amend(self, upstream: str, change: Callable[[Json | None, float], Amendment[T]]) -> T:
        """Turn an upstream's document into the next."""
        return await self._write(lambda tx: upstreams.amend(tx, upstream, change))

    # -- vault ----------------------------------------------------------------------------------

    async def secret(self, name: str, candidate: bytes) -> bytes:
        """The secret of this name; the first caller's `candidate` becomes it."""
        return await self._write(lambda tx: vault.secret(tx, name, candidate))

    async def add_api_key(self, key: ApiKey) -> None:
        """Keep a key."""
        await self._each(lambda tx: vault.add_api_key(tx, key))

    async def api_keys(self) -> list[ApiKey]:
        """Every key, oldest first."""
        return await self._each(vault.api_keys)

    async def revoke_api_key(self, key_id: str) -> bool:
        """Revoke; False: there is no such key."""
        return await self._each(lambda tx: vault.revoke_api_key(tx, key_id))

    async def begin(self, scope: str, key: str, fingerprint: bytes, retention_s: float) -> Taken | Replay:
        """Take an Idempotency-Key, or learn what was there before."""
        return await self._each(lambda tx: vault.begin(tx, scope, key, fingerprint, retention_s))

    async def finish(self, scope: str, key: str, answer: bytes | None) -> None:
        """Keep the answer, or with None let the key go."""
        await self._each(lambda tx: vault.finish(tx, scope, key, answer))
