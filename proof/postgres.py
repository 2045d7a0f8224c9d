"""PostgreSQL as a backing: a server of its own on the run's disk, read through sessions that cannot write."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg

from proof.backing import Refusal, Worker
from proof.evidence import Effect, Evidence, JobRow
from proof.sqlite import STATES
from servers.postgres import Postgres

TABLES: Final = """
CREATE TABLE effect (job TEXT NOT NULL, fence INTEGER NOT NULL, purchase TEXT NOT NULL);
CREATE TABLE placed (purchase TEXT PRIMARY KEY);
"""
WORKERS: Final = """
SELECT pid, role, coalesce(supervisor_pid, 0), tasks <> '{}' FROM headrace_worker WHERE gone_at IS NULL AND pid > 0
"""
RUNNING: Final = """
SELECT worker.pid, count(*) FROM headrace_job AS job JOIN headrace_worker AS worker ON worker.n = job.worker
WHERE job.state = 2 GROUP BY worker.pid
"""
JOBS: Final = """
SELECT replace(id::text, '-', ''), state, fence, args::json ->> 'purchase', NULL, feed_end, items FROM headrace_job
UNION ALL
SELECT replace(id::text, '-', ''), state, fence, args::json ->> 'purchase', failure, feed_end, items
FROM headrace_history
"""
CRASHES: Final = """
SELECT worker.pid FROM headrace_attempt AS attempt JOIN headrace_worker AS worker ON worker.n = attempt.worker
WHERE attempt.outcome = 'crashed'
"""
KICK: Final = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
DATABASE: Final = "shop"
READ_ONLY: Final = "-c default_transaction_read_only=on"
AWAY_S: Final = 60.0


class PostgresBacking:
    """A server that is restarted, throws everybody out, or takes no writes for a while."""

    name = "postgres"
    refusal = Refusal("a server that takes no writes (default_transaction_read_only)")

    def __init__(self, folder: Path, jobs: int, wish: str) -> None:
        """The size of its disk is not bounded, whatever is wished: a full one ends the server."""
        del folder, jobs, wish  # the server's own user may not enter the run's folder
        self._server = Postgres()
        self._server.sql(f"CREATE DATABASE {DATABASE}")

    @property
    def url(self) -> str:
        """For HEADRACE_STORE."""
        return self._server.url(DATABASE)

    @property
    def versions(self) -> dict[str, str]:
        """Of the server."""
        return {"postgresql": self._server.version}

    @property
    def place(self) -> str:
        """What the data lies on."""
        return "a server of its own, fsync and synchronous_commit on"

    @property
    def own(self) -> Mapping[str, Callable[[], None]]:
        """Faults that only a server has."""
        return {"server_killed": self._killed, "sessions_ended": self._kick}

    def prepare(self) -> None:
        """The shop's own tables, in the same database."""
        self._server.sql(TABLES, DATABASE)

    def workers(self) -> list[Worker]:
        """Those that registered and have not gone."""
        return [Worker(row[0], row[1], row[2], row[3]) for row in self._rows(WORKERS)]

    def running(self) -> dict[int, int]:
        """How many jobs each process runs."""
        return {row[0]: row[1] for row in self._rows(RUNNING)}

    def unfinished(self, jobs: Iterable[str]) -> list[str]:
        """Those of these jobs that are not in the history."""
        ended = {row[0] for row in self._rows("SELECT replace(id::text, '-', '') FROM headrace_history")}
        return [job for job in jobs if job not in ended]

    def backlog(self) -> int:
        """How many jobs have not ended."""
        return int(self._rows("SELECT count(*) FROM headrace_job")[0][0])

    @contextmanager
    def refused(self, pids: Callable[[], Iterable[int]]) -> Iterator[None]:
        """Writes fail while this is entered."""
        del pids
        self._read_only("on")
        try:
            yield
        finally:
            self._read_only("off")

    def restart(self) -> None:
        """Stop the server in order, and start it."""
        self._server.restart("fast")

    def _killed(self) -> None:
        self._server.kill()
        self._server.start()

    def _kick(self) -> None:
        self._server.sql(KICK, DATABASE)

    def _read_only(self, word: str) -> None:
        self._server.sql(f"ALTER SYSTEM SET default_transaction_read_only = {word}")
        self._server.sql("SELECT pg_reload_conf()")

    def read(self, evidence: Evidence, hurt: Callable[[int], bool]) -> None:
        """Everything that the ledger needs from the database."""
        for job, state, fence, purchase, told, feed_end, items in self._rows(JOBS):
            if job in evidence.jobs:
                raise AssertionError(f"job {job} is twice in the database")
            cause = json.loads(told).get("cause") if told else None
            evidence.jobs[job] = JobRow(STATES[state], fence, purchase, cause, feed_end, items)
        evidence.effects = [Effect(row[0], row[1]) for row in self._rows("SELECT job, fence FROM effect")]
        evidence.placed = {row[0] for row in self._rows("SELECT purchase FROM placed")}
        evidence.foreign_crashes = sum(not hurt(row[0]) for row in self._rows(CRASHES))

    def close(self) -> None:
        """Take the server away."""
        self._server.stop()

    def _rows(self, statement: LiteralString) -> list[tuple[Any, ...]]:
        """The answer of a server that may be away just now."""
        give_up = time.monotonic() + AWAY_S
        while True:
            try:
                with psycopg.connect(self.url, autocommit=True, options=READ_ONLY) as connection:
                    return connection.execute(statement).fetchall()
            except psycopg.OperationalError:
                if time.monotonic() >= give_up:
                    raise
            time.sleep(0.05)
