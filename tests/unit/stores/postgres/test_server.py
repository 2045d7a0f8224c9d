"""Servers and users that will not do, and the sentence for each."""

from dataclasses import replace

import pytest

from headrace.core.errors import StoreUnavailable, StoreUnusable
from headrace.stores.postgres.server import Seen, grants

GOOD = Seen(
    number=150_018,
    version="15.18",
    database="shop",
    user="ann",
    schema="public",
    creates=True,
    home="jobs",
    reads=True,
    owns=True,
    standby=False,
    read_only=False,
)


def test_a_good_one_passes() -> None:
    GOOD.check("h/shop")
    GOOD.check_writes("h/shop")
    GOOD.check_creates("h/shop")


@pytest.mark.parametrize(("number", "said"), [(120_022, "PostgreSQL 12"), (90_624, "PostgreSQL 9")])
def test_an_old_server(number: int, said: str) -> None:
    with pytest.raises(StoreUnusable, match=f"h/shop is on {said}; headrace needs 13 or newer: upgrade the server"):
        replace(GOOD, number=number).check("h/shop")
    replace(GOOD, number=130_000).check("h/shop")


def test_a_standby_and_a_read_only_server() -> None:
    with pytest.raises(StoreUnavailable, match=r"as a standby is; jobs need the primary$"):
        replace(GOOD, standby=True, read_only=True).check_writes("h/shop")
    with pytest.raises(StoreUnavailable, match=r"see default_transaction_read_only of ann$"):
        replace(GOOD, read_only=True).check_writes("h/shop")


def test_missing_rights() -> None:
    with pytest.raises(StoreUnusable, match="GRANT USAGE, CREATE ON SCHEMA public TO ann"):
        replace(GOOD, schema=None, creates=False).check_creates("h/shop")
    with pytest.raises(StoreUnusable, match="GRANT CREATE ON SCHEMA public TO ann"):
        replace(GOOD, creates=False).check_creates("h/shop")
    with pytest.raises(StoreUnusable, match="does not let ann use the headrace tables: have their owner GRANT"):
        replace(GOOD, reads=False).check("h/shop")
    replace(GOOD, home=None, reads=False).check("h/shop")


def test_grants_are_for_the_schema_that_has_the_tables() -> None:
    assert grants(GOOD).count("IN SCHEMA jobs TO ann") == 3
    assert grants(replace(GOOD, home=None)).count("IN SCHEMA public TO ann") == 3
