"""Which migrations may come under older workers, and which programs go on after them."""

import re

import pytest

from headrace.core.errors import SchemaMismatch
from headrace.stores.migrations import (
    Applied,
    Elder,
    Migrated,
    Migration,
    Plan,
    compared,
    is_elder,
    made,
    migrations,
    ready,
    records,
)

EXPAND, CONTRACT = "-- phase: expand\n", "-- phase: contract\n"
ONE, TWO = Migration(1, "one", EXPAND), Migration(2, "two", EXPAND)
MORE = Migration(3, "more", EXPAND)
LESS = Migration(4, "less", "-- phase: contract, compatible_from: 3\n")
LEAST = Migration(5, "least", CONTRACT)
AFTER = Migration(6, "after", EXPAND)
ALL = (ONE, TWO, MORE, LESS, LEAST, AFTER)
OLD = Elder("w_1", "here", 7, "0.1.0")


def applied(*steps: Migration) -> list[Applied]:
    """What a database says that had these, each applied by a program that knew it."""
    plan = Plan(0, 0, ())
    return [record for _, record in records(plan, steps)]


def opens(known: tuple[Migration, ...], had: tuple[Migration, ...]) -> bool:
    """Whether a program that knows some goes on with a database that had others."""
    try:
        compared(known, applied(*had)).check("here")
    except SchemaMismatch:
        return False
    return True


@pytest.mark.parametrize("package", ["headrace.stores.postgres", "headrace.stores.sqlite"])
def test_every_migration_says_its_phase_in_its_first_line(package: str) -> None:
    for number, step in enumerate(migrations(package), 1):
        assert step.number == number
        assert re.match(r"-- phase: (expand|contract(, compatible_from: \d+)?)\n", step.sql), step


def test_one_that_says_nothing_may_take_away() -> None:
    assert not Migration(2, "silent", "DROP TABLE headrace_job;").expands
    assert not Migration(2, "late", "\n-- phase: expand").expands
    assert ONE.expands
    assert not LESS.expands


def test_what_only_adds_leaves_everybody_compatible() -> None:
    assert [record.compatible_from for record in applied(*ALL)] == [1, 1, 1, 3, 5, 5]


@pytest.mark.parametrize(
    ("known", "had", "good"),
    [
        (ALL[:2], ALL[:2], True),
        (ALL[:2], ALL[:3], True),  # ahead, and everything added
        (ALL[:1], ALL[:3], True),
        (ALL[:2], ALL[:4], False),  # what two uses was taken away
        (ALL[:3], ALL[:4], True),  # three no longer uses it
        (ALL[:4], ALL, False),  # by one that says of nobody that it goes on
        (ALL[:5], ALL, True),
        (ALL[:3], ALL[:2], False),  # behind
        (ALL[:4], ALL[:3], True),  # behind, by what takes away: that can wait
        (ALL, ALL[:3], False),  # behind, by what was added after it
        (ALL, (), False),
    ],
)
def test_who_goes_on_with_what(known: tuple[Migration, ...], had: tuple[Migration, ...], good: bool) -> None:
    assert opens(known, had) is good


def test_a_newer_database_names_the_version_that_knows_it() -> None:
    plan = compared(ALL[:2], [Applied(9, "3.1.0", 9)])
    with pytest.raises(SchemaMismatch, match=r"here has schema 9, made by headrace 3\.1\.0; .*headrace >= 3\.1"):
        plan.check("here")
    with pytest.raises(SchemaMismatch, match="run `headrace migrate`"):
        compared(ALL[:2], applied(ONE)).check("here")


def test_an_old_worker_holds_up_what_takes_away_and_all_after_it() -> None:
    plan = compared(ALL, applied(ONE, TWO))
    assert ready(plan, ()) == (MORE, LESS, LEAST, AFTER)
    assert ready(plan, [OLD]) == (MORE,)
    assert ready(compared(ALL, []), [OLD]) == ALL, "an empty store has no workers"
    held = Migrated(plan, (MORE,), (LESS, LEAST, AFTER), (OLD,))
    assert (held.found, held.lacking) == (3, (AFTER,))
    assert Migrated(plan, (MORE,), (LESS, LEAST), (OLD,)).lacking == ()


@pytest.mark.parametrize(
    ("worker", "program", "older"),
    [
        ("0.1.0", "0.2.0", True),
        ("0.9.0", "0.10.0", True),
        ("0.2.0", "0.2.0", False),
        ("0.3.0", "0.2.0", False),
        ("0.2.0rc1", "0.2.0", True),
        ("", "0.2.0", True),
        ("unknown", "0.2.0", True),
        ("", "", False),
    ],
)
def test_which_worker_is_older(worker: str, program: str, older: bool) -> None:
    assert is_elder(worker, program) is older


def test_what_migrations_make() -> None:
    one = Migration(1, "one", "CREATE TABLE headrace_a (x);\nCREATE UNIQUE INDEX headrace_b ON headrace_a (x);\n")
    two = Migration(2, "two", "CREATE FUNCTION headrace_c_1() ...\nDROP INDEX IF EXISTS headrace_b;\n")
    assert made([one, two]) == {"headrace_a", "headrace_c_1"}
