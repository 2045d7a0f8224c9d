"""A RabbitMQ broker with one virtual host; its port mapper is ours too, so that nothing of it stays behind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from servers.server import HOST, Server, ask, find, free_port, wait_for

SETTLED_S: Final = 3.0
"""A queue that was just declared is on the disk 2 s later, and lost to a SIGKILL until then."""
HELLO: Final = b"AMQP\x00\x00\x09\x01"


class RabbitMQ(Server):
    """One broker; `guest` is its user."""

    name = "rabbitmq"

    def __init__(self, settings: Mapping[str, str] | None = None, within: Path | None = None) -> None:
        """Start it; as it comes, but for `settings`, which go to rabbitmq.conf.

        Raises:
            MissingError: there is no RabbitMQ here.
            FailedError: it does not start.
        """
        self._program: Final = find("rabbitmq")
        self._mapper: Final = find("epmd")
        self._settings: Final = dict(settings or {})
        self._mapper_port = 0
        super().__init__(within)
        self._first_start()

    @property
    def version(self) -> str:
        """As the broker tells it: `3.10.8`."""
        _, _, behind = ask(self.port, HELLO).partition(b"versionS\x00\x00\x00")
        return behind[1 : 1 + behind[0]].decode("ascii")

    def url(self) -> str:
        """Where its virtual host is."""
        return f"amqp://guest:guest@{HOST}:{self.port}/"

    def _command(self) -> list[str | Path]:
        self._start_mapper()
        lines = [f"{name} = {value}\n" for name, value in self._settings.items()]
        (self.directory / "rabbitmq.conf").write_text("".join(lines), "utf-8")
        (self.directory / "plugins").write_text("[].", "ascii")
        return [self._program]

    def _environment(self) -> Mapping[str, str]:
        directory = str(self.directory)
        return {
            "HOME": directory,  # for its cookie
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_NODENAME": f"{self.directory.name}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": f"{directory}/data",
            "RABBITMQ_LOG_BASE": directory,
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": f"{directory}/rabbitmq.pid",
            "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{directory}/none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/plugins",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the broker, instead of staying before it
        }

    def _ready(self) -> bool:
        return ask(self.port, HELLO) != b""

    def _start_mapper(self) -> None:
        """Start what Erlang finds its nodes by, under a name by which it is found itself."""
        link = self.directory / "epmd"
        link.unlink(missing_ok=True)
        link.symlink_to(self._mapper)
        self._mapper_port = free_port()
        self._help([link, "-port", str(self._mapper_port), "-address", HOST])
        wait_for(lambda: ask(self._mapper_port, b"\x00\x01n") != b"", "the start of epmd", self.log)
