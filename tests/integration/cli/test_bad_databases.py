"""PostgreSQL that cannot be used: every command says so in one line, with what to do and without a password."""

import asyncio
import json
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from headrace import Headrace, JobContext
from headrace.cli import main
from headrace.core.errors import HeadraceError, InvalidConfig, SchemaMismatch, StoreUnavailable, StoreUnusable
from headrace.stores import migrate
from servers.pgbouncer import PgBouncer
from servers.postgres import Postgres
from servers.server import free_port

pytestmark = pytest.mark.timeout(120)

PASSWORD = "s3cret!pass/word@x"
SHOWN = ("s3cret", "pass/word", "pass%2Fword", "word@x", "word%40x")
"""None of these may be printed, however the URL was read."""


@dataclass
class Place:
    """An empty database and a role that owns nothing."""

    postgres: Postgres
    url: str  # of the superuser
    role: str = "joe"

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def joes(self) -> str:
        """The same database for the role, its password in the URL."""
        return self.postgres.url(self.name, self.role, PASSWORD)

    def sql(self, *statements: str) -> None:
        for statement in statements:
            self.postgres.sql(statement, self.name)

    def migrated(self) -> str:
        """With our tables, for the superuser."""
        migrate.apply(self.url)
        return self.url


@pytest.fixture(scope="module")
def joe(postgres: Postgres) -> Iterator[str]:
    postgres.create_role("joe", PASSWORD)
    yield "joe"
    postgres.sql("DROP ROLE joe")


@pytest.fixture
def place(postgres: Postgres, postgres_url: str, joe: str) -> Iterator[Place]:
    made = Place(postgres, postgres_url)
    made.sql("GRANT USAGE ON SCHEMA public TO joe")
    yield made
    postgres.empty(postgres_url)  # and with it what was granted to joe


def nowhere(place: Place) -> str:
    return f"postgresql://joe:{quote(PASSWORD, safe='')}@127.0.0.1:{free_port()}/{place.name}"


def unknown_host(place: Place) -> str:
    return f"postgresql://joe:{quote(PASSWORD, safe='')}@nowhere.invalid/{place.name}"


def wrong_password(place: Place) -> str:
    return place.joes.replace("s3cret", "s3cretS3CRET")


def no_password(place: Place) -> str:
    return place.postgres.url(place.name, "joe")


def no_database(place: Place) -> str:
    return place.joes.replace(place.name, "nothing_of_this_name")


def not_even_named(place: Place) -> str:
    return place.joes.removesuffix(f"/{place.name}")


def for_sqlalchemy(place: Place) -> str:
    return place.joes.replace("postgresql://", "postgresql+asyncpg://")


def unencoded(place: Place) -> str:
    return f"postgresql://joe:{PASSWORD}@127.0.0.1:{place.postgres.port}/{place.name}"


def may_not_create(place: Place) -> str:
    return place.joes


def may_not_connect(place: Place) -> str:
    place.sql(f"REVOKE CONNECT ON DATABASE {place.name} FROM PUBLIC")
    return place.joes


def has_no_schema(place: Place) -> str:
    place.sql("REVOKE USAGE ON SCHEMA public FROM joe")
    return place.joes


def may_not_read(place: Place) -> str:
    place.migrated()
    return place.joes


def may_only_read(place: Place) -> str:
    place.migrated()
    place.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO joe")
    return place.joes


def older_schema(place: Place) -> str:
    place.migrated()
    place.sql("DELETE FROM headrace_schema_migration WHERE number = 3")
    return place.url


def newer_schema(place: Place) -> str:
    place.migrated()
    place.sql("INSERT INTO headrace_schema_migration VALUES (99, 'later', now(), '9.9.0', 99)")
    return place.url


def others_table(place: Place) -> str:
    place.sql("CREATE TABLE headrace_job (mine text)")
    return place.url


def others_migrations(place: Place) -> str:
    place.sql("CREATE TABLE headrace_schema_migration (number integer, version text)")
    return place.url


def read_only(place: Place) -> str:
    return f"{place.migrated()}?default_transaction_read_only=on"


def read_only_and_empty(place: Place) -> str:
    return f"{place.url}?default_transaction_read_only=on"


def no_connection_left(place: Place) -> str:
    place.sql("ALTER ROLE joe CONNECTION LIMIT 0")
    return place.joes


def unknown_option(place: Place) -> str:
    return f"{place.url}?connect_timeout=5"


def unknown_ssl_mode(place: Place) -> str:
    return f"{place.joes}?sslmode=maybe"


def without_ssl(place: Place) -> str:
    return f"{place.joes}?sslmode=require"


@dataclass
class Case:
    make: Callable[[Place], str]
    kind: type[HeadraceError]
    said: tuple[str, ...]
    after: tuple[str, ...] = field(default=())  # statements that clear up

    def __str__(self) -> str:
        return self.make.__name__


CASES = [
    Case(nowhere, StoreUnavailable, ("nobody listens there; start the server, or check host and port",)),
    Case(unknown_host, StoreUnavailable, ("nowhere.invalid/", "its host is not known; check the host")),
    Case(wrong_password, StoreUnusable, ("refused the password, or got none: check user and password",)),
    Case(no_password, StoreUnusable, ("refused the password, or got none: check user and password",)),
    Case(no_database, StoreUnusable, ("/nothing_of_this_name does not exist: create it, as `createdb` does",)),
    Case(not_even_named, InvalidConfig, ("names no database: write postgresql://user@host/database",)),
    Case(for_sqlalchemy, InvalidConfig, ("names a driver, and headrace has its own: write postgresql://user@",)),
    Case(unencoded, InvalidConfig, ("percent-encode user and password (@ is %40",)),
    Case(may_not_create, StoreUnusable, ("no headrace tables", "GRANT CREATE ON SCHEMA public TO joe")),
    Case(
        may_not_connect,
        StoreUnusable,
        ("does not allow this user to do it: let the owner",),
        ("GRANT CONNECT ON DATABASE {name} TO PUBLIC",),
    ),
    Case(has_no_schema, StoreUnusable, ("GRANT USAGE, CREATE ON SCHEMA public TO joe, or set its search_path",)),
    Case(may_not_read, StoreUnusable, ("does not let joe use the headrace tables: have their owner GRANT SELECT, ",)),
    Case(may_only_read, StoreUnusable, ("headrace_", "have their owner GRANT SELECT, INSERT, UPDATE, DELETE ON ALL")),
    Case(older_schema, SchemaMismatch, ("has schema 2, this version of headrace wants 3: run `headrace migrate`",)),
    Case(newer_schema, SchemaMismatch, ("has schema 99, made by headrace 9.9.0", "install headrace >= 9.9.0")),
    Case(others_table, StoreUnusable, ("has a table headrace_job that is not headrace's: use another database",)),
    Case(others_migrations, StoreUnusable, ("has a table headrace_schema_migration that is not headrace's",)),
    Case(read_only, StoreUnavailable, ("is read-only just now", "see default_transaction_read_only of postgres")),
    Case(read_only_and_empty, StoreUnavailable, ("is read-only just now",)),
    Case(
        no_connection_left,
        StoreUnavailable,
        ("has no connection left: raise max_connections (or the limit of this role",),
        ("ALTER ROLE joe CONNECTION LIMIT -1",),
    ),
    Case(unknown_option, StoreUnusable, ("does not know an option of the store's URL: drop it: ", "connect_timeout")),
    Case(unknown_ssl_mode, InvalidConfig, ("no connection to 127.0.0.1", "with these options: `sslmode` parameter")),
    Case(without_ssl, StoreUnavailable, ("rejected SSL upgrade; check that it is a PostgreSQL server",)),
]


def first_enqueue(url: str) -> HeadraceError:
    """The error with which a script's first enqueue ends."""

    async def script() -> None:
        hr = Headrace(url)

        @hr.task()
        async def count(ctx: JobContext, n: int) -> int:
            return n

        try:
            await count.enqueue(1)
        finally:
            await hr.close()

    with pytest.raises(HeadraceError) as refused:
        asyncio.run(script())
    return refused.value


def command(capsys: pytest.CaptureFixture[str], *args: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in this process."""
    with pytest.raises(SystemExit) as ended:
        main(args)
    out, err = capsys.readouterr()
    return subprocess.CompletedProcess(args, int(ended.value.code or 0), out, err)


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that could not."""
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("headrace: ")
    assert "this should not happen" not in line
    return line


def failed(done: subprocess.CompletedProcess[str]) -> str:
    """What the doctor said of the one thing that fails."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == ""
    (check,) = (check for check in json.loads(done.stdout)["checks"] if check["grade"] == "fail")
    return f"{check['name']}: {check['saw']}: {check['mend'] or ''}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_cannot_be_used_is_told(case: Case, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    url = case.make(place)
    try:
        error = first_enqueue(url)
        doctor = command(capsys, "doctor", "--json", "--store", url)
        jobs = command(capsys, "jobs", "list", "--store", url)
    finally:
        for statement in case.after:
            place.sql(statement.format(name=place.name))
    assert isinstance(error, case.kind)
    assert "\n" not in str(error)
    for said in (str(error), failed(doctor)):
        assert all(words in said for words in case.said), said
    if "no headrace tables" not in jobs.stderr:
        assert case.said[-1] in sentence(jobs)
    for printed in (str(error), doctor.stdout, jobs.stderr):
        assert not [secret for secret in SHOWN if secret in printed], printed


@pytest.mark.parametrize(
    "make", [not_even_named, wrong_password, may_only_read, read_only], ids=lambda make: make.__name__
)
def test_a_worker_and_an_api_do_not_start(make: Callable[[Place], str], place: Place, shop: Any) -> None:
    (case,) = (case for case in CASES if case.make is make)
    url = make(place)
    for args in (("worker", "shop:app"), ("serve", "shop:app", "--port", "0")):
        line = sentence(shop.run(*args, HEADRACE_STORE=url))
        assert all(words in line for words in case.said), line
        assert not [secret for secret in SHOWN if secret in line], line
        assert bool(re.match(r"headrace: shop\.py:\d+: the store", line)) is (make is not_even_named)


def test_not_even_the_debug_log_has_a_password(
    place: Place, shop: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at, secret = f"127.0.0.1:{place.postgres.port}/{place.name}", "s%33cret"
    urls = (f"joe:{secret}@{at}", f"{at}?user=joe&password={secret}", f"joe:s3cret/@{at}", f"joe:s3cret@{at}?s3cret")
    printed: list[str] = []
    monkeypatch.setenv("HEADRACE_LOG_LEVEL", "debug")
    for url in (f"postgresql://{url}" for url in urls):
        monkeypatch.setenv("HEADRACE_STORE", url)
        monkeypatch.setenv("HEADRACE_LISTEN_URL", url)
        for args in (("doctor",), ("settings",), ("settings", "--json"), ("jobs",), ("migrate",)):
            done = command(capsys, *args)
            printed.append(done.stdout + done.stderr)
    worker = shop.run("worker", "shop:app", HEADRACE_STORE=f"postgresql://{urls[1]}", HEADRACE_LOG_LEVEL="debug")
    assert "InvalidPasswordError" in worker.stderr, "the debug log has tracebacks"
    for said in (*printed, worker.stderr):
        assert said
        assert not [hidden for hidden in ("s3cret", secret) if hidden in said], said


def test_without_asyncpg(place: Place, shop: Any) -> None:
    missing = shop.path / "missing"
    missing.mkdir()
    (missing / "asyncpg.py").write_text("raise ModuleNotFoundError('No module named asyncpg', name='asyncpg')\n")
    env = {"HEADRACE_STORE": place.joes, "PYTHONPATH": str(missing)}
    words = "needs asyncpg: pip install 'headrace[postgres]'"
    assert words in sentence(shop.run("worker", "shop:app", **env))
    assert words in sentence(shop.run("migrate", **env))
    assert words in failed(shop.run("doctor", "--json", **env))


@pytest.fixture
def shop(shop: Any) -> Any:
    """The shop, on whatever HEADRACE_STORE names."""
    code = shop.path / "shop.py"
    code.write_text(code.read_text().replace('"sqlite:///shop.db"', ""))
    return shop


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["http", "hangs up"])
def test_what_is_no_postgresql(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_answer, args=(listening, answer), daemon=True)
        thread.start()
        error = first_enqueue(f"postgresql://joe:s3cret@127.0.0.1:{listening.getsockname()[1]}/db")
        listening.shutdown(socket.SHUT_RDWR)  # a close would leave the thread where it waits
        thread.join(30)
        assert not thread.is_alive()
    assert isinstance(error, StoreUnavailable)
    assert "check that it is a PostgreSQL server" in str(error)


def _answer(listening: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.recv(1000)
            connection.sendall(answer)


def test_a_pooler_is_no_obstacle_and_is_told(pgbouncer: PgBouncer, place: Place, shop: Any) -> None:
    pooled = pgbouncer.url(place.url)
    shop.env["HEADRACE_STORE"] = pooled
    assert shop.run("migrate").returncode == 0
    job = shop.enqueue("count.enqueue(3)")
    shop.start("worker", "shop:app")
    assert shop.run("tail", job).returncode == 0
    assert "set HEADRACE_LISTEN_URL to a URL of the server itself" in shop.said("worker")
    found = {check["name"]: check for check in json.loads(shop.run("doctor", "--json").stdout)["checks"]}
    assert found["listen"]["grade"] == "warn"
    assert found["listen"]["mend"] == "set HEADRACE_LISTEN_URL to a URL of the server itself"
    assert found["proof of life"]["grade"] == "warn"
    direct = json.loads(shop.run("doctor", "--json", HEADRACE_LISTEN_URL=place.url).stdout)["checks"]
    assert {check["name"]: check["saw"] for check in direct}["listen"].endswith("are heard by HEADRACE_LISTEN_URL")


def test_a_listen_url_that_leads_to_a_pooler(pgbouncer: PgBouncer, place: Place, shop: Any) -> None:
    place.migrated()
    env = {"HEADRACE_STORE": place.url, "HEADRACE_LISTEN_URL": pgbouncer.url(place.url)}
    said = failed(shop.run("doctor", "--json", **env))
    assert said.startswith("listen: HEADRACE_LISTEN_URL leads to a pooler that lends its sessions by transaction")
    assert "set it to a URL of the server itself" in said
    env["HEADRACE_LISTEN_URL"] = nowhere(place)
    said = failed(shop.run("doctor", "--json", **env))
    assert "nobody listens there" in said
    assert "mend HEADRACE_LISTEN_URL, or unset it" in said
    assert not [secret for secret in SHOWN if secret in said], said


def test_only_migrate_makes_tables(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for args in (("jobs",), ("workers",), ("keys",), ("doctor",), ("migrate", "--check"), ("migrate", "--sql")):
        command(capsys, *args, "--store", place.url)
        assert place.postgres.sql("SELECT count(*) FROM pg_class WHERE relname ~ '^headrace_'", place.name) == "0"
    assert command(capsys, "migrate", "--store", place.url).returncode == 0
    assert command(capsys, "jobs", "--store", place.url).returncode == 0
