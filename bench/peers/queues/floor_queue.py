"""The floor: the least that a durable job with a history costs on PostgreSQL, by asyncpg, with no framework.

One statement, so one transaction and one round trip, moves the jobs that ended to the history and claims
the next batch (SKIP LOCKED, fenced); each job is a bare asyncio task with JSON in and out. Run as a
program it is the worker. `PEER_ROWS=1` leaves the tasks away: rows alone.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Coroutine, Sequence

import asyncpg
import uvloop

from bench.peers.queues import bodies
from bench.peers.queues.client import AsyncClient

POOL = 20
POLL_S = 0.5
LAG_S = 0.05
BATCH = int(os.environ.get("PEER_BATCH", "300"))
ROWS_ONLY = bool(os.environ.get("PEER_ROWS"))
SCHEMA = """
CREATE TABLE job (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid NOT NULL DEFAULT gen_random_uuid(),
    lane integer NOT NULL DEFAULT 1, state smallint NOT NULL DEFAULT 1, priority smallint NOT NULL DEFAULT 0,
    fence integer NOT NULL DEFAULT 0, attempt integer NOT NULL DEFAULT 0, worker integer,
    created_at timestamptz NOT NULL DEFAULT now(), started_at timestamptz,
    task text NOT NULL, args text NOT NULL
);
CREATE INDEX job_ready ON job (lane, priority DESC, n) WHERE state = 1;
CREATE TABLE history (
    n bigint PRIMARY KEY, id uuid NOT NULL, lane integer NOT NULL, state smallint NOT NULL,
    priority smallint NOT NULL, fence integer NOT NULL, attempt integer NOT NULL,
    created_at timestamptz NOT NULL, started_at timestamptz, finished_at timestamptz NOT NULL,
    task text NOT NULL, args text NOT NULL, result text
);
CREATE INDEX history_id ON history (id);
"""
INSERT = """
WITH added AS (INSERT INTO job (task, args) SELECT $1, unnest($2::text[]) RETURNING 1)
SELECT pg_notify('floor', '') FROM (SELECT 1 FROM added LIMIT 1) AS any_of_them
"""
EXCHANGE = """
WITH ended AS (
    DELETE FROM job AS j USING unnest($1::bigint[], $2::integer[], $3::text[]) AS s (n, fence, result)
    WHERE j.n = s.n AND j.fence = s.fence AND j.state = 2
    RETURNING j.*, s.result
), kept AS (
    INSERT INTO history
    SELECT n, id, lane, 3, priority, fence, attempt, created_at, started_at, now(), task, args, result FROM ended
), next AS MATERIALIZED (
    SELECT n FROM job WHERE lane = 1 AND state = 1 AND priority = 0 AND n > $5 ORDER BY n LIMIT $4
    FOR UPDATE SKIP LOCKED
)
UPDATE job AS j SET state = 2, fence = j.fence + 1, attempt = j.attempt + 1, worker = 1, started_at = now()
FROM next WHERE j.n = next.n
RETURNING j.n, j.fence, j.task, j.args
"""
CERTAIN = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off"}
"""So that every join walks an index, whatever the statistics say while the table fills and drains."""


class Client(AsyncClient):
    bulk = 1_000
    _pool: asyncpg.Pool

    async def prepare(self) -> None:
        await self._pool.execute(SCHEMA)

    async def open(self) -> None:
        self._pool = await asyncpg.create_pool(bodies.URL, min_size=1, max_size=POOL)

    async def close(self) -> None:
        await self._pool.close()

    async def one(self, task: str, n: float) -> None:
        await self.many(task, [n])

    async def many(self, task: str, numbers: Sequence[float]) -> None:
        await self._pool.execute(INSERT, task, [f'{{"n":{n}}}' for n in numbers])


class Worker:
    """Exchanges what ended for what is next until it is told to stop."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._called = asyncio.Event()
        self._below = self._next_below = 0  # where claims begin: dead rows lie under it
        self._raise_at = 0.0
        self.stopping = False

    def call(self, *_: object) -> None:
        self._called.set()

    def stop(self) -> None:
        self.stopping = True
        self.call()

    async def run(self) -> None:
        await self._connection.add_listener("floor", self.call)
        exchange = await self._connection.prepare(EXCHANGE)
        ended: list[tuple[int, int, str]] = []
        while not self.stopping or ended:
            self._called.clear()
            size = 0 if self.stopping else BATCH
            columns = tuple(zip(*ended, strict=True)) or ((), (), ())
            claimed = await exchange.fetch(*columns, size, self._below)
            ended = await self._perform(claimed)
            if claimed:
                self._raise(min(row["n"] for row in claimed) - 1)
            elif not self.stopping:
                await self._until_called()

    async def _perform(self, claimed: Sequence[asyncpg.Record]) -> list[tuple[int, int, str]]:
        if ROWS_ONLY:
            for _ in claimed:
                bodies.hit()
            return [(row["n"], row["fence"], "null") for row in claimed]
        create: Callable[[Coroutine[object, object, str]], asyncio.Task[str]] = asyncio.get_running_loop().create_task
        results = await asyncio.gather(*[create(_body(row["task"], row["args"])) for row in claimed])
        return [(row["n"], row["fence"], result) for row, result in zip(claimed, results, strict=True)]

    def _raise(self, below: int) -> None:
        """Some time later than it could, for rows that got their number early and were committed late."""
        now = time.monotonic()
        if now >= self._raise_at:
            self._below, self._next_below, self._raise_at = self._next_below, below, now + LAG_S

    async def _until_called(self) -> None:
        """A notification, or half a second; then from the beginning, for what was committed later still."""
        try:
            await asyncio.wait_for(self._called.wait(), POLL_S)
        except TimeoutError:
            self._below = self._next_below = 0


async def _body(task: str, args: str) -> str:
    return json.dumps(await bodies.ASYNC[task](json.loads(args)["n"]))


async def work() -> None:
    connection = await asyncpg.connect(bodies.URL, server_settings=CERTAIN)
    worker = Worker(connection)
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, worker.stop)
    await worker.run()
    await connection.close()


if __name__ == "__main__":
    uvloop.run(work())
