"""Migrations on real stores: by command and as SQL, under living workers of an older version and not."""

import asyncio
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import pytest

from headrace.core.errors import SchemaMismatch
from headrace.ports.store import Store
from headrace.stores import migrate, migrations
from headrace.stores.migrations import Migration
from headrace.stores.postgres import PostgresStore
from headrace.stores.postgres import schema as of_postgres
from headrace.stores.sqlite import SqliteStore
from headrace.stores.sqlite import schema as of_sqlite
from headrace.testing.conformance.store_base import new_job, worker_record
from servers.postgres import Postgres

Plans = Callable[..., None]


class OnFile:
    """A SQLite file, and a look into it from outside."""

    schema: ModuleType = of_sqlite

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def store(self) -> Store:
        return SqliteStore(self.path)

    def tables(self) -> set[str]:
        if not self.path.exists():
            return set()
        with closing(sqlite3.connect(self.path)) as connection:
            return {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}

    def run(self, script: str) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.executescript(script)

    def empty(self) -> None:
        self.path.unlink()


class OnServer:
    """A PostgreSQL database, and a look into it from outside."""

    schema: ModuleType = of_postgres

    def __init__(self, server: Postgres, url: str) -> None:
        self.server = server
        self.url = url

    def store(self) -> Store:
        return PostgresStore(self.url)

    def tables(self) -> set[str]:
        listing = "SELECT string_agg(relname, ' ') FROM pg_class WHERE relkind IN ('r', 'p') AND relname ~ '^headrace_'"
        return set(self.server.sql(listing, self.url.rpartition("/")[2]).split())

    def run(self, script: str) -> None:
        options = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={self.url}"]
        done = subprocess.run(
            [self.server._bin / "psql", *options], input=script, capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode:
            raise sqlite3.OperationalError(done.stderr)

    def empty(self) -> None:
        self.server.empty(self.url)


Kept: TypeAlias = OnFile | OnServer


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "sqlite":
        return OnFile(tmp_path / "jobs.db")
    return OnServer(request.getfixturevalue("postgres"), request.getfixturevalue("postgres_url"))


@pytest.fixture
def plans(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Plans:
    """Have this version know more migrations: each expands (`+name`) or contracts (`-name`)."""
    here = kept.schema.migrations()

    def know(*names: str, version: str = "") -> None:
        steps = [_step(len(here) + number, name) for number, name in enumerate(names, 1)]
        monkeypatch.setattr(kept.schema, "migrations", lambda: (*here, *steps))
        if version:
            monkeypatch.setattr(migrations, "program_version", lambda: version)
            for user in ("headrace.stores.postgres.schema", "headrace.stores.sqlite.migrating"):
                monkeypatch.setattr(f"{user}.program_version", lambda: version)

    return know


def _step(number: int, name: str) -> Migration:
    if name.startswith("+"):
        return Migration(number, name[1:], f"-- phase: expand\nCREATE TABLE headrace_{name[1:]} (a integer);\n")
    return Migration(number, name[1:], f"-- phase: contract\nDROP TABLE headrace_{name[1:]};\n")


@pytest.fixture
async def old(kept: Kept) -> AsyncIterator[AsyncExitStack]:
    """A store as it was made, with a living worker of version 0.0.9."""
    async with AsyncExitStack() as stack:
        store = kept.store()
        await store.open()
        stack.push_async_callback(store.close)
        await store.register(worker_record("w_old", version="0.0.9"), 60.0)
        stack.push_async_callback(store.unregister, "w_old")
        yield stack


async def apply(kept: Kept, **options: bool) -> migrate.Migrated:
    return await asyncio.to_thread(lambda: migrate.apply(kept.url, **options))


async def plan(kept: Kept) -> migrate.Plan:
    return await asyncio.to_thread(migrate.plan, kept.url)


async def script(kept: Kept, **options: bool) -> tuple[migrate.Migrated, str]:
    return await asyncio.to_thread(lambda: migrate.script(kept.url, **options))


async def test_what_adds_comes_at_once_and_what_takes_away_waits(kept: Kept, plans: Plans, old: AsyncExitStack) -> None:
    plans("+new", "-new")
    with pytest.raises(SchemaMismatch, match="run `headrace migrate`"):
        await kept.store().open()
    first = await apply(kept)
    assert ([step.name for step in first.applied], [step.name for step in first.waiting]) == (["new"], ["new"])
    assert [str(elder) for elder in first.elders] == ["w_old (headrace 0.0.9, pid 1 on here)"]
    assert first.lacking == ()
    assert "headrace_new" in kept.tables()
    store = kept.store()
    await store.open()  # this version runs while that one waits
    await store.enqueue([new_job()])
    await store.close()
    again = await apply(kept)
    assert (again.applied, [step.name for step in again.waiting]) == ((), ["new"])
    assert [step.name for step in (await plan(kept)).pending] == ["new"]
    await old.aclose()
    last = await apply(kept)
    assert ([step.expands for step in last.applied], last.waiting) == ([False], ())
    assert "headrace_new" not in kept.tables()


async def test_force_does_not_wait(kept: Kept, plans: Plans, old: AsyncExitStack) -> None:
    plans("+new", "-new")
    assert len((await apply(kept, force=True)).applied) == 2
    assert "headrace_new" not in kept.tables()


async def test_what_comes_after_what_waits_waits_too(kept: Kept, plans: Plans, old: AsyncExitStack) -> None:
    plans("+new", "-new", "+next")
    done = await apply(kept)
    assert [step.name for step in done.applied] == ["new"]
    assert [step.name for step in done.lacking] == ["next"]


async def test_a_worker_of_this_version_and_a_dead_one_hold_nothing_up(kept: Kept, plans: Plans) -> None:
    store = kept.store()
    await store.open()
    await store.register(worker_record("w_same", version="0.2.0"), 60.0)
    await store.register(worker_record("w_newer", version="0.10.0"), 60.0)
    await store.register(worker_record("w_dead", version="0.0.9"), 0.001)
    await asyncio.sleep(0.01)
    plans("+new", "-new", version="0.2.0")
    assert len((await apply(kept)).applied) == 2
    await store.close()


async def test_an_older_program_goes_on_ahead_of_it_until_something_is_taken_away(kept: Kept, plans: Plans) -> None:
    store = kept.store()
    await store.open()
    plans("+new", "+newer")
    await apply(kept)
    plans()
    await store.enqueue([new_job()])
    await store.close()
    await store.open()  # it may even start again
    await store.enqueue([new_job()])
    await store.close()
    assert (await apply(kept)).applied == (), "and has nothing to migrate"
    plans("+new", "+newer", "-new")
    await apply(kept)
    plans("+new", "+newer")
    with pytest.raises(SchemaMismatch, match=f"has schema {(await plan(kept)).found}, made by headrace"):
        await kept.store().open()
    with pytest.raises(SchemaMismatch, match="install headrace >="):
        await apply(kept)


async def test_the_printed_sql_makes_what_the_command_makes(kept: Kept, plans: Plans) -> None:
    done, text = await script(kept)
    assert done.applied == kept.schema.migrations()
    assert kept.tables() == set()
    await asyncio.to_thread(kept.run, text)
    by_hand = kept.tables()
    store = kept.store()
    await store.open()
    await store.enqueue([new_job()])
    await store.close()
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        await asyncio.to_thread(kept.run, text)
    assert (await script(kept))[1] == ""
    plans("+new")
    _, more = await script(kept)
    await asyncio.to_thread(kept.run, more)
    assert kept.tables() == by_hand | {"headrace_new"}
    assert (await apply(kept)).applied == ()
    await store.open()
    await store.close()


async def test_by_sql_and_by_command_the_tables_are_the_same(kept: Kept, plans: Plans) -> None:
    _, text = await script(kept)
    await asyncio.to_thread(kept.run, text)
    by_hand = kept.tables()
    await asyncio.to_thread(kept.empty)
    await apply(kept)
    assert kept.tables() == by_hand


async def test_sql_leaves_out_what_has_to_wait(kept: Kept, plans: Plans, old: AsyncExitStack) -> None:
    plans("+new", "-new")
    done, text = await script(kept)
    assert "CREATE TABLE headrace_new" in text
    assert "DROP TABLE" not in text
    assert [elder.id for elder in done.elders] == ["w_old"]
    _, text = await script(kept, force=True)
    assert "DROP TABLE headrace_new" in text
