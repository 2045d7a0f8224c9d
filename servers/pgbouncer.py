"""PgBouncer in front of a PostgreSQL server, pooling by transaction, which LISTEN does not survive."""

import signal
import socket
from typing import Final
from urllib.parse import urlsplit

from servers.postgres import SUPERUSER, Postgres
from servers.server import HOST, PATIENCE_S, Server, find

INI: Final = """\
[databases]
* = host={host} port={server_port} user={user}

[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
admin_users = {user}
pool_mode = transaction
default_pool_size = 20
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
"""


class PgBouncer(Server):
    """One pooler; whoever comes is the superuser behind it."""

    name = "pgbouncer"
    ends_by = signal.SIGQUIT  # at SIGTERM some versions wait for their clients

    def __init__(self, behind: Postgres) -> None:
        """Start it in front of a server.

        Raises:
            MissingError: there is no PgBouncer here.
            FailedError: it does not start.
        """
        self._program: Final = find("pgbouncer")
        self._behind: Final = behind
        super().__init__()
        self._first_start()

    def url(self, database: str = "postgres") -> str:
        """Where a database of the server is, through the pooler; a URL of the server's will do too."""
        name = urlsplit(database).path.lstrip("/")
        return f"postgresql://{SUPERUSER}@{HOST}:{self.port}/{name}"

    def _command(self) -> list[str]:
        ini = self.directory / "pgbouncer.ini"
        ini.write_text(INI.format(host=HOST, port=self.port, server_port=self._behind.port, user=SUPERUSER), "ascii")
        return [str(self._program), str(ini)]

    def _ready(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(PATIENCE_S)
            return probe.connect_ex((HOST, self.port)) == 0
