"""Migrations: a new file at opening, an older one by command, each step whole or not at all."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headrace.core.errors import InvalidConfig, SchemaMismatch
from headrace.stores import migrate
from headrace.stores.migrations import Migration
from headrace.stores.sqlite import SqliteStore, schema
from headrace.stores.urls import sqlite_path

NOW = len(schema.migrations())
STEP = Migration(
    NOW + 1,
    "more",
    "-- phase: expand\nCREATE TABLE headrace_more (a INTEGER);\n-- a comment; with a semicolon\nSELECT 1;",
)
BROKEN = Migration(
    NOW + 2, "broken", "-- phase: expand\nCREATE TABLE headrace_even_more (a INTEGER); SELECT * FROM nowhere;"
)


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.db"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    return path


def later(monkeypatch: pytest.MonkeyPatch, *steps: Migration) -> None:
    """This version knows more migrations."""
    known = (*schema.migrations(), *steps)
    monkeypatch.setattr(schema, "migrations", lambda: known)


def test_migrations_are_numbered_without_gaps() -> None:
    assert [step.number for step in schema.migrations()] == list(range(1, len(schema.migrations()) + 1))


def test_a_file_that_is_not_there_lacks_everything(tmp_path: Path) -> None:
    plan = migrate.plan(f"sqlite:///{tmp_path / 'new.db'}")
    assert (plan.found, plan.pending) == (0, schema.migrations())
    assert not (tmp_path / "new.db").exists()
    assert migrate.apply(f"sqlite:///{tmp_path / 'new.db'}").applied == schema.migrations()
    assert migrate.plan(f"sqlite:///{tmp_path / 'new.db'}").pending == ()


async def test_a_new_file_is_migrated_when_it_is_opened(path: Path) -> None:
    assert migrate.plan(f"sqlite:///{path}").pending == ()
    assert "headrace_job" in tables(path)


async def test_the_epoch_belongs_to_the_file(path: Path, tmp_path: Path) -> None:
    epochs: list[str] = []
    for place in (path, path, tmp_path / "other.db"):
        store = SqliteStore(place)
        await store.open()
        epochs.append(store.epoch)
        await store.close()
    assert epochs[0] == epochs[1] != epochs[2]
    assert len(epochs[0]) == 8


async def test_an_older_file_is_migrated_only_by_command(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, STEP)
    with pytest.raises(SchemaMismatch, match=rf"schema {NOW}, .* wants {NOW + 1}: run `headrace migrate`"):
        await SqliteStore(path).open()
    assert "headrace_more" not in tables(path)
    migrated = migrate.apply(f"sqlite:///{path}")
    assert [step.name for step in migrated.applied] == ["more"]
    assert migrated.found == NOW + 1
    assert "headrace_more" in tables(path)
    assert migrate.apply(f"sqlite:///{path}").applied == ()
    store = SqliteStore(path)
    await store.open()
    await store.close()


async def test_a_broken_migration_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch, STEP, BROKEN)
    before = tables(path)
    with pytest.raises(Exception, match="nowhere"):
        migrate.apply(f"sqlite:///{path}")
    assert tables(path) == before
    assert migrate.plan(f"sqlite:///{path}").found == NOW


@pytest.mark.parametrize("url", ["memory://", "mysql://host/db", "jobs.db", "sqlite:///", "sqlite:///:memory:"])
def test_what_has_no_schema_is_refused(url: str) -> None:
    with pytest.raises(InvalidConfig):
        migrate.plan(url)


def test_paths_of_urls() -> None:
    assert sqlite_path("sqlite:///jobs.db") == Path("jobs.db")
    assert sqlite_path("sqlite:////srv/jobs.db") == Path("/srv/jobs.db")
