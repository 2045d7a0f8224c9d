"""What may go wrong on the way: a log that is full, a hold that lapsed, a copy that is not the same."""

import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import headrace.stores.move.source as source_module
from headrace.core.errors import StoreUnavailable, StoreUnusable
from headrace.core.model import Succeeded
from headrace.stores import migrate
from headrace.stores.move import Source, Stage, Target
from headrace.stores.move.compare import compare_jobs
from headrace.stores.postgres.days import BACK_MAX
from headrace.stores.sqlite import SqliteStore, moving
from headrace.stores.sqlite.enqueue import enqueue
from headrace.testing.conformance import store_base as suite
from servers.postgres import Postgres
from tests.integration.move import kit

DAY_S = 86_400.0


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "jobs.db", kit.SETTINGS)
    await store.open()
    await suite.register(store)
    yield store
    await store.close()


def at(name: str, act: Callable[[], object], times: int = 1) -> Callable[[Stage], None]:
    """Do something when a stage is told of, the first times."""
    left = [times]

    def tell(stage: Stage) -> None:
        if stage.name == name and left[0]:
            left[0] -= 1
            act()

    return tell


def execute(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path, timeout=5)
    with connection:
        connection.execute(sql)
    connection.close()


def add(file: SqliteStore) -> None:
    """Enqueue, from within a stage."""
    file._writer.run_sync(lambda tx: enqueue(tx, [suite.new_job()], 1.0))  # type: ignore[union-attr]


async def count(url: str) -> int:
    store = await kit.target_of(url)
    try:
        return sum(sum(queue.counts.values()) for queue in await store.queues())
    finally:
        await store.close()


async def test_a_hold_that_lapsed_is_noticed_and_another_round_is_made(file: SqliteStore, postgres_url: str) -> None:
    await file.enqueue([suite.new_job()])

    def lapse() -> None:
        execute(file.path, "UPDATE headrace_meta SET value = '0' WHERE key = 'held_until'")
        add(file)

    moved = await kit.move(file.path, postgres_url, tell=at("compared", lapse))
    assert moved.counts["ready"] == 2
    assert await count(postgres_url) == 2


async def test_a_hold_that_lapses_again_and_again_ends_the_move(file: SqliteStore, postgres_url: str) -> None:
    def lapse() -> None:
        execute(file.path, "UPDATE headrace_meta SET value = '0' WHERE key = 'held_until'")
        add(file)

    with pytest.raises(StoreUnavailable, match="was written to although it was stopped"):
        await kit.move(file.path, postgres_url, tell=at("compared", lapse, 9))
    assert len(await suite.claim(file)) == 3
    await kit.move(file.path, postgres_url, grace_s=0.0)


async def test_a_full_log_starts_the_copy_over(
    file: SqliteStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_ROOM", moving._ROOM.replace(str(moving.LOG_MAX), "20"))
    monkeypatch.setattr(source_module, "JOBS_MAX", 3)
    jobs = [suite.new_job() for _ in range(30)]
    await file.enqueue(jobs)
    with pytest.raises(StoreUnavailable, match="run the command again, it starts over"):
        await kit.move(file.path, postgres_url, tell=at("live", lambda: add(file), 25))
    assert (await file.enqueue([suite.new_job()]))[0].created
    heard: list[str] = []
    await kit.move(file.path, postgres_url, tell=lambda stage: heard.append(stage.name))
    assert "resumed" not in heard
    assert await count(postgres_url) >= 31


async def test_a_copy_that_is_not_the_same_is_no_move(file: SqliteStore, postgres_url: str, postgres: Postgres) -> None:
    await file.enqueue([suite.new_job() for _ in range(3)])
    for job in await suite.claim(file, 2):
        await suite.settle(file, job, Succeeded("1"))
    name = postgres_url.rpartition("/")[2]
    setting = "SET headrace.move = '{}'; ".format

    def lose(sql: str) -> Callable[[], object]:
        def act() -> None:
            with sqlite3.connect(file.path) as connection:
                record = moving.record(connection)
            connection.close()
            assert record is not None
            postgres.sql(setting(record.id) + sql, name)

        return act

    spoil = (
        "DELETE FROM headrace_history WHERE id = (SELECT min(id::text)::uuid FROM headrace_history); "
        "UPDATE headrace_job SET fence = 9"
    )
    said = r"nothing was moved \(succeeded: 2 in the file, 1 in the target; the live jobs' states, fences or feeds\)"
    with pytest.raises(StoreUnusable, match=said):
        await kit.move(file.path, postgres_url, tell=at("live", lose(spoil)))
    assert len(await suite.claim(file)) == 1  # it goes on


async def test_what_changed_since_all_was_compared_is_compared_too(
    file: SqliteStore, postgres_url: str, postgres: Postgres
) -> None:
    told = await kit.fill(file)
    await kit.move(file.path, postgres_url)
    name = postgres_url.rpartition("/")[2]
    with Source(file.path, kit.SETTINGS, time.time, moved=True) as source:
        async with Target.opened(postgres_url) as target:
            jobs = sorted(told.jobs)
            assert await compare_jobs(source, target, jobs) == []
            assert len(await compare_jobs(source, target, [*jobs, bytes(16)])) == 0
            live = postgres.sql("SELECT id FROM headrace_job LIMIT 1", name).strip()
            update = f"('{live}', 99, 1, now(), 'item', NULL, '1')"
            for spoil, mend in (
                (
                    f"UPDATE headrace_job SET fence = fence + 1 WHERE id = '{live}'",
                    f"UPDATE headrace_job SET fence = fence - 1 WHERE id = '{live}'",
                ),
                (f"INSERT INTO headrace_feed VALUES {update}", "DELETE FROM headrace_feed WHERE feed_offset = 99"),
            ):
                postgres.sql(spoil, name)
                assert await compare_jobs(source, target, jobs) == [f"job {live.replace('-', '')}"]
                postgres.sql(mend, name)


async def test_the_history_lies_in_its_days(file: SqliteStore, postgres_url: str, postgres: Postgres) -> None:
    """So that a day that is over is dropped whole, on the other side too."""
    now = time.time()
    for age_days in (BACK_MAX + 30, 5, 3, 3, 0):
        job = await suite.enqueue_claimed(file)
        await suite.settle(file, job, Succeeded("1"))
        execute(
            file.path,
            f"UPDATE headrace_history SET finished_at = {int((now - age_days * DAY_S) * 1e6)} "
            "WHERE seq = (SELECT max(seq) FROM headrace_history)",
        )
    await kit.move(file.path, postgres_url)
    rows = postgres.sql(
        "SELECT tableoid::regclass, count(*) FROM headrace_history GROUP BY 1 ORDER BY 1",
        postgres_url.rpartition("/")[2],
    )

    def day(age_days: int) -> str:
        return f"headrace_history_{datetime.fromtimestamp(now, UTC) - timedelta(days=age_days):%Y%m%d}"

    assert dict(line.split("|") for line in rows.split()) == {
        "headrace_history_other": "1", day(5): "1", day(3): "2", day(0): "1"
    }  # fmt: skip


def test_a_database_is_migrated_again_before_anything_was_pruned(postgres_url: str) -> None:
    assert migrate.apply(postgres_url).applied
    assert not migrate.apply(postgres_url).applied
