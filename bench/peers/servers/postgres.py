"""PostgreSQL for one run: durable, with the memory and log space that its documentation advises for such a machine."""

import os
import shutil
import signal
import subprocess
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


def _programs() -> Path:
    """Where `initdb` and `postgres` are: on the PATH, or where Debian keeps the newest of them."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    homes = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda path: int(path.parent.name))
    if not homes:
        raise UnavailableError("PostgreSQL is not here: apt-get install postgresql")
    return homes[-1]


class Postgres:
    """One server; `databases` are made from templates and dropped."""

    name = "postgres"

    def __init__(self, folder: Path) -> None:
        self._bin = _programs()
        self._user = USER if os.geteuid() == 0 else None  # it refuses to run as root
        self.port = free_port()
        data = folder / "data"
        folder.mkdir()
        if self._user is not None:
            shutil.chown(folder, self._user, self._user)
        self._run("initdb", "-D", str(data), "-U", USER, "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        settings = SETTINGS | {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = folder.parent / "postgres.log"
        self.tree = Tree([str(self._bin / "postgres"), "-D", str(data), *words], log, user=self._user, cwd=folder)
        until_ready(self.tree, self._is_ready, "PostgreSQL")

    def stop(self) -> None:
        self.tree.stop(signal.SIGINT)  # at once, whoever is connected

    @property
    def version(self) -> str:
        return self.query("SHOW server_version").split()[0]

    def describe(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in SETTINGS.items())

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def query(self, sql: str, database: str = "postgres") -> str:
        """What `psql` answers, unaligned; the first line of what it says if it fails."""
        return self._run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url(database))

    def create(self, database: str, template: str = "template0") -> None:
        self.query(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')

    def drop(self, database: str) -> None:
        self.query(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def hold_snapshot(self, database: str) -> subprocess.Popen[bytes]:
        """A session whose transaction keeps every dead row from being cleaned away, until it is killed."""
        sql = f"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; SELECT pg_sleep({COMMAND_S});"
        return subprocess.Popen(
            [str(self._bin / "psql"), "-XAtq", "-c", sql, self.url(database)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

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
