"""The database that jobs move into: closed to others, filled bite by bite, opened at the end.

Invariant: a bite and the note of how far the copy got are one transaction.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final, cast

import asyncpg
from asyncpg.pgproto.pgproto import UUID

from headrace.core.errors import HeadraceError, StoreUnavailable, StoreUnusable
from headrace.stores.move import guard, rows
from headrace.stores.move.post import Post
from headrace.stores.move.rows import Row, Turn
from headrace.stores.move.source import Jobs, Source
from headrace.stores.postgres import days, schema
from headrace.stores.postgres.chores import PRUNE_LOCK
from headrace.stores.postgres.faults import mapped, shown, sqlstate
from headrace.stores.postgres.loop_pool import CONNECT_S, Connection
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import ConnectionTx
from headrace.stores.postgres.tx import Row as Found

LOCK: Final = 0x4D6F7665  # "Move": one into this database at a time
ANSWER_S: Final = 600.0  # for counting a large history
_SETTINGS: Final = {
    "application_name": "headrace move",
    "synchronous_commit": "on",  # whatever the role's default is: the copy must survive before the file is marked
    "statement_timeout": str(int(ANSWER_S * 1000)),
    "lock_timeout": "10000",
    "idle_in_transaction_session_timeout": "60000",
}
_POOLER: Final = {"08P01", "26000", "42P05"}
_META_GET: Final = query("meta_get")
_META_PUT: Final = query("meta_put")
_LINE: Final = query("line")
_RECORD: Final = "move"
_MOVED_FROM: Final = "moved_from"
_JOB_TABLES: Final = ("job", "history", "job_key", "feed", "attempt", "letter", "promise")
_POST_TABLES: Final = ("source", "bookmark", "seen", "sink", "outbox")
_TABLES: Final = _JOB_TABLES + _POST_TABLES
_NOT_OURS: Final = (
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') "
    "AND relname ~ '^headrace_' AND NOT pg_has_role(relowner, 'MEMBER') LIMIT 1"
)
_OTHERS: Final = (
    "SELECT count(DISTINCT client_port) FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name LIKE 'headrace%' AND pid <> pg_backend_pid()"
)
_KEYS_PUT: Final = (
    "INSERT INTO headrace_job_key (task, key, job, digest) "
    "SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[]) "
    "ON CONFLICT (task, key) DO UPDATE SET job = excluded.job, digest = excluded.digest"
)
_FORGET: Final = """
WITH live AS (
    DELETE FROM headrace_job WHERE id = ANY ($1::uuid[]) RETURNING id, line, key
), ended AS (
    DELETE FROM headrace_history WHERE id = ANY ($1::uuid[]) RETURNING id, line, key
), feeds AS (
    DELETE FROM headrace_feed WHERE job = ANY ($1::uuid[])
), attempts AS (
    DELETE FROM headrace_attempt WHERE job = ANY ($1::uuid[])
), letters AS (
    DELETE FROM headrace_letter WHERE job = ANY ($1::uuid[])
), promises AS (
    DELETE FROM headrace_promise WHERE job = ANY ($1::uuid[])
)
DELETE FROM headrace_job_key AS job_key
USING (SELECT * FROM live UNION ALL SELECT * FROM ended) AS job JOIN headrace_line AS line ON line.id = job.line
WHERE job_key.task = line.task AND job_key.key = job.key AND job_key.job = job.id
"""


@dataclass(slots=True)
class Progress:
    """How far a move got, as its target keeps it."""

    id: str
    epoch: str  # of the file
    from_: str
    history_seq: int = 0
    live_n: int = 0
    log_seq: int = 0
    followed: bool = False  # live jobs are there, so that from now on the log is all

    @classmethod
    def of(cls, text: str) -> "Progress":
        """As kept."""
        return cls(**json.loads(text))


class Target:
    """A database with no jobs of its own. Use `opened`."""

    def __init__(self, connection: Connection, where: str) -> None:
        """The session is this target's alone."""
        self.where: Final = where
        self.post: Final = Post(connection)
        self._connection: Final = connection
        self._names: dict[int, tuple[str, str, str]] = {}  # of the file's lanes
        self._lines: Final[dict[tuple[int, int], int]] = {}  # by the file's lane, and priority
        self._workers: Final[dict[int, int]] = {}  # by the file's number

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, url: str) -> "AsyncGenerator[Target]":
        """Connect, migrate it if nothing of ours is in it, and keep other moves away.

        Raises:
            StoreError: it cannot be reached or used, is of another version, or another move goes into it.
        """
        where = shown(url)
        with told(where):
            connection = await asyncpg.connect(
                url, timeout=CONNECT_S, command_timeout=ANSWER_S, server_settings=_SETTINGS, statement_cache_size=100
            )
            try:
                target = cls(cast("Connection", connection), where)
                await target._prepare()
                yield target
            finally:
                with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                    await connection.close(timeout=1.0)

    async def _prepare(self) -> None:
        found = await schema.plan(self._connection, self.where)
        if not found.found:
            async with self._connection.transaction():
                await schema.apply(self._connection, self.where)
                await days.keep(ConnectionTx(self._connection, None))
            found = await schema.plan(self._connection, self.where)
        found.check(self.where)
        stranger = await self._connection.fetchval(_NOT_OURS)
        if stranger is not None:
            raise StoreUnusable(
                f"the table {stranger} in {self.where} belongs to another role: move as its owner, since the move "
                "makes triggers and the history's days"
            )
        if not await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            raise StoreUnavailable(f"another `headrace move` into {self.where} is under way: wait for it, or end it")
        await self._connection.execute(f"SELECT pg_advisory_lock({days.LOCK})")  # nobody drops a day meanwhile
        await self._connection.execute(f"SELECT pg_advisory_lock({PRUNE_LOCK})")  # nor what is past its retention

    # -- what is there ------------------------------------------------------------------------------

    async def progress(self) -> Progress | None:
        """The move that began before and has not ended."""
        row = await self._connection.fetchrow(_META_GET, _RECORD)
        return None if row is None else Progress.of(row[0])

    async def moved_from(self) -> str | None:
        """The id of the move that filled this database."""
        row = await self._connection.fetchrow(_META_GET, _MOVED_FROM)
        return None if row is None else str(row[0])

    async def empty(self) -> bool:
        """Whether no job is or was here."""
        for table in _TABLES:
            if await self._connection.fetchval(f"SELECT EXISTS (SELECT FROM headrace_{table})"):  # noqa: S608 - ours
                return False
        return True

    async def others(self) -> int:
        """How many sessions of Headrace's are open beside this one."""
        return int(await self._connection.fetchval(_OTHERS))

    async def answers(self) -> None:
        """Have it answer, soon.

        Raises:
            asyncpg.PostgresError, OSError, TimeoutError: it is gone.
        """
        await self._connection.fetchval("SELECT 1", timeout=CONNECT_S)

    async def fetch(self, sql: str, *params: object) -> Sequence[Found]:
        """The answer to a question of `compare`."""
        return await self._connection.fetch(sql, *params)

    # -- begin and end ------------------------------------------------------------------------------

    async def begin(self, progress: Progress, first_end: datetime | None) -> None:
        """Close the database to others, empty it of an earlier copy, and give it the file's epoch."""
        async with self._connection.transaction():
            await self._speak_as(progress.id)
            for statement in guard.close(progress.id):
                await self._connection.execute(statement)
            await self._clear()
            await self._connection.execute(_META_PUT, "epoch", progress.epoch)
            await self._note(progress)
            if first_end is not None:
                await days.prepare(ConnectionTx(self._connection, None), first_end)

    async def resume(self, progress: Progress) -> None:
        """Go on with a move that began before."""
        await self._speak_as(progress.id)

    async def _speak_as(self, move_id: str) -> None:
        await self._connection.execute(f"SELECT set_config('{guard.SETTING}', $1, false)", move_id)

    async def _clear(self) -> None:
        await self._connection.execute("TRUNCATE " + ", ".join(f"headrace_{table}" for table in _TABLES))

    async def _note(self, progress: Progress) -> None:
        await self._connection.execute(_META_PUT, _RECORD, json.dumps(asdict(progress)))

    async def settle_down(self) -> None:
        """Have the planner know what is there now."""
        for table in _TABLES:
            await self._connection.execute(f"ANALYZE headrace_{table}")

    async def open_up(self, progress: Progress, outbox_end: int) -> None:
        """Let others in; places in line and in the outbox go on above those that came, or that were ever given."""
        async with self._connection.transaction():
            await self._connection.execute(
                "SELECT setval('headrace_place', "
                "greatest((SELECT max(seq) FROM headrace_job), nextval('headrace_place'))), "
                "setval('headrace_outbox_place', $1)",
                max(1, outbox_end),
            )
            await self._connection.execute(guard.open_up())
            await self._connection.execute("DELETE FROM headrace_meta WHERE key = $1", _RECORD)
            await self._connection.execute(_META_PUT, _MOVED_FROM, progress.id)

    async def give_up(self, progress: Progress, epoch: str) -> None:
        """Take the copy away again and let others in; the offsets of whatever comes are of another `epoch`."""
        async with self._connection.transaction():
            await self._speak_as(progress.id)
            await self._clear()
            await self._connection.execute(guard.open_up())
            await self._connection.execute("DELETE FROM headrace_meta WHERE key = $1", _RECORD)
            await self._connection.execute(_META_PUT, "epoch", epoch)

    # -- small tables -------------------------------------------------------------------------------

    async def put_small(self, source: Source) -> None:
        """Queues, workers, limits, secrets and API keys as they are in the file; others stay."""
        async with self._connection.transaction():
            await self._connection.executemany(
                "INSERT INTO headrace_queue (name, paused) VALUES ($1, $2) "
                "ON CONFLICT (name) DO UPDATE SET paused = excluded.paused",
                [(name, bool(paused)) for name, paused in source.table("queue", "name, paused")],
            )
            await self._connection.executemany(
                "INSERT INTO headrace_limit (scope, rate_at, holder) VALUES ($1, $2, $3) "
                "ON CONFLICT (scope) DO UPDATE SET rate_at = excluded.rate_at, holder = excluded.holder",
                [
                    (scope, rate_at, None if job is None else UUID(job))
                    for scope, rate_at, job in source.table("limit", "scope, rate_at, holder")
                ],
            )
            await self._connection.executemany(
                "INSERT INTO headrace_secret (name, value) VALUES ($1, $2) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                list(source.table("secret", "name, value")),
            )
            await self._connection.executemany(
                query("api_key_insert"),
                [
                    (*row[:3], json.loads(row[3]), rows.at(row[4]), rows.when(row[5]))
                    for row in source.table("api_key", "id, name, digest, scopes, created_at, revoked_at")
                ],
            )
            await self._put_workers(source)
            await self.post.put_small(source)

    async def _put_workers(self, source: Source) -> None:
        """Workers that attempts name; they are gone, as far as this database is concerned."""
        columns = (
            "n, id, host, pid, role, version, queues, tasks, concurrency, started_at, supervisor_pid, draining, gone_at"
        )
        sql = (
            "INSERT INTO headrace_worker AS worker (id, host, pid, role, version, queues, tasks, concurrency, "
            "started_at, supervisor_pid, draining, gone_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9, $10, $11, "
            "coalesce($12, clock_timestamp())) ON CONFLICT (id) DO UPDATE SET gone_at = worker.gone_at RETURNING n"
        )
        for n, *row in source.table("worker", columns):
            if n not in self._workers:
                queues = None if row[5] is None else json.loads(row[5])
                params = (*row[:5], queues, *row[6:8], rows.at(row[8]), row[9], bool(row[10]), rows.when(row[11]))
                self._workers[n] = await self._connection.fetchval(sql, *params)

    # -- jobs ---------------------------------------------------------------------------------------

    async def add_ended(self, source: Source, found: Sequence[Row], progress: Progress) -> None:
        """Add ended jobs that are not here yet."""
        async with self._connection.transaction():
            await self._add(source, [], found)
            await self._note(progress)

    async def replace(self, source: Source, jobs: Jobs, progress: Progress) -> None:
        """Make these jobs what they are in the file: live, ended or not there."""
        async with self._connection.transaction():
            await self._connection.execute(_FORGET, [UUID(job) for job in jobs.ids])
            await self._add(source, jobs.live, jobs.ended)
            await self._note(progress)

    async def put_replays(self, keys: Sequence[tuple[str, str]], found: Sequence[Row], retention_s: float) -> None:
        """Make these idempotency records what they are in the file."""
        kept = int(retention_s * 1_000_000)
        async with self._connection.transaction():
            await self._connection.executemany("DELETE FROM headrace_idempotency WHERE scope = $1 AND key = $2", keys)
            await self._connection.copy_records_to_table(
                "headrace_idempotency",
                records=[(*row[:4], rows.at(row[4] - kept), rows.at(row[4])) for row in found],
                columns=["scope", "key", "fingerprint", "answer", "begun_at", "expires_at"],
            )

    async def _add(self, source: Source, live: Sequence[Row], ended: Sequence[Row]) -> None:
        everyone = [*live, *ended]
        await self._know(source, everyone)
        await self._copy("job", rows.LIVE_COLUMNS, live, rows.live)
        await self._copy("history", rows.ENDED_COLUMNS, ended, rows.ended)
        await self._put_keys(everyone)
        linked = {row[1]: rows.identity(row) for row in everyone if rows.has_more(row)}
        if linked:
            attempts = [rows.attempt(row, linked[row[0]], self._workers.get(row[3])) for row in source.attempts(linked)]
            await self._connection.copy_records_to_table(
                "headrace_attempt", records=attempts, columns=rows.ATTEMPT_COLUMNS
            )
            updates = (rows.update(row, linked[row[0]]) for row in source.feed(linked))
            await self._connection.copy_records_to_table("headrace_feed", records=updates, columns=rows.FEED_COLUMNS)
        await self.post.add_of_jobs(source, {rows.identity(row).bytes: rows.made(row) for row in everyone})

    async def _copy(self, table: str, columns: Sequence[str], found: Sequence[Row], turn: Turn) -> None:
        if found:
            records: list[Row] = []
            for row in found:
                place = rows.place(row)
                worker = None if place.worker is None else self._workers.get(place.worker)
                records.append(turn(row, self._lines[place.lane, place.priority], worker))
            await self._connection.copy_records_to_table(f"headrace_{table}", records=records, columns=columns)

    async def _put_keys(self, found: Sequence[Row]) -> None:
        keyed = [(place, row) for row in found if (place := rows.place(row)).digest is not None]
        keys = [(self._names[place.lane][1], place.key, rows.identity(row), place.digest) for place, row in keyed]
        if keys:
            await self._connection.execute(_KEYS_PUT, *(list(column) for column in zip(*keys, strict=True)))

    async def _know(self, source: Source, found: Sequence[Row]) -> None:
        """The numbers that these jobs' lines and workers have here."""
        places = [rows.place(row) for row in found]
        unknown = {(place.lane, place.priority) for place in places} - self._lines.keys()
        if unknown:
            self._names = source.lanes()
        for lane, priority in sorted(unknown):
            queue, task, key = self._names[lane]
            self._lines[lane, priority] = await self._connection.fetchval(_LINE, queue, task, key, priority)
        if {place.worker for place in places} - self._workers.keys() - {None}:
            await self._put_workers(source)


@contextlib.contextmanager
def told(where: str) -> Generator[None]:
    """The driver's errors as ours."""
    try:
        yield
    except HeadraceError:
        raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        if sqlstate(error) in _POOLER:
            raise StoreUnusable(
                f"{where} seems to be a pooler, which lends its sessions: name the server itself for the move"
            ) from error
        raise mapped(error, where) from error
