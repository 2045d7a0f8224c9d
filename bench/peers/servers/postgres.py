"""PostgreSQL for one run: durable, with the memory and log space that its documentation advises for such a machine.

`Postgres` has the surface of the project's own test server, so that it can be put in its place.
"""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.peers.environments import UnavailableError
from bench.peers.servers import free_port, until_ready
from bench.peers.trees import Tree

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "max_connections": "300",
}
USER = "postgres"
COMMAND_S = 120.0


def start(within: Path) -> "Postgres":
    """The server of a run.

    Raises:
        UnavailableError: there is none here.
        TooSlowError: it does not start.
    """
    return Postgres(SETTINGS, within)


def hold_snapshot(url: str) -> subprocess.Popen[bytes]:
    """A session whose transaction keeps every dead row from being cleaned away; it ends with its database."""
    sql = f"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; SELECT pg_sleep({COMMAND_S});"
    return subprocess.Popen(
        [str(_programs() / "psql"), "-XAtq", "-c", sql, url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _programs() -> Path:
    """Where `initdb`, `psql` and `postgres` are: where Debian keeps the newest of them, or on the PATH."""
    homes = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda path: int(path.parent.name))
    if homes:
        return homes[-1]
    found = shutil.which("initdb")
    if found is None:
        raise UnavailableError("PostgreSQL is not here: apt-get install postgresql")
    return Path(found).resolve().parent


class Postgres:
    """One cluster; `postgres` is its superuser."""

    name = "postgres"

    def __init__(self, settings: Mapping[str, str] | None = None, within: Path | None = None) -> None:
        self._bin = _programs()
        self._user = USER if os.geteuid() == 0 else None  # it refuses to run as root
        self._numbers = itertools.count(1)
        self.directory = Path(tempfile.mkdtemp(prefix="postgres-", dir=within))
        if self._user is not None:
            shutil.chown(self.directory, self._user, self._user)
        data = self.directory / "data"
        flags = ("--no-sync", f"--username={USER}", "--auth=trust", "--encoding=UTF8", "--locale=C")
        self._run("initdb", *flags, f"--pgdata={data}")
        self.port = free_port()
        own = {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        words = [word for name, value in ((settings or {}) | own).items() for word in ("-c", f"{name}={value}")]
        log = self.directory.parent / "postgres.log"
        self._tree = Tree(
            [str(self._bin / "postgres"), "-D", str(data), *words], log, user=self._user, cwd=self.directory
        )
        until_ready(self._tree, self._is_ready, "PostgreSQL")

    @property
    def pid(self) -> int:
        return self._tree.pid

    @property
    def version(self) -> str:
        return self.sql("SHOW server_version").split()[0]

    def stop(self) -> None:
        self._tree.stop(signal.SIGINT)  # at once, whoever is connected

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, template: str = "template0") -> str:
        """Make a database as its template is; its URL."""
        name = f"db_{next(self._numbers)}"
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.sql(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as the superuser; its rows as text."""
        return self._run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, self.url(database))

    def _is_ready(self) -> bool:
        words = ["-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run([str(self._bin / "pg_isready"), *words], check=False).returncode == 0

    def _run(self, program: str, *words: str) -> str:
        user = {"user": self._user, "group": self._user, "extra_groups": []} if self._user is not None else {}
        done = subprocess.run(
            [str(self._bin / program), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S,
            cwd="/",
            **user,
        )
        if done.returncode != 0:
            raise UnavailableError(f"{program}: {(done.stderr or done.stdout).strip().splitlines()[0]}")
        return done.stdout.strip()
