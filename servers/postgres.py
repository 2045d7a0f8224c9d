"""A PostgreSQL server: durable as in production, on the loopback, with a superuser that needs no password."""

import itertools
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from servers.server import HOST, Server, find

SUPERUSER: Final = "postgres"
HBA: Final = f"""\
host all {SUPERUSER} {HOST}/32 trust
host all all {HOST}/32 scram-sha-256
"""
SETTINGS: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "listen_addresses": HOST,
    "max_connections": "200",
    "shared_buffers": "256MB",
    "synchronous_commit": "on",
    "unix_socket_directories": "",
}

Mode = Literal["smart", "fast", "immediate"]
SIGNALS: Final[Mapping[Mode, signal.Signals]] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
_numbers = itertools.count(1)


class Postgres(Server):
    """One cluster; `postgres` is its superuser."""

    name = "postgres"
    ends_by = signal.SIGQUIT  # which lets it end its children

    def __init__(self, settings: Mapping[str, str] | None = None, within: Path | None = None) -> None:
        """Make the cluster and start it; `settings` are added to those of postgresql.conf.

        Raises:
            MissingError: there is no PostgreSQL here.
            FailedError: it does not start.
        """
        self._bin: Final = find("postgres").parent
        super().__init__(within)
        self._data: Final = self.directory / "data"
        self._settings: Final = SETTINGS | {"cluster_name": self.directory.name} | dict(settings or {})
        try:
            self._run(
                [
                    self._bin / "initdb",
                    "--no-sync",
                    f"--username={SUPERUSER}",
                    "--auth=trust",
                    "--encoding=UTF8",
                    "--locale=C",
                    f"--pgdata={self._data}",
                ]
            )
            (self._data / "pg_hba.conf").write_text(HBA, "ascii")
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def version(self) -> str:
        """As the server tells it: `15.18`."""
        return self.sql("SHOW server_version").split()[0]

    def url(self, database: str = "postgres", role: str = SUPERUSER, password: str | None = None) -> str:
        """Where a database is, for the superuser or another role."""
        secret = "" if password is None else f":{quote(password, safe='')}"
        return f"postgresql://{quote(role, safe='')}{secret}@{HOST}:{self.port}/{database}"

    def create_database(self, template: str = "template0") -> str:
        """Make a database as its template is, to which nobody may be connected; its URL for the superuser."""
        name = f"db_{os.getpid()}_{next(_numbers)}"
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.sql(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    def empty(self, url: str) -> None:
        """Throw out whoever is connected to a database, and all that is in its schema `public`."""
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        anew = "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public"
        self.sql(f"SELECT pg_terminate_backend(pid) {others}; {anew}", url.rpartition("/")[2])

    def create_role(self, name: str, password: str) -> None:
        """Make a role that may log in with a password, and only so, and owns nothing."""
        secret = password.replace("'", "''")
        self.sql(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{secret}'")

    def admit(self, address: str) -> None:
        """Let the superuser in from another address, without a password."""
        with (self._data / "pg_hba.conf").open("a", encoding="ascii") as hba:
            hba.write(f"host all {SUPERUSER} {address}/32 trust\n")
        self.sql("SELECT pg_reload_conf()")

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as the superuser; its rows as text, fields parted by `|`.

        Raises:
            FailedError: the server refuses it; the message is the server's.
        """
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        return self._run([self._bin / "psql", *options, f"--dbname={self.url(database)}", f"--command={statement}"])

    def down(self, mode: Mode = "fast") -> None:
        """Shut it down; `fast` and `immediate` throw its clients out, `smart` waits for them to go."""
        self._down(SIGNALS[mode])

    def restart(self, mode: Mode = "fast") -> None:
        """Shut it down and start it, on the same port."""
        self.down(mode)
        self.start()

    def _command(self) -> list[str | Path]:
        argv: list[str | Path] = [self._bin / "postgres", "-D", self._data]
        for name, value in self._settings.items():
            argv += ["-c", f"{name}={value}"]
        return [*argv, "-p", str(self.port)]

    def _ready(self) -> bool:
        """Whether it takes connections: what it writes in the last line of its own pid file."""
        try:
            first, *_, last = (self._data / "postmaster.pid").read_text("ascii").splitlines()
        except (OSError, ValueError):  # not there yet, or half written
            return False
        return first == str(self.pid) and last.strip() == "ready"
