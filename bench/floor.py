"""The floor: the same rows through `sqlite3` and the same number of asyncio tasks, with nothing of ours between."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from bench import tables
from bench.tables import CALL, HISTORY, JOB, STATE_RUNNING

LANE = 1
WORKER = 1
Claim = tuple[int, bytes, int, str]  # n, id, fence, args
Settle = tuple[int, bytes, int, str]  # n, id, fence, result


@dataclass(frozen=True, slots=True)
class Floor:
    """Rows or tasks per second."""

    insert: float
    claim_settle: float
    lifecycle: float  # insert, claim, move to the history
    python: float  # a task per job, its argument and its result as JSON
    drain: float  # claim, a task per job with JSON, move: in one thread


class RawQueue:
    """The store's tables moved through their life by set statements, one transaction a batch."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.connection = tables.connect(path, synchronous)
        if not tables.columns(self.connection, JOB):
            self.connection.executescript(tables.schema())
        self.connection.execute(
            "CREATE TEMP TABLE moving (n INTEGER PRIMARY KEY, id BLOB NOT NULL, fence INTEGER NOT NULL, result TEXT)"
        )
        self._move = self._move_sql()

    def _move_sql(self) -> str:
        live = tables.columns(self.connection, JOB)
        ended = tables.columns(self.connection, HISTORY)
        set_here = {"state": str(tables.STATE_SUCCEEDED), "finished_at": "?", "result": "m.result"}
        names = [name for name in ended if name in live or name in set_here]
        values = [set_here.get(name, f"j.{name}") for name in names]
        return (
            f"INSERT INTO {HISTORY} ({', '.join(names)}) SELECT {', '.join(values)} FROM temp.moving m"
            f" CROSS JOIN {JOB} j ON j.n = m.n AND j.id = m.id AND j.fence = m.fence AND j.state = {STATE_RUNNING}"
        )

    def insert(self, count: int, batch: int, first: int = 1) -> None:
        for start in range(first, first + count, batch):
            self.connection.execute("BEGIN IMMEDIATE")
            numbers = range(start, min(start + batch, first + count))
            tables.add_jobs(self.connection, numbers, LANE, tables.STATE_READY, None)
            self.connection.execute("COMMIT")

    def exchange(self, settles: list[Settle], batch: int) -> list[Claim]:
        """Move what ended, claim the next ones: one transaction."""
        now = tables.wall_micros()
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        if settles:
            self.connection.executemany("INSERT INTO temp.moving VALUES (?, ?, ?, ?)", settles)
            if execute(self._move, (now,)).rowcount != len(settles):
                raise sqlite3.IntegrityError("a row was not there to be moved")
            execute(f"DELETE FROM {JOB} WHERE n IN (SELECT n FROM temp.moving)")
            execute("DELETE FROM temp.moving")
        claimed: list[Claim] = execute(
            f"SELECT j.n, j.id, j.fence + 1, c.args FROM {JOB} j CROSS JOIN {CALL} c ON c.n = j.n"
            " WHERE j.state = 1 AND j.suspect = 0 AND j.lane = ? ORDER BY j.priority DESC, j.seq LIMIT ?",
            (LANE, batch),
        ).fetchall()
        if claimed:
            chosen = "[" + ",".join([str(row[0]) for row in claimed]) + "]"
            execute(
                f"UPDATE {JOB} SET state = 2, fence = fence + 1, attempt = attempt + 1, worker = ?, started_at = ?"
                " WHERE n IN (SELECT value FROM json_each(?))",
                (WORKER, now, chosen),
            )
        execute("COMMIT")
        return claimed


async def _body(args: str) -> str:
    json.loads(args)
    return json.dumps(None)


async def _bare(count: int, batch: int) -> None:
    loop = asyncio.get_running_loop()
    for start in range(0, count, batch):
        size = min(batch, count - start)
        await asyncio.gather(*[loop.create_task(_body(f'{{"n":{n}}}')) for n in range(size)])


async def _drain(queue: RawQueue, batch: int) -> None:
    loop = asyncio.get_running_loop()
    claimed = queue.exchange([], batch)
    while claimed:
        results = await asyncio.gather(*[loop.create_task(_body(claim[3])) for claim in claimed])
        settles = [(claim[0], claim[1], claim[2], result) for claim, result in zip(claimed, results, strict=True)]
        claimed = queue.exchange(settles, batch)


def _timed(count: int, work: Callable[[], Coroutine[object, object, None] | None]) -> float:
    started = time.perf_counter()
    running = work()
    if running is not None:
        asyncio.run(running)
    return count / (time.perf_counter() - started)


def measure(folder: Path, count: int, batch: int, synchronous: str = "FULL") -> Floor:
    """Move `count` rows through their life, twice: without bodies, then with a task for each."""
    plain = RawQueue(folder / "floor-plain.db", synchronous)
    insert = _timed(count, lambda: plain.insert(count, batch))

    def pump() -> None:
        claimed = plain.exchange([], batch)
        while claimed:
            claimed = plain.exchange([(n, job, fence, "null") for n, job, fence, _ in claimed], batch)

    claim_settle = _timed(count, pump)
    python = _timed(count, lambda: _bare(count, batch))
    drained = RawQueue(folder / "floor-drain.db", "OFF")
    drained.insert(count, 10_000)
    drained.connection.execute(f"PRAGMA synchronous = {synchronous}")
    drained.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    drain = _timed(count, lambda: _drain(drained, batch))
    for queue in (plain, drained):
        moved = queue.connection.execute(f"SELECT count(*) FROM {HISTORY}").fetchone()[0]
        if moved != count:
            raise AssertionError(f"the floor moved {moved} of {count} rows")
        queue.connection.close()
    return Floor(insert, claim_settle, 1 / (1 / insert + 1 / claim_settle), python, drain)
