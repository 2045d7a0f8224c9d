"""A NATS server with JetStream, whose file streams are on the disk before their acknowledgement."""

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from servers.server import HOST, PATIENCE_S, Server, ask, find

SETTINGS: Final = {"max_payload": "64MB"}
CONFIG: Final = """\
listen: "{host}:{port}"
server_name: "{name}"
jetstream {{ store_dir: "{directory}/jetstream", max_file_store: 4GB, max_memory_store: 256MB }}
{settings}
"""
ASK_JETSTREAM: Final = b'CONNECT {"verbose":false}\r\nSUB answer 1\r\nPUB $JS.API.INFO answer 0\r\n\r\n'


class Nats(Server):
    """One server, without users."""

    name = "nats"

    def __init__(self, settings: Mapping[str, str] | None = None, within: Path | None = None) -> None:
        """Start it; `settings` are added to those of its file.

        Raises:
            MissingError: there is no NATS here.
            FailedError: it does not start.
        """
        self._program: Final = find("nats")
        self._settings: Final = SETTINGS | dict(settings or {})
        super().__init__(within)
        self._first_start()

    @property
    def version(self) -> str:
        """As the server tells it: `2.9.10`."""
        version: str = json.loads(ask(self.port, b"PING\r\n").removeprefix(b"INFO ").partition(b"\r\n")[0])["version"]
        return version

    def url(self) -> str:
        """Where it is."""
        return f"nats://{HOST}:{self.port}"

    def _command(self) -> list[str | Path]:
        config = self.directory / "nats.conf"
        settings = "\n".join(f"{name}: {value}" for name, value in self._settings.items())
        config.write_text(
            CONFIG.format(
                host=HOST, port=self.port, name=self.directory.name, directory=self.directory, settings=settings
            ),
            "utf-8",
        )
        return [self._program, "--config", config]

    def _ready(self) -> bool:
        """Whether JetStream answers, which it does when its streams are back."""
        heard = b""
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=PATIENCE_S) as connection:
            connection.sendall(ASK_JETSTREAM)
            while b"MSG answer" not in heard and b"-ERR" not in heard:
                more = connection.recv(4096)
                if not more:
                    break
                heard += more
        return b"MSG answer" in heard
