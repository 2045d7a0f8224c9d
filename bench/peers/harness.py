"""One run of the peers: servers and environments when they are first needed, a fresh queue for every measurement."""

import contextlib
import itertools
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from bench.peers import environments
from bench.peers.catalogue import PEERS
from bench.peers.environments import Environment, UnavailableError
from bench.peers.meter import FOLDER_VARIABLE, Meters
from bench.peers.peer import Peer, Setting
from bench.peers.results import Results
from bench.peers.scale import Scale
from bench.peers.servers import postgres, redis
from bench.peers.trees import Tree, family_cpu_s, last_words
from bench.processes import ROOT, TooSlowError, wait_for
from servers.postgres import Postgres
from servers.rabbitmq import RabbitMQ
from servers.redis import Redis

PRODUCER_S = 120.0
READY_S = 60.0
WARM_JOBS = 5
REST_MOST_S, REST_LOOK_S, REST_CPU = 20.0, 0.4, 0.1
SQLITE, POSTGRES, REDIS, RABBITMQ = "sqlite", "postgres", "redis", "rabbitmq"
Server: TypeAlias = Postgres | Redis | RabbitMQ
MAKE: dict[str, Callable[[Path], Server]] = {
    POSTGRES: postgres.start,
    REDIS: redis.start,
    RABBITMQ: lambda within: RabbitMQ(within=within),
}
T = TypeVar("T")


class PeerError(RuntimeError):
    """A peer's program failed, and its last words."""


@dataclass(frozen=True, slots=True)
class Place:
    """An empty queue of one peer, and the folder in which its jobs leave their marks."""

    peer: Peer
    server: Server | None
    environment: Environment
    folder: Path
    url: str
    queue: str

    @property
    def meters(self) -> Meters:
        return Meters(self.folder)

    @property
    def variables(self) -> dict[str, str]:
        return {
            "PEER_URL": self.url,
            "PEER_QUEUE": self.queue,
            "HEADRACE_STORE": self.url,
            FOLDER_VARIABLE: str(self.folder),
            "PYTHONPATH": str(ROOT),
        }

    @property
    def database(self) -> str:
        return self.url.rpartition("/")[2]

    def server_cpu_s(self) -> float:
        return family_cpu_s(self.server.pid) if self.server is not None and self.server.pid is not None else 0.0

    def commits(self) -> int:
        """Transactions that this queue's database has committed; 0 where there is none."""
        if not isinstance(self.server, Postgres):
            return 0
        sql = f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{self.database}'"
        return int(self.server.sql(sql) or 0)

    def worker(self, setting: Setting) -> Tree:
        number = len(list(self.folder.glob("worker-*.log")))
        home = self.environment.folder
        at = {"bin": str(home / "bin"), "folder": str(home), "name": f"{self.queue}-{number}"}
        command = [word.format_map(at) for word in setting.command]
        return Tree(command, self.folder / f"worker-{number}.log", self.variables | dict(setting.environment))

    def produce(self, mode: str, **options: float | str) -> dict[str, float]:
        """Run the producer to its end; what it says."""
        try:
            return self.producing(mode, **options).finish()
        except subprocess.TimeoutExpired as error:
            raise TooSlowError(f"the producer's {mode}: not within {error.timeout:.0f} s") from error

    def producing(self, mode: str, **options: float | str) -> "Producing":
        peer = self.peer
        if peer.language == "node":
            command = ["node", str(self.environment.folder / peer.module)]
        else:
            command = [self.environment.program("python"), "-m", "bench.peers.producer", peer.module]
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        number = len(list(self.folder.glob("producer-*.log")))
        return Producing([*command, mode, *words], self.variables, self.folder / f"producer-{number}.log")

    def until_ready(self, workers: list[Tree], setting: Setting) -> None:
        """Jobs go through, every worker lives, and none of its processes is still starting."""
        before = self.meters.read().count
        self.produce("fill", count=WARM_JOBS)
        meters = self.meters
        self.watch(lambda: meters.read().count >= before + WARM_JOBS, workers, f"{setting.text}: first jobs", READY_S)
        at_rest(workers)

    def watch(self, look: Callable[[], T | None], workers: list[Tree], what: str, seconds: float) -> T:
        """The first truthy answer of `look`; the worker's last words when it ends or is too slow."""

        def looked() -> T | None:
            found = look()
            ended = next((worker for worker in workers if not worker.is_alive), None)
            if not found and ended is not None:
                raise PeerError(f"the worker ended: {ended.last_words()}")
            return found

        return wait_for(looked, what, seconds, every_s=0.01)


def at_rest(workers: list[Tree]) -> None:
    """Until all of their processes have next to nothing to do, twice in a row; or long enough."""
    give_up = time.monotonic() + REST_MOST_S
    used, quiet = sum(worker.cpu_s for worker in workers), 0
    while quiet < 2 and time.monotonic() < give_up:
        time.sleep(REST_LOOK_S)
        before, used = used, sum(worker.cpu_s for worker in workers)
        quiet = quiet + 1 if used - before <= REST_CPU * REST_LOOK_S else 0


class Producing:
    """A producer that runs beside something else."""

    def __init__(self, command: list[str], variables: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def finish(self, seconds: float = PRODUCER_S) -> dict[str, float]:
        try:
            told, _ = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise
        if self._process.returncode != 0:
            raise PeerError(f"the producer failed: {last_words(self._log)}")
        answer: dict[str, float] = json.loads(told.strip().splitlines()[-1])
        return answer

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


class Harness:
    """Where everything is made, and stopped again."""

    def __init__(self, root: Path, scale: Scale, store: str = POSTGRES) -> None:
        self.root = root
        self.scale = scale
        self.store = store
        self.results = Results()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._servers: dict[str, Server | str] = {}
        self._environments: dict[str, Environment] = {}
        self._templates: dict[str, str] = {}

    def stop(self) -> None:
        for server in self._servers.values():
            if not isinstance(server, str):
                server.stop()

    def server_name(self, peer: Peer) -> str:
        return self.store if peer.server == "store" else peer.server

    def environment(self, peer: Peer) -> Environment:
        with self._lock:
            name = peer.environment
            if name not in self._environments:
                kind, _, folder = name.partition(":")
                make = {"own": lambda _: environments.own(), "node": lambda _: environments.node(folder)}
                self._environments[name] = make.get(kind, environments.python)(name)
            return self._environments[name]

    def server(self, peer: Peer) -> Server | None:
        """The peer's server, running.

        Raises:
            UnavailableError: it is not here or does not start; asked again, it says so at once.
        """
        name = self.server_name(peer)
        if name == SQLITE:
            return None
        with self._lock:
            if name not in self._servers:
                try:
                    self._servers[name] = MAKE[name](self.root)
                except Exception as error:  # noqa: BLE001 - the peers that need it fail, and no others
                    self._servers[name] = str(error)
            found = self._servers[name]
        if isinstance(found, str):
            raise UnavailableError(found)
        return found

    @contextlib.contextmanager
    def place(self, peer: Peer) -> Iterator[Place]:
        """An empty queue, for the time of the block."""
        server, environment = self.server(peer), self.environment(peer)
        name = f"b{next(self._numbers)}"
        folder = self.root / f"{name}-{peer.name}"
        folder.mkdir()
        if isinstance(server, Postgres):
            url = server.create_database(self._template(server, peer, environment))
            try:
                yield Place(peer, server, environment, folder, url, name)
            finally:
                server.drop_database(url)
        elif isinstance(server, Redis):
            database = next(n for n, other in enumerate(PEERS) if other.name == peer.name)
            server.clear(database)
            yield Place(peer, server, environment, folder, server.url(database), name)
        elif isinstance(server, RabbitMQ):
            yield Place(peer, server, environment, folder, server.url(), name)
        else:
            yield Place(peer, None, environment, folder, f"sqlite:///{folder / 'headrace.db'}", name)

    def _template(self, server: Postgres, peer: Peer, environment: Environment) -> str:
        """A database with the peer's tables, which are made once."""
        with self._lock:
            if peer.name not in self._templates:
                folder = self.root / f"template-{peer.name}"
                folder.mkdir(exist_ok=True)
                url = server.create_database()
                Place(peer, server, environment, folder, url, "template").produce("prepare")
                self._templates[peer.name] = url.rpartition("/")[2]
            return self._templates[peer.name]
