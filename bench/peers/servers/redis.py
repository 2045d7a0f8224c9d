"""Redis for one run, as it comes: snapshots now and then, no append-only file, so a crash loses the last minutes."""

import shutil
from pathlib import Path

from bench.peers.environments import UnavailableError
from bench.peers.servers import ask, free_port, until_ready
from bench.peers.trees import Tree


class Redis:
    """One server of sixteen numbered databases."""

    name = "redis"

    def __init__(self, within: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise UnavailableError("redis-server is not here: apt-get install redis-server")
        self.port = free_port()
        folder = within / "redis"
        folder.mkdir()
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._tree = Tree([program, *words], within / "redis.log", cwd=folder)
        until_ready(self._tree, lambda: ask(self.port, b"PING\r\n").startswith(b"+PONG"), "Redis")

    @property
    def pid(self) -> int:
        return self._tree.pid

    def stop(self) -> None:
        self._tree.stop()

    @property
    def version(self) -> str:
        info = ask(self.port, b"INFO server\r\n", 4096).decode("utf-8", errors="replace")
        return info.partition("redis_version:")[2].split()[0]

    def url(self, database: int) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def clear(self, database: int) -> None:
        ask(self.port, f"SELECT {database}\r\nFLUSHDB\r\n".encode())
