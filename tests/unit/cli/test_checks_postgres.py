"""What the doctor says of a PostgreSQL that was examined."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from headrace.cli.checks import Check, Grade
from headrace.cli.checks_postgres import judge
from headrace.core.errors import SchemaMismatch
from headrace.ports.vacuum import Laggard
from headrace.stores.migrations import Migration, Plan
from headrace.stores.postgres.inspection import Examined, Facts, Thing
from headrace.stores.postgres.server import Seen

SEEN = Seen(
    150_018,
    "15.18",
    "shop",
    "ann",
    "public",
    creates=True,
    home="public",
    reads=True,
    owns=True,
    standby=False,
    read_only=False,
)
FACTS = Facts(True, True, True, "on", 20, 97, True, datetime(2026, 2, 28, 23, 30, tzinfo=UTC))
JOB = Thing("headrace_job", valid=True, vacuumed=True)
GOOD = Examined(
    "h/shop", False, SEEN, FACTS, 0.0, Plan(2, 2, ()), things=(JOB,), days=(date(2026, 2, 28), date(2026, 3, 1))
)
LATER = Migration(3, "less", "-- phase: contract\n")


def found(it: Examined, **facts: Any) -> dict[str, Check]:
    return {check.name: check for check in judge(replace(it, facts=replace(it.facts, **facts)), 10)}


def test_all_is_well() -> None:
    told = found(GOOD)
    assert {check.grade for check in told.values()} == {Grade.OK}
    assert told["database"].saw == "PostgreSQL 15.18 at h/shop, schema public, as ann"
    assert told["history"].saw == "2 days, the last 2026-03-01"


@pytest.mark.parametrize(
    ("facts", "name", "saw", "mend"),
    [
        ({"fsync": False}, "durability", "fsync is off: a crash of its machine may leave the whole", "ALTER SYSTEM"),
        ({"full_page_writes": False}, "durability", "full_page_writes is off", "`ALTER SYSTEM SET full_page_writes"),
        ({"synchronous_commit": "off"}, "durability", "may take jobs whose enqueue had returned", "ALTER ROLE ann SET"),
        ({"autovacuum": False}, "autovacuum", "deleted rows pile up", "ALTER SYSTEM SET autovacuum = on"),
        ({"connections": 90}, "connections", "90 of 97 in use; one more process may open 13", "max_connections"),
    ],
)
def test_settings_of_the_server(facts: dict[str, Any], name: str, saw: str, mend: str) -> None:
    check = found(GOOD, **facts)[name]
    assert (check.grade, saw in check.saw, mend in check.mend) == (Grade.WARN, True, True), check


@pytest.mark.parametrize(("ahead_s", "said"), [(2.5, "2.5 s ahead of"), (-90.0, "90.0 s behind"), (0.9, ""), (-1, "")])
def test_clocks_that_differ(ahead_s: float, said: str) -> None:
    check = found(replace(GOOD, ahead_s=ahead_s))["clock"]
    assert check.grade is (Grade.WARN if said else Grade.OK)
    assert said in check.saw
    assert not said or "nothing depends on it" in check.saw


@pytest.mark.parametrize(
    ("changes", "grade", "said"),
    [
        ({"trouble": SchemaMismatch("it is old: run `headrace migrate`")}, Grade.FAIL, "run `headrace migrate`"),
        ({"plan": Plan(0, 2, ())}, Grade.WARN, "there are no headrace tables yet"),
        ({"plan": Plan(3, 2, (), "0.3.0")}, Grade.OK, "made by headrace 0.3.0; this version goes on with it"),
        ({"plan": Plan(2, 3, (LATER,))}, Grade.WARN, "0003 less waits for workers of an older version to end"),
        ({"missing": ("headrace_end_1",)}, Grade.FAIL, "headrace_end_1 is gone or invalid"),
        ({"things": (replace(JOB, valid=False),)}, Grade.FAIL, "headrace_job is gone or invalid"),
    ],
)
def test_schemas(changes: dict[str, Any], grade: Grade, said: str) -> None:
    told = found(replace(GOOD, **changes))
    assert told["schema"].grade is grade
    assert said in told["schema"].saw
    assert ("rights" in told) is ("trouble" not in changes and changes.get("plan", GOOD.plan).found > 0)


def test_rights() -> None:
    names = tuple(f"headrace_{number}" for number in range(7))
    forbidden = found(replace(GOOD, forbidden=names))["rights"]
    assert forbidden.grade is Grade.FAIL
    assert forbidden.saw == f"ann may not use {', '.join(names[:5])} and 2 more"
    assert "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ann" in forbidden.mend
    user = found(replace(GOOD, seen=replace(SEEN, owns=False)))["rights"]
    assert (user.grade, user.mend) == (Grade.WARN, "have their owner run `headrace migrate` once a day")


def test_days_that_were_not_made_ahead() -> None:
    check = found(replace(GOOD, days=(date(2026, 2, 28),)))["history"]
    assert check.grade is Grade.WARN
    assert check.saw.startswith("headrace_history_20260301 was not made ahead")
    both = found(replace(GOOD, days=()))["history"]
    assert both.saw.startswith("headrace_history_20260228 and headrace_history_20260301 ")


def test_a_table_that_is_left_out_of_autovacuum() -> None:
    check = found(replace(GOOD, things=(replace(JOB, vacuumed=False),)))["autovacuum"]
    assert (check.grade, check.mend) == (Grade.WARN, "`ALTER TABLE headrace_job RESET (autovacuum_enabled)`")


def test_what_holds_vacuum_back() -> None:
    laggard = Laggard("session 42 (psql of bob)", 75.4, 1200, "SELECT pg_terminate_backend(42)")
    check = found(replace(GOOD, laggards=(laggard,)))["vacuum"]
    assert check.grade is Grade.WARN
    assert check.saw.endswith("session 42 (psql of bob), begun 75 s ago, 1200 transactions behind")
    assert check.mend == "SELECT pg_terminate_backend(42)"
    assert "GRANT pg_read_all_stats" in found(GOOD, sees_sessions=False)["vacuum"].saw
