"""`headrace move` as a user runs it: under a live API and a live worker, interrupted, and asked for wrongly."""

import http.client
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from servers.pgbouncer import PgBouncer
from servers.postgres import Postgres
from servers.server import free_port

pytestmark = pytest.mark.timeout(180)  # several processes start and end in each; machines of CI are slow

MILL = """
import asyncio
from fastapi import FastAPI
from headrace import Headrace, JobContext, Retry

hr = Headrace()


@hr.task(public=True)
async def nap(ctx: JobContext, seconds: float) -> str:
    await ctx.emit({"attempt": ctx.attempt})
    await ctx.progress(1, 2, "asleep")
    await asyncio.sleep(seconds if ctx.attempt == 1 else 0)
    return f"attempt {ctx.attempt}"


@hr.task(public=True, retry=Retry(max_attempts=1))
async def boom(ctx: JobContext) -> None:
    raise ValueError("no luck")


app = FastAPI()
hr.install(app)
"""
FILL = """
import asyncio, sys
from headrace.core.model import ClaimRequest, Pool, Settle, Succeeded
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance import store_base as suite

async def main():
    store = SqliteStore("shop.db", synchronous="NORMAL")
    await store.open()
    await suite.register(store)
    for _ in range(int(sys.argv[1]) // 1000):
        await store.enqueue([suite.new_job() for _ in range(1000)])
        claimed = await suite.claim(store, 1000)
        await store.exchange(suite.WORKER, [Settle(job.id, job.fence, Succeeded("1")) for job in claimed], None)
    await store.enqueue([suite.new_job() for _ in range(500)])
    await store.unregister(suite.WORKER)
    await store.close()

asyncio.run(main())
"""


class Api:
    """What a client asks of `headrace serve`."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, f"/headrace{path}", text, {"Content-Type": "application/json"} | headers)
            answer = connection.getresponse()
            told = answer.read()
            return answer.status, json.loads(told) if told[:1] == b"{" else told.decode(), dict(answer.getheaders())
        finally:
            connection.close()

    def is_up(self) -> bool:
        try:
            return self.ask("GET", "/health/live")[0] == 200
        except OSError:
            return False

    def enqueue(self, task: str, options: dict[str, Any] | None = None, **args: Any) -> str:
        status, job, _ = self.ask("POST", "/api/jobs", {"task": task, "args": args, "options": options or {}})
        assert status == 202, job
        return str(job["id"])

    def job(self, job: str) -> dict[str, Any]:
        status, told, _ = self.ask("GET", f"/api/jobs/{job}")
        assert status == 200, told
        found: dict[str, Any] = told
        return found

    def ids_after(self, job: str, position: str) -> list[str]:
        """The positions that an EventSource hears from there to the end."""
        status, text, _ = self.ask("GET", f"/api/jobs/{job}/updates", **{"Last-Event-ID": position})
        assert status == 200
        return re.findall(r"^id: ?(.+)$", text, re.MULTILINE)


@pytest.fixture
def mill(shop: Any) -> Any:
    (shop.path / "mill.py").write_text(MILL)
    shop.env |= {"HEADRACE_AUTH": "off"}
    return shop


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


def serve(mill: Any, store: str) -> Api:
    api = Api(free_port())
    mill.start("serve", "mill:app", "--port", str(api.port), HEADRACE_STORE=store)
    mill.until(api.is_up, "the API is up")
    return api


def move(mill: Any, *args: str) -> "subprocess.CompletedProcess[str]":
    done: subprocess.CompletedProcess[str] = mill.run("move", *args)
    return done


def test_a_service_is_promoted(mill: Any, url: str) -> None:
    api = serve(mill, "sqlite:///shop.db")
    old_worker = mill.start("worker", "mill:app", "--grace", "1")
    quick, failed = api.enqueue("nap", seconds=0), api.enqueue("boom")
    ends, outlives = api.enqueue("nap", seconds=5), api.enqueue("nap", seconds=999)
    later = api.enqueue("nap", {"delay": 3600, "key": "later"}, seconds=0)
    mill.until(lambda: api.job(quick)["state"] == "succeeded", "the quick one has ended")
    mill.until(lambda: api.job(failed)["state"] == "failed", "the other one has failed")
    mill.until(lambda: api.job(ends)["progress"] and api.job(outlives)["progress"], "two attempts run")
    position = api.job(outlives)["position"]
    before = {job: api.job(job) for job in (quick, failed, later)}

    done = move(mill, "sqlite:///shop.db", url, "--grace", "8", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["given_back"] == 1
    assert {state: told["moved"][state] for state in ("succeeded", "failed", "scheduled", "ready")} == {
        "succeeded": 2, "failed": 1, "scheduled": 1, "ready": 1
    }  # fmt: skip
    assert told["seconds"]["writes_stopped"] < 5
    assert "claims are held; 2 attempts may go on for 8 s\n" in done.stderr

    status, problem, headers = api.ask("POST", "/api/jobs", {"task": "nap", "args": {"seconds": 0}})
    assert (status, problem["type"]) == (503, "urn:headrace:problem:store-moved")
    assert f"have moved to {url}: set HEADRACE_STORE to it" in problem["detail"]
    assert int(headers["retry-after"]) >= 1
    assert api.ask("GET", f"/api/jobs/{quick}")[0] == 503
    assert api.ask("GET", "/health/ready")[0] == 503
    assert old_worker.wait(timeout=30) == 1
    said = mill.said("worker").splitlines()
    assert any(" error headrace.runtime.supervisor" in line and "have moved to" in line for line in said)
    assert len(said) < 20, "\n".join(said)

    mill.env["HEADRACE_STORE"] = url
    _check_the_other_side(mill, serve(mill, url), before, (ends, outlives), position)


def _check_the_other_side(
    mill: Any, new_api: Api, before: dict[str, dict[str, Any]], ran: tuple[str, str], position: str
) -> None:
    (quick, failed, later), (ends, outlives) = before, ran
    now = {job: new_api.job(job) for job in before}
    for job in (quick, failed):
        assert now[job] == before[job]
    assert (now[later]["state"], now[later]["due_at"]) == ("scheduled", before[later]["due_at"])
    mill.start("worker", "mill:app", "--grace", "1")
    mill.until(lambda: new_api.job(outlives)["state"] == "succeeded", "it has run again")
    attempts = new_api.ask("GET", f"/api/jobs/{outlives}/attempts")[1]["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["given_back", "succeeded"]
    assert (new_api.job(outlives)["result"], new_api.job(ends)["result"]) == ("attempt 2", "attempt 1")
    epoch, _, offset = position.partition(":")
    heard = new_api.ids_after(outlives, position)
    assert heard == [f"{epoch}:{int(offset) + n}" for n in range(5)]  # where it stood, then what came, to the end
    assert new_api.enqueue("nap", {"delay": 3600, "key": "later"}, seconds=0) == later


def test_a_new_fleet_that_waits_begins_by_itself(mill: Any, url: str) -> None:
    api = serve(mill, "sqlite:///shop.db")
    job = api.enqueue("nap", seconds=0)
    mill.run("migrate", "--store", url)
    mill.start("worker", "mill:app", "--grace", "1", HEADRACE_STORE=url)
    mill.until(lambda: json.loads(mill.run("workers", "--store", url, "--json").stdout)["workers"], "it is up")
    done = move(mill, "sqlite:///shop.db", url)
    assert done.returncode == 0, done.stderr
    assert "start those processes again" in done.stderr  # it had the target open before the move began
    ended = lambda: json.loads(mill.run("jobs", "show", job, "--store", url, "--json").stdout)["state"]  # noqa: E731
    mill.until(lambda: ended() == "succeeded", "the new worker has run it")


def waiting_move(mill: Any, url: str) -> "tuple[subprocess.Popen[str], Api]":
    """A move that waits for an attempt, with all else copied; the API of the file."""
    api = serve(mill, "sqlite:///shop.db")
    mill.start("worker", "mill:app", "--grace", "1")
    job = api.enqueue("nap", seconds=999)
    mill.until(lambda: api.job(job)["progress"], "an attempt runs")
    process = mill.start("move", "sqlite:///shop.db", url, "--grace", "100")
    mill.until(
        lambda: "claims are held; 1 attempt may go on for 100 s" in mill.said("move"), "it waits for the attempt"
    )
    return process, api


@pytest.mark.nightly
def test_killed(mill: Any, url: str) -> None:
    fill(mill, 3_000)
    process, api = waiting_move(mill, url)
    waiting = api.enqueue("nap", seconds=0)
    assert api.job(waiting)["state"] == "ready"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    mill.until(lambda: api.job(waiting)["state"] == "succeeded", "claims go on by themselves")
    checks = json.loads(mill.run("doctor", "--json").stdout)["checks"]
    found = next(check for check in checks if check["name"] == "move")
    assert found["grade"] == "warn"
    assert found["saw"] == f"a move to {url} has begun and not ended"
    done = move(mill, "sqlite:///shop.db", url, "--grace", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    assert "going on where it was interrupted\n" in done.stderr
    moved = json.loads(done.stdout)["moved"]
    assert (moved["ready"], moved["succeeded"]) == (501, 3_001)
    assert mill.run("jobs", "show", waiting, "--store", url).returncode == 0
    again = move(mill, "sqlite:///shop.db", url)
    assert (again.returncode, again.stdout) == (
        0, f"{mill.path}/shop.db has moved to {url} before; nothing to do\n"
    )  # fmt: skip


def fill(mill: Any, ended: int) -> None:
    subprocess.run([sys.executable, "-c", FILL, str(ended)], cwd=mill.path, check=True, timeout=100)


@pytest.mark.nightly
def test_given_up(mill: Any, url: str, postgres: Postgres) -> None:
    fill(mill, 1_000)
    process, old = waiting_move(mill, url)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    done = mill.run("move", "--abort", "sqlite:///shop.db")
    assert (done.stdout.splitlines(), done.stderr) == (
        [
            f"the move of {mill.path}/shop.db is given up; the file goes on",
            f"{url} is still closed, and holds what was copied: name it as POSTGRES_URL too to empty it",
        ],
        "",
    )
    old.enqueue("nap", seconds=0)
    done = mill.run("move", "--abort", "sqlite:///shop.db", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert postgres.sql("SELECT count(*) FROM headrace_history", url.rpartition("/")[2]).strip() == "0"
    assert mill.out("move", "--abort", "sqlite:///shop.db", url) == f"no move of {mill.path}/shop.db is under way\n"
    mill.env["HEADRACE_STORE"] = url
    serve(mill, url).enqueue("nap", seconds=0)  # it is a store like any other


# -- asked for wrongly ------------------------------------------------------------------------------


@pytest.fixture
def holder(mill: Any) -> Iterator[sqlite3.Connection]:
    """A connection of another program to the file."""
    mill.out("migrate")
    connection = sqlite3.connect(mill.path / "shop.db", isolation_level=None)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["sqlite:///shop.db"], 2, "POSTGRES_URL is missing; write headrace move sqlite:///headrace.db postgresql"),
        (
            ["sqlite:///shop.db", "sqlite:///shop.db"],
            2,
            "'sqlite:///shop.db' is no PostgreSQL database; write postgresql",
        ),
        (
            ["postgresql://u:secret@h/db", "postgresql://h/db"],
            2,
            "'postgresql://u:…@h/db' is no SQLite file; write sqlite",
        ),
        (["shop.db", "postgresql://h/db"], 2, "'shop.db' is no SQLite file; write sqlite:///headrace.db"),
        (["sqlite:///gone.db", "postgresql://127.0.0.1:1/db"], 1, "there is no database at "),
        (["sqlite:///mill.py", "postgresql://127.0.0.1:1/db"], 1, "mill.py is not a database"),
        (["sqlite:///shop.db", "postgresql://127.0.0.1:1/db"], 1, "the database 127.0.0.1:1/db cannot be reached: "),
        (["--grace", "-1", "sqlite:///shop.db", "postgresql://h/db"], 2, "see headrace move --help"),
    ],
)
def test_what_cannot_be_moved(mill: Any, args: list[str], code: int, said: str) -> None:
    mill.out("migrate")
    done = move(mill, *args)
    assert (done.returncode, done.stdout.count("\n") <= 1) == (code, True)
    (line,) = done.stderr.splitlines()
    assert line.startswith("headrace: ")
    assert said in line
    assert "secret" not in line
    assert not (mill.path / "gone.db").exists()


def test_a_file_without_jobs_of_ours(mill: Any, url: str) -> None:
    with sqlite3.connect(mill.path / "theirs.db") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    done = move(mill, "sqlite:///theirs.db", url)
    assert done.returncode == 1
    assert "theirs.db holds no jobs of headrace: name the file that HEADRACE_STORE names" in done.stderr


def test_a_file_of_another_version(mill: Any, holder: sqlite3.Connection, url: str) -> None:
    holder.execute("INSERT INTO headrace_schema_migration VALUES (999, 'later', 0, '9.9', 999)")
    assert "install headrace >= 9.9" in move(mill, "sqlite:///shop.db", url).stderr
    holder.execute("UPDATE headrace_schema_migration SET number = -number, version = '0.0', compatible_from = -1")
    assert "run `headrace migrate`" in move(mill, "sqlite:///shop.db", url).stderr


def test_a_target_with_jobs_of_its_own(mill: Any, url: str) -> None:
    mill.out("migrate")
    serve(mill, url).enqueue("nap", seconds=0)
    done = move(mill, "sqlite:///shop.db", url)
    assert done.returncode == 1
    assert done.stderr.endswith(" has jobs of its own: a move needs a target without any\n")


def test_a_target_that_another_file_is_moving_into(mill: Any, url: str) -> None:
    process, _ = waiting_move(mill, url)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    mill.out("migrate", "--store", "sqlite:///other.db")
    done = move(mill, "sqlite:///other.db", url)
    assert done.returncode == 1
    assert f"holds an unfinished move of {mill.path}/shop.db: finish that one, or give it up" in done.stderr


@pytest.mark.nightly
def test_one_move_at_a_time(mill: Any, url: str, postgres: Postgres) -> None:
    first, api = waiting_move(mill, url)
    waiting = api.enqueue("nap", seconds=0)
    done = move(mill, "sqlite:///shop.db", url)
    assert done.returncode == 1
    assert f"another `headrace move` of {mill.path}/shop.db is under way (process {first.pid})" in done.stderr
    other = postgres.create_database()
    mill.out("migrate", "--store", "sqlite:///other.db")
    done = move(mill, "sqlite:///other.db", url)
    assert done.returncode == 1
    assert f"another `headrace move` into {url.rpartition('@')[2]} is under way" in done.stderr
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=20) == 130
    mill.until(lambda: api.job(waiting)["state"] == "succeeded", "claims go on at once")
    done = move(mill, "sqlite:///shop.db", other)
    assert done.returncode == 1
    assert f"an unfinished move of {mill.path}/shop.db goes to {url}: finish it, or give it up with" in done.stderr
    postgres.drop_database(other)


def test_a_target_that_is_not_ones_own(mill: Any, url: str, postgres: Postgres) -> None:
    mill.out("migrate")
    mill.out("migrate", "--store", url)
    name = url.rpartition("/")[2]
    postgres.create_role("guest", "guest")
    postgres.sql("GRANT USAGE ON SCHEMA public TO guest; GRANT ALL ON ALL TABLES IN SCHEMA public TO guest", name)
    try:
        done = move(mill, "sqlite:///shop.db", postgres.url(name, "guest", "guest"))
        assert done.returncode == 1
        assert "belongs to another role: move as its owner" in done.stderr
        assert "guest:guest" not in done.stderr
    finally:
        postgres.sql("DROP OWNED BY guest", name)
        postgres.sql("DROP ROLE guest")


def test_a_pooler(mill: Any, url: str, pgbouncer: PgBouncer) -> None:
    mill.out("migrate")
    done = move(mill, "sqlite:///shop.db", pgbouncer.url(url))
    assert done.returncode == 1
    assert "seems to be a pooler, which lends its sessions: name the server itself" in done.stderr


@pytest.mark.nightly
def test_the_database_goes_away(mill: Any, url: str, postgres: Postgres) -> None:
    """What was held is let go at once, and the same command goes on."""
    process, api = waiting_move(mill, url)
    waiting = api.enqueue("nap", seconds=0)
    postgres.restart("immediate")
    assert process.wait(timeout=60) == 1
    assert mill.said("move").splitlines()[-1].startswith("headrace: the database ")
    mill.until(lambda: api.job(waiting)["state"] == "succeeded", "claims go on")
    done = move(mill, "sqlite:///shop.db", url, "--grace", "0.2")
    assert done.returncode == 0, done.stderr
