"""The doctor finds what is wrong, and names what mends it."""

import json
import os
import signal
import sqlite3
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(150)  # many processes start and end in each; machines of CI are slow


def checks(shop: Any, *args: str, code: int = 0, **env: str) -> list[dict[str, Any]]:
    done = shop.run("doctor", "--json", *args, **env)
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (code, code == 0), done.stdout + done.stderr
    assert all(set(check) == {"name", "grade", "saw", "mend"} for check in told["checks"])
    found: list[dict[str, Any]] = told["checks"]
    return found


def the(found: list[dict[str, Any]], name: str, word: str) -> dict[str, Any]:
    return next(check for check in found if check["name"] == name and word in check["saw"])


def test_a_shop_where_nobody_works(shop: Any) -> None:
    shop.enqueue("nap.enqueue(1)")
    shop.out("queues", "pause", "slow")
    found = checks(shop, HEADRACE_LEASE="3")
    assert the(found, "workers", "none is alive")["mend"] == "`headrace worker APP`"
    assert the(found, "tasks", "1 jobs wait for nap, which no living worker knows")["grade"] == "warn"
    assert the(found, "queues", "slow is paused; 1 ready jobs wait")["mend"] == "`headrace queues resume slow`"
    assert the(found, "auth", "there is no API key")["mend"] == "`headrace keys create NAME`"
    assert the(found, "settings", "HEADRACE_LEASE is no setting")["mend"] == "did you mean HEADRACE_LEASE_S?"


def test_a_shop_where_somebody_works(shop: Any) -> None:
    shop.enqueue("nap.enqueue(99)")
    shop.out("keys", "create", "robot")
    worker = shop.start("worker", "shop:app", "--grace", "0.1", "--queues", "default")
    shop.until(shop.has_worker, "a worker is up")
    found = checks(shop)
    assert the(found, "workers", "1 alive")["grade"] == "ok"
    assert the(found, "auth", "1 valid API keys")["grade"] == "ok"
    assert the(found, "schema", "")["grade"] == "ok"
    assert the(found, "queues", "wait in slow")["mend"] == "`headrace worker APP --queues slow`"
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0


def test_a_file_that_is_no_database(shop: Any) -> None:
    (shop.path / "shop.db").write_text("id,name\n1,two\n")
    assert "is not a SQLite database" in the(checks(shop, code=1), "database file", "shop.db")["saw"]


def test_a_store_that_there_is_not(shop: Any) -> None:
    assert the(checks(shop, code=1, HEADRACE_STORE="mysql://db"), "settings", "mysql://db")["grade"] == "fail"


def test_a_newer_schema(shop: Any) -> None:
    shop.out("migrate")
    with sqlite3.connect(shop.path / "shop.db") as connection:
        connection.execute("INSERT INTO headrace_schema_migration VALUES (999, 'later', 0, '9.9', 999)")
    connection.close()
    assert "install headrace >= 9.9" in the(checks(shop, code=1), "schema", "999")["saw"]
    done = shop.run("jobs")
    assert done.returncode == 1
    assert done.stderr.startswith("headrace: ")
    assert "install headrace >= 9.9" in done.stderr


def test_who_holds_the_write_lock(shop: Any) -> None:
    shop.out("migrate")
    connection = sqlite3.connect(shop.path / "shop.db", isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE mine (x)")
        found = checks(shop, code=1)
    finally:
        connection.close()
    assert f"held by process {os.getpid()} (" in the(found, "write lock", "")["saw"]
    assert the(found, "store", "locked")["grade"] == "fail"


def test_for_a_person_it_ends_with_a_count(shop: Any) -> None:
    shop.out("migrate")
    lines = shop.out("doctor").splitlines()
    assert lines[-1].endswith(" 0 fail")
    assert all(line.startswith(("ok    ", "warn  ", "      ")) for line in lines[:-2])


def test_a_spool(shop: Any) -> None:
    shop.enqueue("nap.enqueue(1)")
    shop.env |= {"HEADRACE_SPOOL": "spool", "HEADRACE_BUSY_TIMEOUT_S": "0.1"}
    held = sqlite3.connect(shop.path / "shop.db", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    shop.enqueue("nap.enqueue(2)")
    held.execute("ROLLBACK")
    held.close()
    assert the(checks(shop), "spool", "in 1 file")["mend"] == "they are enqueued as soon as the store is back"
    shop.run_script("await shop.nap.enqueue(3); await asyncio.sleep(1)")  # takes it over
    assert the(checks(shop), "spool", "nothing waits")["grade"] == "ok"
    assert the(checks(shop, code=1, HEADRACE_SPOOL="shop.db"), "spool", "shop.db")["grade"] == "fail"
