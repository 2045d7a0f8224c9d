"""How SQLite runs each statement: every hot one by its index, none through a whole table."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files

import pytest

from headrace.stores.sqlite import schema
from headrace.stores.sqlite.sql import QUERIES, query

# What may be walked, and why.
SCANS = {
    "api_keys": "a handful of rows",
    "claim": "json_each: the batch itself",
    "count_live": "a page of counts, on a reader",
    "count_ended": "a page of counts, on a reader",
    "find_live": "at most ?8 rows, newest first; json_each: one job's tags",
    "find_running": "json_each: one job's tags",
    "find_ended": "as find_live",
    "find_unhappy": "as find_live",
    "job_insert": "one constant row",
    "lanes_ready": "the recursion's own rows",
    "lanes_suspect": "the recursion's own rows",
    "load_ready": "at most ?4 rows of the index",
    "load_scheduled": "at most ?2 rows of the index",
    "outgoing": "json_each: the keys that are left out",
    "outgoing_pick": "json_each: the keys that are left out",
    "oldest_ready": "a page of counts, on a reader",
    "prune_pick": "LIMIT, from the oldest",
    "prune_workers": "a handful of rows",
    "queues": "every queue is asked for",
    "settling_lost": "the batch itself",
    "settling_move": "the batch itself",
    "sinks": "a handful of rows; of each at most ?1",
    "slot_count": "one constant row",
    "sources": "every source is asked for",
    "survey": "one constant row; the queues that are held, by their index",
    "upstreams": "a handful of rows; each is asked for",
    "workers": "every known worker is asked for, by its index",
    "workers_known": "every known worker is asked for, by its index",
}

# The steps that must be there, as SQLite words them.
INTENDED = {
    "claim": ["SEARCH job USING INTEGER PRIMARY KEY (rowid=?)"],
    "claim_pick": ["SEARCH job USING INDEX headrace_job_ready (lane=?)", "SEARCH call USING INTEGER PRIMARY KEY"],
    "claim_pick_suspects": ["SEARCH job USING INDEX headrace_job_suspect (suspect=? AND lane=?)"],
    "claim_pick_one": [
        "SEARCH job USING INDEX sqlite_autoindex_headrace_job_1 (id=?)",
        "SEARCH call USING INTEGER PRIMARY KEY",
    ],
    "turn_holder": [
        "SEARCH turn USING PRIMARY KEY (scope=?)",
        "SEARCH job USING INDEX sqlite_autoindex_headrace_job_1 (id=?)",
    ],
    "turn_first": ["SEARCH job USING INDEX headrace_job_ready (lane=?)"],
    "turn_first_suspect": ["SEARCH job USING INDEX headrace_job_suspect (suspect=? AND lane=?)"],
    "lanes_ready": ["SEARCH job USING INDEX headrace_job_ready (lane>?)"],
    "lanes_suspect": ["SEARCH job USING INDEX headrace_job_suspect (suspect=? AND lane>?)"],
    "survey": [
        "SEARCH worker USING INDEX sqlite_autoindex_headrace_worker_1 (id=?)",
        "SEARCH meta USING PRIMARY KEY (key=?)",
        "SEARCH job USING INDEX headrace_job_due",
        "SCAN queue USING INDEX headrace_queue_held",
    ],
    "slot_count": [
        "SEARCH slot USING PRIMARY KEY (scope=?)",
        "SEARCH job USING INDEX sqlite_autoindex_headrace_job_1 (id=?)",
        "SEARCH rate USING PRIMARY KEY (scope=?)",
    ],
    "slot_sweep": [
        "SEARCH slot USING PRIMARY KEY (scope=?)",
        "SEARCH job USING INDEX sqlite_autoindex_headrace_job_1 (id=?)",
    ],
    "load_priority": ["SEARCH job USING INDEX headrace_job_ready (lane=? AND priority<?)"],
    "load_ready": ["SEARCH job USING INDEX headrace_job_ready (lane=? AND priority=?)"],
    "load_scheduled": ["SEARCH job USING INDEX headrace_job_scheduled (lane=?)"],
    "settling_move": ["SEARCH job USING INTEGER PRIMARY KEY (rowid=?)"],
    "settling_leave": ["SEARCH job USING INTEGER PRIMARY KEY (rowid=?)"],
    "job_insert": ["SEARCH history USING COVERING INDEX sqlite_autoindex_headrace_history_1 (id=?)"],
    "due": ["SEARCH job USING INDEX headrace_job_due (run_at<?)"],
    "live_by_worker": ["SEARCH job USING INDEX headrace_job_running (worker=?)"],
    "worker_cancels": ["SEARCH job USING INDEX headrace_job_running (worker=?)"],
    "find_running": ["SEARCH job USING INDEX headrace_job_running (worker>?)"],
    "find_unhappy": ["USING INDEX headrace_history_unhappy (state=? AND id<?)"],
    "get_live": ["SEARCH j USING INDEX sqlite_autoindex_headrace_job_1 (id=?)"],
    "get_ended": ["SEARCH j USING INDEX sqlite_autoindex_headrace_history_1 (id=?)"],
    "feed_read": ["SEARCH feed USING PRIMARY KEY (n=? AND feed_offset>?)"],
    "emitted": ["SEARCH feed USING COVERING INDEX headrace_feed_emitted (n=?"],
    "forget_seen": [
        "SEARCH seen USING PRIMARY KEY (source=? AND digest=?)",
        "SEARCH seen USING COVERING INDEX headrace_seen_at (source=? AND at<?)",
    ],
    "outgoing_pick": ["SEARCH outbox USING INDEX headrace_outbox_waiting (sink=? AND n>?)"],
    "outgoing": ["SEARCH outbox USING INDEX headrace_outbox_waiting (sink=? AND n>? AND n<?)"],
    "sent": ["SEARCH outbox USING INTEGER PRIMARY KEY (rowid=?)"],
    "parked": ["SEARCH outbox USING INDEX headrace_outbox_parked (sink=? AND n>?)"],
    "promised": [
        "SEARCH promise USING PRIMARY KEY ((job,name)>(?,?))",
        "SEARCH history USING COVERING INDEX sqlite_autoindex_headrace_history_1 (id=?)",
    ],
    "append_guard": ["SEARCH job USING INDEX sqlite_autoindex_headrace_job_1 (id=?)"],
}
SORTS = {"find_running": "the few running jobs", "find_live": "", "find_ended": "", "find_unhappy": "", "due": ""}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.apply(connection, lambda: 0.0)
        connection.execute(query("settling_create"))
        yield connection


def plan_of(connection: sqlite3.Connection, name: str) -> list[str]:
    sql = query(name)
    numbered = [int(number) for number in re.findall(r"\?(\d+)", sql)]
    count = max(numbered) if numbered else sql.count("?")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * count)]


NAMES = sorted(QUERIES.keys() - {"settling_create"})


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_walked_that_may_grow(connection: sqlite3.Connection, name: str) -> None:
    walked = [step for step in plan_of(connection, name) if "SCAN" in step]
    assert not walked or name in SCANS, walked


def test_every_exception_is_needed(connection: sqlite3.Connection) -> None:
    assert {name for name in SCANS if not any("SCAN" in step for step in plan_of(connection, name))} == set()


@pytest.mark.parametrize("name", sorted(INTENDED))
def test_hot_statements_use_their_index(connection: sqlite3.Connection, name: str) -> None:
    steps = plan_of(connection, name)
    for wanted in INTENDED[name]:
        assert any(wanted in step for step in steps), steps


@pytest.mark.parametrize("name", sorted(INTENDED.keys() - SORTS.keys()))
def test_hot_statements_sort_nothing(connection: sqlite3.Connection, name: str) -> None:
    assert not [step for step in plan_of(connection, name) if "TEMP B-TREE" in step]


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_says_what_it_does(name: str) -> None:
    text = files("headrace.stores.sqlite").joinpath(f"queries/{name}.sql").read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert first.startswith("-- ")
    assert first.endswith(".")
    assert sum(sqlite3.complete_statement(f"{part};") for part in text.split(";") if part.strip()) == 1


def test_every_statement_is_used() -> None:
    sources = "".join(
        entry.read_text(encoding="utf-8")
        for entry in files("headrace.stores.sqlite").iterdir()
        if entry.name.endswith(".py")
    )
    unused = [name for name in QUERIES if f'"{name}"' not in sources and not name.startswith("prune_")]
    assert unused == []
