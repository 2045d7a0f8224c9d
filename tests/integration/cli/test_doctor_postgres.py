"""What the doctor finds on a PostgreSQL that can be used."""

import json
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from headrace.cli import main
from headrace.stores import migrate
from headrace.stores.postgres.inspection import examine
from servers.postgres import Postgres

Doctor: TypeAlias = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def sql(postgres: Postgres, postgres_url: str) -> Callable[[str], str]:
    migrate.apply(postgres_url)
    return lambda statement: postgres.sql(statement, postgres_url.rpartition("/")[2])


@pytest.fixture
def doctor(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """The doctor's findings by name, the worst of a name; `code` is how it ends."""

    def ask(options: str = "", *, code: int = 0) -> dict[str, dict[str, Any]]:
        with pytest.raises(SystemExit) as ended:
            main(["doctor", "--json", "--store", postgres_url + options])
        out, err = capsys.readouterr()
        assert (ended.value.code, err) == (code, ""), out
        found = sorted(json.loads(out)["checks"], key=lambda check: ["ok", "warn", "fail"].index(check["grade"]))
        return {check["name"]: check for check in found}

    return ask


def test_all_that_it_looks_at(sql: Callable[[str], str], doctor: Doctor, postgres: Postgres, postgres_url: str) -> None:
    found = doctor()
    said = {name: (check["grade"], check["saw"]) for name, check in found.items()}
    where = postgres_url.rpartition("@")[2]
    assert said["store"] == ("ok", postgres_url)
    assert said["database"] == ("ok", f"PostgreSQL {postgres.version} at {where}, schema public, as postgres")
    assert said["schema"] == ("ok", "3, as this version wants it")
    assert said["listen"] == ("ok", "hints of other processes are heard")
    assert said["proof of life"] == ("ok", "the lock on a session of one's own can be had")
    assert said["durability"] == ("ok", "synchronous_commit is on, fsync on")
    assert said["vacuum"] == ("ok", "nothing holds it back")
    assert said["autovacuum"] == ("ok", "on")
    assert said["clock"] == ("ok", "at most 1 s from this machine's")
    assert said["rights"] == ("ok", "postgres owns the tables")
    assert said["history"][1].startswith("4 days, the last 20")
    assert said["connections"][1].endswith("of 197 in use; each process opens up to 13")
    assert said["workers"] == ("warn", "none is alive, so nothing runs")
    assert {name for name, check in found.items() if check["grade"] != "ok"} <= {"workers", "auth", "settings"}
    assert "in memory" not in json.dumps(found)


def test_an_empty_database_is_left_empty(doctor: Doctor, postgres: Postgres, postgres_url: str) -> None:
    found = doctor()
    assert found["schema"]["saw"] == "there are no headrace tables yet"
    assert found["schema"]["mend"] == "the first start makes them, or `headrace migrate`"
    assert "workers" not in found
    assert postgres.sql("SELECT to_regclass('headrace_job') IS NULL", postgres_url.rpartition("/")[2]) == "t"


INVALID = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'headrace_job_ready'::regclass"
TOMORROW = """DO $$ BEGIN
    EXECUTE 'DROP TABLE headrace_history_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 day', 'YYYYMMDD');
END $$"""


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("DROP FUNCTION headrace_end_1", "headrace_end_1"),
        ("DROP INDEX headrace_job_due", "headrace_job_due"),
        ("DROP TABLE headrace_attempt", "headrace_attempt"),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'headrace_job_ready'::regclass",
            "headrace_job_ready",
        ),
    ],
)
def test_what_is_gone_is_named(statement: str, name: str, sql: Callable[[str], str], doctor: Doctor) -> None:
    sql(statement)
    check = doctor(code=1)["schema"]
    assert (check["grade"], check["saw"]) == ("fail", f"schema 3 was made, but {name} is gone or invalid")


def test_a_database_that_is_ahead_and_compatible(sql: Callable[[str], str], doctor: Doctor) -> None:
    sql("INSERT INTO headrace_schema_migration VALUES (4, 'more', now(), '0.9.0', 1)")
    found = doctor()
    assert found["schema"]["saw"] == "4, made by headrace 0.9.0; this version goes on with it"
    assert "workers" in found


def test_what_would_surprise(sql: Callable[[str], str], doctor: Doctor) -> None:
    sql("ALTER TABLE headrace_feed SET (autovacuum_enabled = off)")
    sql(TOMORROW)
    found = doctor("?synchronous_commit=off")
    assert [found[name]["grade"] for name in ("autovacuum", "history", "durability")] == ["warn"] * 3
    assert found["autovacuum"]["mend"] == "`ALTER TABLE headrace_feed RESET (autovacuum_enabled)`"
    assert "was not made ahead" in found["history"]["saw"]
    assert "may take jobs whose enqueue had returned" in found["durability"]["saw"]


@pytest.mark.parametrize("off_s", [30.0, -30.0, 0.0])
async def test_the_clocks_of_the_two(off_s: float, postgres_url: str) -> None:
    seen = await examine(postgres_url, lambda: time.time() + off_s)
    assert seen.ahead_s == pytest.approx(off_s, abs=1.0)
    assert abs(seen.ahead_s) <= abs(off_s)


def test_a_store_in_memory(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--store", "memory://"])
    assert ended.value.code == 0
    assert "jobs are kept in memory and end with the process" in capsys.readouterr().out
