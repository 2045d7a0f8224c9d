"""The store's own tables, filled and read by raw SQL: for the floor, for big files, for counting."""

import importlib.resources
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

STATE_SCHEDULED, STATE_READY, STATE_RUNNING, STATE_SUCCEEDED = range(4)
MICRO = 1_000_000
CALL, JOB, HISTORY, LANE, QUEUE = (f"headrace_{name}" for name in ("call", "job", "history", "lane", "queue"))
_BLANK = {"INTEGER": "0", "REAL": "0", "TEXT": "''", "BLOB": "x''"}


def schema() -> str:
    """What a new file's tables are made with."""
    folder = importlib.resources.files("headrace.stores.sqlite") / "migrations"
    return "\n".join(file.read_text("utf-8") for file in sorted(folder.iterdir(), key=lambda file: file.name))


def connect(path: Path, synchronous: str = "FULL") -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30.0)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA secure_delete = OFF")
    return connection


def columns(connection: sqlite3.Connection, table: str) -> dict[str, tuple[str, bool, bool]]:
    """Of each column: its type, whether it must have a value, whether it is the row's number."""
    rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return {name: (kind, bool(must), kind == "INTEGER" and bool(pk)) for _, name, kind, must, _, pk in rows}


def insert_sql(connection: sqlite3.Connection, table: str, given: Sequence[str]) -> str:
    """An INSERT that binds the `given` columns and gives the others the least they accept."""
    blanks = {
        name: _BLANK[kind]
        for name, (kind, must, is_number) in columns(connection, table).items()
        if must and not is_number and name not in given
    }
    names = ", ".join((*given, *blanks))
    values = ", ".join((*("?" for _ in given), *blanks.values()))
    return f"INSERT INTO {table} ({names}) VALUES ({values})"


def make_id(n: int) -> bytes:
    """An id that rises with `n`, as those of the program rise with time."""
    return (n << 64).to_bytes(16)


def add_jobs(connection: sqlite3.Connection, numbers: Iterable[int], lane: int, state: int, run_at: int | None) -> None:
    """Live jobs of one int argument, inside the caller's transaction; scheduled ones are due from `run_at` on."""
    numbers = list(numbers)
    connection.executemany(
        insert_sql(connection, CALL, ("n", "args", "max_attempts", "timeout_s", "signature")),
        ((n, f'{{"n":{n}}}', 1, 600.0, "00000000") for n in numbers),
    )
    connection.executemany(
        insert_sql(connection, JOB, ("n", "id", "lane", "state", "seq", "run_at", "feed_end")),
        ((n, make_id(n), lane, state, n, None if run_at is None else run_at + n, 1) for n in numbers),
    )


def add_ended(connection: sqlite3.Connection, numbers: Iterable[int], lane: int, finished_at: int) -> None:
    """Succeeded jobs in the history, inside the caller's transaction."""
    numbers = list(numbers)
    connection.executemany(
        insert_sql(connection, CALL, ("n", "args", "max_attempts", "timeout_s", "signature")),
        ((n, f'{{"n":{n}}}', 1, 600.0, "00000000") for n in numbers),
    )
    given = ("n", "id", "lane", "state", "fence", "attempt", "feed_end", "started_at", "finished_at", "result")
    connection.executemany(
        insert_sql(connection, HISTORY, given),
        ((n, make_id(n), lane, STATE_SUCCEEDED, 1, 1, 3, finished_at, finished_at, "null") for n in numbers),
    )


def wall_micros() -> int:
    return int(time.time() * MICRO)


class Probe:
    """What the store's file says, read from outside; never writes."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30.0, isolation_level=None)

    def close(self) -> None:
        self._connection.close()

    def ended(self) -> int:
        """How many jobs have ended, ever; one look at the end of an index."""
        return int(self._connection.execute(f"SELECT coalesce(max(seq), 0) FROM {HISTORY}").fetchone()[0])

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def batch(self) -> float:
        """How many jobs ended in one transaction, in the mean: those share an instant."""
        row = self._connection.execute(
            f"SELECT 1.0 * count(*) / max(1, count(DISTINCT finished_at)) FROM {HISTORY} WHERE finished_at > started_at"
        ).fetchone()
        return float(row[0])
