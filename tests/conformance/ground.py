"""A database that is as good as new before each test, for a fraction of what a new one costs."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Final, Self

import psycopg

from headrace.stores.postgres import PostgresStore
from servers.postgres import Postgres

OTHERS: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
NAMES: Final = "SELECT array_agg(relname ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
CLEAR: Final = """
DO $$
DECLARE
    here text;
    filled boolean;
BEGIN
    FOR here IN
        SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'headrace_schema_migration'
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', here) INTO filled;
        IF filled THEN
            EXECUTE format('TRUNCATE %I', here);
        END IF;
    END LOOP;
    PERFORM setval(oid, 1, false) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S';
END
$$
"""
EPOCH: Final = "INSERT INTO headrace_meta (key, value) VALUES ('epoch', %s)"


class Ground:
    """Headrace's tables without rows; made anew only where the last test left others, or on another day.

    On the day depends what a store makes when it first opens, and a prune drops some of it.
    """

    def __init__(self, server: Postgres, wall: Callable[[], float] | None) -> None:
        """`wall` is the clock of the stores that will stand here; None: the server's."""
        self._server: Final = server
        self._wall: Final = wall
        self._url: Final = server.create_database()
        self._made: tuple[date, list[str]] | None = None
        self._session: Final = psycopg.connect(self._url, autocommit=True)  # one: a new one costs 20 ms each time

    def __enter__(self) -> Self:
        """Close what it needs at the end."""
        return self

    def __exit__(self, *exc: object) -> None:
        self._session.close()

    def fresh(self) -> str:
        """Where the database is, with the tables that a store makes and no rows."""
        self._session.execute(OTHERS)
        if self._made == (self._today(), self._names()):
            self._session.execute(CLEAR)
            self._session.execute(EPOCH, [secrets.token_hex(4)])
        else:
            self._session.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            with ThreadPoolExecutor(1) as apart:  # for there may be a test's own loop
                apart.submit(asyncio.run, self._make()).result()
            self._made = self._today(), self._names()
        return self._url

    async def _make(self) -> None:
        store = PostgresStore(self._url, wall=self._wall)
        await store.open()
        await store.close()

    def _today(self) -> date:
        return (datetime.now(UTC) if self._wall is None else datetime.fromtimestamp(self._wall(), UTC)).date()

    def _names(self) -> list[str]:
        row = self._session.execute(NAMES).fetchone()
        assert row is not None
        return row[0]
