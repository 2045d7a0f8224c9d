"""SQLite as a backing: a file on a disk of its own, read through a connection that cannot write."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from proof.backing import Refusal, Worker
from proof.disk import Disk
from proof.evidence import Effect, Evidence, JobRow

STATES: Final = ("scheduled", "ready", "running", "succeeded", "failed", "cancelled")
TABLES: Final = """
CREATE TABLE effect (job TEXT NOT NULL, fence INTEGER NOT NULL, purchase TEXT NOT NULL);
CREATE TABLE placed (purchase TEXT PRIMARY KEY);
"""
JOBS: Final = """
SELECT job.id, job.state, job.fence, json_extract(call.args, '$.purchase'), job.failure, job.feed_end, job.items
FROM {table} AS job LEFT JOIN headrace_call AS call ON call.n = job.n
"""
CRASHES: Final = """
SELECT worker.pid FROM headrace_attempt AS attempt JOIN headrace_worker AS worker ON worker.n = attempt.worker
WHERE attempt.outcome = 'crashed'
"""
RUNNING: Final = """
SELECT worker.pid, count(*) FROM headrace_job AS job JOIN headrace_worker AS worker ON worker.n = job.worker
WHERE job.state = 2 GROUP BY worker.pid
"""
BASE_MIB: Final = 96
JOB_KIB: Final = 8


class Sqlite:
    """A database file, and a disk that can be filled."""

    name = "sqlite"

    def __init__(self, folder: Path, jobs: int, wish: str) -> None:
        """`jobs` says how large the disk must be."""
        self._disk = Disk(folder / "disk", BASE_MIB + jobs * JOB_KIB // 1024, wish)
        self._path = self._disk.folder / "shop.db"

    @property
    def url(self) -> str:
        """For HEADRACE_STORE."""
        return f"sqlite:///{self._path}"

    @property
    def versions(self) -> dict[str, str]:
        """Of the library."""
        return {"sqlite": sqlite3.sqlite_version}

    @property
    def place(self) -> str:
        """What the file lies on."""
        return self._disk.place

    @property
    def refusal(self) -> Refusal:
        """Which refusal of writes it uses."""
        return self._disk.refusal

    def prepare(self) -> None:
        """The shop's own tables, in the same file."""
        with closing(sqlite3.connect(self._path, timeout=30.0)) as connection:
            connection.executescript(TABLES)

    def _look(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=30.0, isolation_level=None)

    def workers(self) -> list[Worker]:
        """Those that registered and have not gone."""
        with closing(self._look()) as connection:
            rows = connection.execute(
                "SELECT pid, role, supervisor_pid, tasks <> '{}' FROM headrace_worker WHERE gone_at IS NULL"
            ).fetchall()
        return [Worker(pid, role, supervisor or 0, bool(ready)) for pid, role, supervisor, ready in rows if pid]

    def running(self) -> dict[int, int]:
        """How many jobs each process runs."""
        with closing(self._look()) as connection:
            return dict(connection.execute(RUNNING).fetchall())

    def unfinished(self, jobs: Iterable[str]) -> list[str]:
        """Those of these jobs that are not in the history."""
        with closing(self._look()) as connection:
            ended = {row[0].hex() for row in connection.execute("SELECT id FROM headrace_history")}
        return [job for job in jobs if job not in ended]

    def backlog(self) -> int:
        """How many jobs have not ended."""
        with closing(self._look()) as connection:
            return int(connection.execute("SELECT count(*) FROM headrace_job").fetchone()[0])

    @contextmanager
    def refused(self, pids: Callable[[], Iterable[int]]) -> Iterator[None]:
        """Writes fail while this is entered."""
        with self._disk.refused(pids):
            yield

    def restart(self) -> None:
        """There is no server."""

    own: Mapping[str, Callable[[], None]] = {}
    """And nothing that could be done to it."""

    def read(self, evidence: Evidence, hurt: Callable[[int], bool]) -> None:
        """Everything that the ledger needs from the file."""
        with closing(self._look()) as connection:
            for table in ("headrace_job", "headrace_history"):
                for row in connection.execute(JOBS.format(table=table)):
                    job, state, fence, purchase, failure, feed_end, items = row
                    cause = json.loads(failure).get("cause") if failure and state > STATES.index("running") else None
                    if job.hex() in evidence.jobs:
                        raise AssertionError(f"job {job.hex()} is both alive and ended")
                    evidence.jobs[job.hex()] = JobRow(STATES[state], fence, purchase, cause, feed_end, items)
            evidence.effects = [Effect(*row) for row in connection.execute("SELECT job, fence FROM effect")]
            evidence.placed = {row[0] for row in connection.execute("SELECT purchase FROM placed")}
            evidence.foreign_crashes = sum(not hurt(row[0]) for row in connection.execute(CRASHES))
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if verdict != "ok":
            raise AssertionError(f"the database is damaged: {verdict}")

    def close(self) -> None:
        """Take the disk away."""
        self._disk.close()
