"""RabbitMQ for one run, as it comes; its port mapper is ours too, so that nothing of it stays behind."""

import shutil
from pathlib import Path

from bench.peers.environments import UnavailableError
from bench.peers.servers import ask, free_port, until_ready
from bench.peers.trees import Tree

DEBIAN = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""What Debian's program of that name wraps; the wrapper drops the environment and writes to the system's folders."""
HELLO = b"AMQP\x00\x00\x09\x01"


class RabbitMQ:
    """One broker with one virtual host."""

    name = "rabbitmq"

    def __init__(self, within: Path) -> None:
        program = str(DEBIAN) if DEBIAN.exists() else shutil.which("rabbitmq-server")
        mapper = shutil.which("epmd")
        if program is None or mapper is None:
            raise UnavailableError("rabbitmq-server is not here: apt-get install rabbitmq-server")
        folder = within / "rabbitmq"
        folder.mkdir()
        self.port = free_port()
        mapper_port = free_port()
        environment = {
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(mapper_port),
            "RABBITMQ_NODENAME": f"bench{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        }
        log = within / "rabbitmq.log"
        words = ["-port", str(mapper_port), "-address", "127.0.0.1"]
        self._mapper = Tree([mapper, *words], within / "epmd.log", cwd=folder)
        self._tree = Tree([program], log, environment, cwd=folder)
        try:
            until_ready(self._tree, lambda: ask(self.port, HELLO) != b"", "RabbitMQ")
        except BaseException:
            self._mapper.stop()
            raise

    @property
    def pid(self) -> int:
        return self._tree.pid

    def stop(self) -> None:
        self._tree.stop()
        self._mapper.stop()

    @property
    def version(self) -> str:
        """What it says of itself when greeted."""
        words = ask(self.port, HELLO, 4096)
        _, _, behind = words.partition(b"versionS\x00\x00\x00")
        return behind[1 : 1 + behind[0]].decode("ascii") if behind else "unknown"

    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"
