"""A Redis server that loses nothing it has answered for: every write is on the disk before its reply."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from servers.server import HOST, Server, ask, find

SETTINGS: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "save": "",
    "maxmemory-policy": "noeviction",
}


class Redis(Server):
    """One server of sixteen numbered databases, without a password."""

    name = "redis"

    def __init__(self, settings: Mapping[str, str] | None = None, within: Path | None = None) -> None:
        """Start it; `settings` are added to those of redis.conf.

        Raises:
            MissingError: there is no Redis here.
            FailedError: it does not start.
        """
        self._program: Final = find("redis")
        self._settings: Final = SETTINGS | dict(settings or {})
        super().__init__(within)
        self._first_start()

    @property
    def version(self) -> str:
        """As the server tells it: `7.0.15`."""
        return ask(self.port, b"INFO server\r\n").decode("utf-8", "replace").partition("redis_version:")[2].split()[0]

    def url(self, database: int = 0) -> str:
        """Where a database is."""
        return f"redis://{HOST}:{self.port}/{database}"

    def clear(self, database: int = 0) -> None:
        """Throw away all that is in a database."""
        ask(self.port, f"SELECT {database}\r\nFLUSHDB\r\n".encode())

    def _command(self) -> list[str | Path]:
        argv: list[str | Path] = [self._program, "--port", str(self.port), "--bind", HOST, "--dir", self.directory]
        for name, value in self._settings.items():
            argv += [f"--{name}", value]
        # Its own title would hide the directory's name from `ps`.
        return [*argv, "--daemonize", "no", "--set-proc-title", "no"]

    def _ready(self) -> bool:
        return ask(self.port, b"PING\r\n").startswith(b"+PONG")  # and not -LOADING
