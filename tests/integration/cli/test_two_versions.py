"""A deploy across a migration: a worker of this version and one of the next, on one database, with work to do."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import headrace
from servers.postgres import Postgres
from tests.integration.cli.conftest import Shop

pytestmark = pytest.mark.timeout(300)

CHECKED = ["pending  0004 note", "pending  0005 old_exchange  (takes away)", "schema 3, this version wants 5"]
EXPAND = """-- phase: expand
ALTER TABLE headrace_job ADD COLUMN note text;
ALTER TABLE headrace_history ADD COLUMN note text;
{function}
"""
CONTRACT = """-- phase: contract, compatible_from: 4
DROP FUNCTION headrace_exchange_1;
"""
PRODUCE = """
import asyncio, pathlib, shop

async def main():
    made = 0
    while not pathlib.Path("enough").exists():
        await shop.count.enqueue(1)
        made += 1
        await asyncio.sleep(0.02)
    print(made)
    await shop.hr.close()

asyncio.run(main())
"""


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """Headrace 0.2.0, to be put on the path: a column more, and a changed exchange under a new name."""
    made = tmp_path / "next"
    shutil.copytree(Path(headrace.__file__).parent, made / "headrace", ignore=shutil.ignore_patterns("__pycache__"))
    (made / "headrace-0.2.0.dist-info").mkdir()
    (made / "headrace-0.2.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: headrace\nVersion: 0.2.0\n"
    )
    store = made / "headrace" / "stores" / "postgres"
    functions = (store / "migrations" / "0002_functions.sql").read_text()
    start = functions.index("CREATE FUNCTION headrace_exchange_1(")
    function = functions[start : functions.index("\n$$;", start) + 4].replace("exchange_1", "exchange_2")
    (store / "migrations" / "0004_note.sql").write_text(EXPAND.format(function=function))
    (store / "migrations" / "0005_old_exchange.sql").write_text(CONTRACT)
    query = store / "queries" / "exchange.sql"
    query.write_text(query.read_text().replace("headrace_exchange_1", "headrace_exchange_2"))
    return made


@pytest.fixture
def old(tmp_path: Path, postgres_url: str) -> Iterator[Shop]:
    yield from _shop(tmp_path / "old", postgres_url)


@pytest.fixture
def new(tmp_path: Path, postgres_url: str, next_version: Path) -> Iterator[Shop]:
    for shop in _shop(tmp_path / "new", postgres_url):
        shop.env["PYTHONPATH"] = os.pathsep.join([str(next_version), *filter(None, [shop.env.get("PYTHONPATH")])])
        yield shop


def _shop(path: Path, url: str) -> Iterator[Shop]:
    path.mkdir()
    made = Shop(path)
    (path / "shop.py").write_text((path / "shop.py").read_text().replace('"sqlite:///shop.db"', ""))
    made.env["HEADRACE_STORE"] = url
    yield made
    made.close()


class Database:
    """What the server says."""

    def __init__(self, postgres: Postgres, url: str) -> None:
        self.postgres = postgres
        self.name = url.rpartition("/")[2]
        self.ask(f"ALTER DATABASE {self.name} SET track_functions = 'pl'")

    def ask(self, statement: str) -> str:
        return self.postgres.sql(statement, self.name)

    def succeeded(self) -> int:
        """Jobs, each in its first attempt."""
        return int(self.ask("SELECT count(*) FROM headrace_history WHERE state = 3 AND attempt = 1"))

    def used(self, function: str) -> bool:
        return self.ask(f"SELECT sum(calls) > 0 FROM pg_stat_user_functions WHERE funcname = '{function}'") == "t"


def produce(shop: Shop) -> "subprocess.Popen[str]":
    """Enqueue a job every 20 ms until there is a file `enough`, then print how many."""
    (shop.path / "produce.py").write_text(PRODUCE)
    with (shop.path / "produced").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "produce.py"], cwd=shop.path, env=shop.env, stdout=out, stderr=subprocess.STDOUT, text=True
        )
    shop.started.append(process)
    return process


def ended(shop: Shop, worker: "subprocess.Popen[str]") -> None:
    """Have a worker end in order; it had nothing to complain of but a slow machine."""
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    said = [line for line in shop.said("worker").splitlines() if " warning " in line or " error " in line]
    assert [line for line in said if not line.endswith("its lease stays alive")] == []


@pytest.mark.nightly
def test_a_deploy_across_a_migration(old: Shop, new: Shop, postgres: Postgres, postgres_url: str) -> None:
    database = Database(postgres, postgres_url)
    old.out("migrate")
    producer = produce(old)
    worker = old.start("worker", "shop:app")
    old.until(lambda: old.has_worker() and database.succeeded() > 20, "the old worker is at work")

    refused = new.run("worker", "shop:app")
    assert (refused.returncode, "run `headrace migrate`" in refused.stderr) == (1, True), refused.stderr
    checked = new.run("migrate", "--check")
    assert (checked.returncode, checked.stdout.splitlines()) == (1, CHECKED)
    migrated = new.run("migrate")
    assert migrated.returncode == 0
    assert migrated.stdout == "applied  0004 note\nwaiting  0005 old_exchange  (takes away)\nschema 4\n"
    elders = [each["id"] for each in old.workers()]
    assert len(elders) == 2
    assert all(f"{elder} (headrace 0.1.0, pid " in migrated.stderr for elder in elders), migrated.stderr
    assert "again when they have ended, or now with --force" in migrated.stderr

    of_new = new.start("worker", "shop:app")
    new.until(lambda: database.used("headrace_exchange_2"), "the new worker is at work")
    before = database.succeeded()
    ended(old, worker)
    worker = old.start("worker", "shop:app")
    old.until(lambda: len(old.workers()) == 4, "the old version starts on the schema of the next")
    old.until(lambda: database.succeeded() > before + 20, "work goes on")

    assert producer.poll() is None
    (old.path / "enough").touch()
    assert producer.wait(timeout=30) == 0
    made = int((old.path / "produced").read_text())  # and nothing that it complained of
    new.until(lambda: database.succeeded() == made, "all jobs have ended")
    left = "SELECT (SELECT count(*) FROM headrace_job) + (SELECT count(*) FROM headrace_attempt)"
    assert database.ask(left) == "0"

    assert new.out("migrate") == "waiting  0005 old_exchange  (takes away)\nschema 4\n"
    ended(old, worker)
    assert new.out("migrate") == "applied  0005 old_exchange  (takes away)\nschema 5\n"
    job = new.enqueue("count.enqueue(1)")
    assert new.run("tail", job).returncode == 0
    ended(new, of_new)
    refused = old.run("worker", "shop:app")
    assert refused.returncode == 1
    assert "has schema 5, made by headrace 0.2.0; this version knows up to 3: install headrace" in refused.stderr


def test_force_and_json(old: Shop, new: Shop) -> None:
    old.out("migrate")
    old.start("worker", "shop:app")
    old.until(old.has_worker, "the old worker is up")
    told = new.json("migrate", "--force")
    assert told == {"found": 3, "wanted": 5, "schema": 5, "applied": ["0004 note", "0005 old_exchange"], "waiting": []}
    done = new.run("migrate", "--sql", "--json")
    assert (done.returncode, "leave out --json" in done.stderr) == (2, True)
    assert new.out("migrate", "--sql") == "-- Nothing is to be applied.\n"
    doctor: dict[str, Any] = {check["name"]: check for check in new.json("doctor")["checks"]}
    assert doctor["schema"]["saw"] == "5, as this version wants it"
