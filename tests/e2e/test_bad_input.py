"""Nonsense gets a clear answer: one line with a remedy and the right exit code, or a problem that names the field."""

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest

from tests.e2e.kit import Program, answer, clean_env, sentence, until

SHOP = """
from fastapi import FastAPI
from pydantic import BaseModel

from headrace import Headrace, JobContext

hr = Headrace()
app = FastAPI()
hr.install(app)


class Line(BaseModel):
    sku: str
    count: int


@hr.task(public=True)
async def order(ctx: JobContext, customer: int, lines: list[Line], note: str = "") -> str:
    return f"{customer}: {len(lines)} lines, a note of {len(note)}"


@hr.task()
async def private(ctx: JobContext) -> object:
    return object()
"""
BARE = """
from fastapi import FastAPI
from headrace import Headrace

app = FastAPI()
Headrace().install(app)
"""
BROKEN = """
def price(of):
    return {"tea": 1}[of]


TEA, CAKE = price("tea"), price("cake")
"""
GOOD = {"customer": 7, "lines": [{"sku": "tea", "count": 2}]}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, code in (("shop", SHOP), ("bare", BARE), ("broken", BROKEN)):
        (tmp_path / f"{name}.py").write_text(code, "utf-8")
    return tmp_path


# --- the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("serve", "shop:app"), ("dev", "shop:app"), ("demo",)], ids=lambda args: args[0])
def test_a_port_in_use(place: Path, command: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = answer(*command, f"--port={port}", cwd=place)
    assert run.returncode == 1
    said = sentence(run)
    assert f"port {port} is in use" in said
    assert "take another, as in --port" in said
    if sys.platform == "linux":
        assert f"process {os.getpid()}" in said


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_an_app_that_does_not_import(place: Path, command: str) -> None:
    run = answer(command, "broken:app", cwd=place)
    assert run.returncode == 1
    *told, last = run.stderr.splitlines()
    assert last.startswith("headrace: importing broken failed: KeyError: 'cake'; ")
    assert told[0] == "Traceback (most recent call last):"
    assert told[-1] == "KeyError: 'cake'"
    frames = [line for line in told if line.startswith("  File ")]
    assert len(frames) == 2
    assert all(str(place / "broken.py") in frame for frame in frames), "only the user's own code"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("worker", "bare:app"), 1, "bare:app has no task, .*; decorate a function with @hr.task"),
        (("serve", "nowhere:app"), 1, "there is no module 'nowhere'.*; .*--app-dir"),
        (("serve", "shop:nothing"), 1, r"has no 'nothing'; it has shop:app \(a FastAPI app\), shop:hr"),
        (("serve", "shop"), 2, "no attribute of it; did you mean shop:app or shop:hr"),
        (("worker", "shop.py"), 2, "names a file; APP is module:attribute, as in shop:app"),
        (("wroker", "shop:app"), 2, "no command 'wroker'; did you mean 'worker'"),
        (("jobs", "list", "--store", "sqlite:///none.db"), 1, "there is no database at .*; .*`headrace migrate`"),
        (("jobs", "list", "--limit", "many"), 2, "'many' is not a valid integer.*; see headrace jobs list --help"),
        (("tail", "7"), 2, "'7' is no job id; `headrace jobs list` shows them"),
        (("serve", "shop:app", "--host", "0.0.0.0"), 1, "auth is off, .*; unset HEADRACE_AUTH, or listen on 127"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_words(place: Path, args: tuple[str, ...], code: int, words: str) -> None:
    run = answer(*args, cwd=place, HEADRACE_AUTH="off")
    assert run.returncode == code
    assert re.search(words, sentence(run)), run.stderr
    assert not (place / "none.db").exists(), "looking made a database"


# --- the database --------------------------------------------------------------------------------


@contextmanager
def read_only(path: Path, missing: Callable[[str], NoReturn]) -> Iterator[None]:
    """A directory that nobody may write; root writes everywhere, so for root it is a file system."""
    if os.geteuid() != 0:
        path.chmod(0o555)
        yield
        path.chmod(0o755)
        return
    for options in ("bind", "remount,bind,ro"):
        if subprocess.run(["mount", "-o", options, path, path], check=False, capture_output=True).returncode != 0:
            missing("the right to mount a read-only directory")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.fixture
def database(place: Path) -> Path:
    """A good one, in a directory of its own."""
    folder = place / "data"
    folder.mkdir()
    assert answer("migrate", "--store", f"sqlite:///{folder / 'jobs.db'}", cwd=place).returncode == 0
    return folder / "jobs.db"


def refused(place: Path, database: Path) -> set[str]:
    """What the commands that need the database say of it; each of them in one line."""
    said: set[str] = set()
    for args in (("serve", "shop:app", "--port=0"), ("worker", "shop:app"), ("jobs", "list")):
        run = answer(*args, cwd=place, HEADRACE_STORE=f"sqlite:///{database}", HEADRACE_BUSY_TIMEOUT_S="0.3")
        assert run.returncode == 1, run
        (line,) = run.stderr.splitlines()
        assert line.startswith("headrace: ")
        assert "this should not happen" not in line
        said.add(line)
    return said


@pytest.mark.nightly
def test_a_read_only_database(place: Path, database: Path, missing: Callable[[str], NoReturn]) -> None:
    with read_only(database.parent, missing):
        for line in refused(place, database):
            assert str(database.parent) in line
            assert "read-only" in line


@pytest.mark.nightly
def test_no_database_at_all(place: Path) -> None:
    notes = place / "notes.db"
    notes.write_text("These are my notes.\n" * 100)
    for line in refused(place, notes):
        assert f"{notes} is not a database" in line
    assert notes.read_text() == "These are my notes.\n" * 100


@pytest.mark.nightly
def test_a_database_of_a_newer_schema(place: Path, database: Path) -> None:
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("INSERT INTO headrace_schema_migration VALUES (9999, 'later', 0, '8.1.0', 9999)")
    connection.close()
    for line in refused(place, database):
        assert re.search(r"has schema 9999, made by headrace 8\.1\.0; .* install headrace >= 8\.1\.0$", line), line


@pytest.mark.nightly
def test_a_database_that_another_program_locks(place: Path, database: Path) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    for args in (("serve", "shop:app", "--port=0"), ("worker", "shop:app")):
        run = answer(*args, cwd=place, HEADRACE_STORE=f"sqlite:///{database}", HEADRACE_BUSY_TIMEOUT_S="0.3")
        assert run.returncode == 1
        assert "locked" in sentence(run)
    connection.close()
    assert answer("jobs", "list", "--store", f"sqlite:///{database}", cwd=place).returncode == 0


@pytest.mark.nightly
def test_with_a_spool_an_api_starts_while_the_database_is_away(place: Path, database: Path) -> None:
    env = {
        "HEADRACE_STORE": f"sqlite:///{database}",
        "HEADRACE_SPOOL": str(place / "spool"),
        "HEADRACE_BUSY_TIMEOUT_S": "0.3",
        "HEADRACE_AUTH": "off",
    }
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with Program("serve", "shop:app", "--port=0", cwd=place, env=env) as serve:
        url = serve.said(r"^headrace: serving shop:app on (http://\S+);")[1]
        with httpx.Client(base_url=f"{url}/headrace/api", timeout=20) as client:
            told = client.post("/jobs", json={"task": "order", "args": GOOD}).json()
            assert told["state"] == "spooled"
            connection.close()
            path = f"/jobs/{told['id']}"
            until(lambda: client.get(path).json()["state"] == "ready", "bringing what was spooled to the store")


# --- HTTP ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    place = tmp_path_factory.mktemp("shop")
    (place / "shop.py").write_text(SHOP, "utf-8")
    with Program("serve", "shop:app", "--port=0", cwd=place, env={"HEADRACE_AUTH": "off"}) as serve:
        url = serve.said(r"^headrace: serving shop:app on (http://\S+);")[1]
        with httpx.Client(base_url=f"{url}/headrace/api", timeout=20) as client:
            yield client


def problem(reply: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = reply.json()
    assert told["type"].endswith(f":{kind}")
    assert told["status"] == status
    assert told["title"]
    assert told["detail"]
    return told


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ({"customer": "seven", "lines": []}, "customer"),
        ({"lines": []}, "customer"),
        ({**GOOD, "coupon": 1}, "coupon"),
        ({"customer": 7, "lines": [{"sku": "tea", "count": 1}, {"sku": "cake"}]}, "lines.1.count"),
    ],
    ids=["type", "missing", "unknown", "nested"],
)
def test_wrong_arguments_name_their_field(shop: httpx.Client, args: dict[str, Any], field: str) -> None:
    told = problem(shop.post("/jobs", json={"task": "order", "args": args}), 422, "invalid-arguments")
    assert field in [error["field"] for error in told["errors"]]
    assert all(error["reason"] for error in told["errors"])
    assert field in told["detail"]


@pytest.mark.parametrize("task", ["ordr", "private"])
def test_an_unknown_task_and_one_that_is_not_public_look_alike(shop: httpx.Client, task: str) -> None:
    told = problem(shop.post("/jobs", json={"task": task}), 422, "unknown-task")
    assert repr(task) in told["detail"]


def test_arguments_over_a_mebibyte(shop: httpx.Client) -> None:
    body = {"task": "order", "args": {**GOOD, "note": "x" * (1 << 20)}}
    problem(shop.post("/jobs", json=body), 413, "payload-too-large")
    body["args"] = {**GOOD, "note": "x" * 1_000_000}
    assert shop.post("/jobs", json=body).status_code == 202


def test_other_nonsense_over_http(shop: httpx.Client) -> None:
    before = len(shop.get("/jobs").json()["jobs"])
    json_type = {"Content-Type": "application/json"}
    problem(shop.post("/jobs", content=b"{not json", headers=json_type), 400, "bad-request")
    nonsenses = {
        b'{"task": "\xff"}': "byte 10",
        b"\xff\xfe no": "the body is no UTF-8",
        b"[" * 100_000: "nested too deeply",
    }
    for nonsense, words in nonsenses.items():
        told = problem(shop.post("/jobs", content=nonsense, headers=json_type), 400, "bad-request")
        assert words in told["detail"]
    problem(shop.post("/jobs", content=b"order=7"), 422, "invalid-request")
    problem(shop.post("/jobs", json={"task": "order", "argz": {}}), 422, "invalid-request")
    problem(shop.post("/jobs", json={"task": "order", "args": GOOD, "options": {"delay": "soon"}}), 422, "usage")
    problem(shop.post("/jobs", json={"task": "order", "args": GOOD, "options": {"deley": 1}}), 422, "usage")
    problem(shop.get("/jobs/01980000-0000-7000-8000-000000000000"), 404, "unknown-job")
    problem(shop.get("/jobs", params={"page_token": "next"}), 400, "invalid-page-token")
    assert len(shop.get("/jobs").json()["jobs"]) == before


# --- what running brings -------------------------------------------------------------------------


def script(code: str, cwd: Path, **env: str) -> str:
    """Run some lines of a user's."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd, env=clean_env(**env), capture_output=True, text=True, timeout=40, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def shown(*args: str, cwd: Path, **env: str) -> Any:
    run = answer(*args, "--json", cwd=cwd, **env)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.nightly
def test_an_old_worker_never_claims_a_new_task(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(SHOP, "utf-8")
    changed = SHOP.replace('note: str = ""', 'note: str = "", express: bool = False')
    new = "@hr.task()\nasync def refund(ctx: JobContext, customer: int) -> int:\n    return customer\n"
    (tmp_path / "new.py").write_text(f"{changed}\n\n{new}", "utf-8")
    with Program("worker", "old:app", cwd=tmp_path) as old:
        old.said(r"worker \S+ \(worker, pid \d+\) is ready")
        job = script("import new; print(new.refund.enqueue_sync(7).id); new.hr.close_sync()", tmp_path)
        done = script(
            "import new\njob = new.order.enqueue_sync(7, [])\nprint(job.result_sync(20))\nnew.hr.close_sync()", tmp_path
        )
        assert done == "7: 0 lines, a note of 0", "what both know goes on meanwhile"
        waiting = shown("jobs", "show", job, cwd=tmp_path)
        assert (waiting["state"], waiting["attempt"]) == ("ready", 0)
        assert [hold["kind"] for hold in waiting["holds"]] == ["unknown-task"]
        with Program("worker", "new:app", cwd=tmp_path):
            assert answer("tail", job, cwd=tmp_path, within=30).returncode == 0
            ended = shown("jobs", "show", job, cwd=tmp_path)
            workers = {
                each["id"]: each for each in shown("workers", cwd=tmp_path)["workers"] if each["role"] == "worker"
            }
            runner = workers.pop(ended["attempts"][0]["worker"])
            (other,) = workers.values()
            assert runner["tasks"] == ["order", "private", "refund"]
            assert other["tasks"] == ["order", "private"]
            told = answer("workers", cwd=tmp_path)
            assert "workers disagree on the parameters of order; fine during a deploy" in told.stderr


def test_a_result_that_is_no_json(place: Path) -> None:
    code = """
import asyncio, shop

async def main():
    async with shop.hr.embedded():
        job = await shop.private.enqueue()
        try:
            await job.result(20)
        except Exception as error:
            print(type(error).__name__, error)
    await shop.hr.close()

asyncio.run(main())
"""
    assert re.match(r"JobFailed .*NotEncodable", script(code, place))


@pytest.mark.nightly
def test_a_result_past_its_retention(place: Path) -> None:
    code = """
import asyncio, shop

async def main():
    async with shop.hr.embedded():
        job = await shop.order.enqueue(7, [])
        print(job.id)
        try:
            while await job.result(20):
                await asyncio.sleep(0.05)
        except Exception as error:
            print(type(error).__name__, error)
    await shop.hr.close()

asyncio.run(main())
"""
    short = {"HEADRACE_RESULT_RETENTION_S": "1"}
    job, said = script(code, place, **short).splitlines()
    assert said == f"ResultExpired job {job} succeeded, but its result is past its retention"
    view = shown("jobs", "show", job, cwd=place, **short)
    assert (view["state"], view["result"], view["result_expired"]) == ("succeeded", None, True)
