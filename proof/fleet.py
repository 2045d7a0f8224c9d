"""The system under test: one API process and some trees of workers, started, hurt and ended by their numbers."""

import os
import signal
import socket
import time
from pathlib import Path
from typing import Final

from proof.backing import Backing, Worker
from proof.evidence import Fault
from proof.processes import Program, send, sessions

LEASE_S: Final = 2.0
TREES: Final = 2
GRACE_S: Final = 3
POOLS: Final = ("--concurrency=16", "--threads=4")
"""What one SQLite file can take: more writers at a time would only wait for its lock."""


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Fleet:
    """Everything that runs, and everything that was done to it."""

    def __init__(self, backing: Backing, folder: Path) -> None:
        """Nothing is started."""
        self._backing = backing
        self._folder = folder
        self.lines = folder / "lines.log"
        self.port = free_port()
        self.faults: list[Fault] = []
        self.hurt: set[int] = set()
        self.api: Program | None = None
        self.trees: list[Program | None] = [None] * TREES
        # Compiled modules are used, as they would be in production: processes start all the time here.
        own = ("HEADRACE_", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        self.env = {
            **kept,
            "HEADRACE_STORE": backing.url,
            "HEADRACE_LEASE_S": str(LEASE_S),
            "HEADRACE_HEARTBEAT_S": "2",
            "HEADRACE_TOKEN_TTL_S": "14400",
            "HEADRACE_LOG_LEVEL": "info",
            "PROOF_LINES": str(self.lines),
            "NO_COLOR": "1",
        }

    @property
    def url(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def programs(self) -> list[Program]:
        """Those that live."""
        return [each for each in (self.api, *self.trees) if each is not None and each.alive]

    def pids(self) -> list[int]:
        """Of every process that lives."""
        found = sessions()
        return [pid for program in self.programs for pid in found.get(program.pid, [])]

    # -- start --------------------------------------------------------------------------------------

    def start_api(self) -> None:
        """The API on its port."""
        argv = ["headrace", "serve", "proof.shop:app", f"--port={self.port}", "--no-access-log", "--tied"]
        self.api = Program("api", argv, self.env, self._folder / "api.log")

    def start_tree(self, number: int) -> None:
        """One tree of workers, as a user starts it."""
        argv = ["headrace", "worker", "proof.shop:hr", f"--grace={GRACE_S}", *POOLS, "--tied"]
        self.trees[number] = Program(f"tree {number}", argv, self.env, self._folder / f"tree-{number}.log")

    def start_missing(self) -> None:
        """Whatever should run and does not."""
        if self.api is None or not self.api.alive:
            self.start_api()
        for number, tree in enumerate(self.trees):
            if tree is None or not tree.alive:
                self.start_tree(number)

    def up(self) -> bool:
        """Whether the API listens and every tree has its workers."""
        trees = {tree.pid for tree in self.trees if tree is not None and tree.alive}
        ready = {worker.supervisor for worker in self.workers() if worker.role == "worker"}
        return len(trees) == TREES and trees <= ready and self.listens()

    def listens(self) -> bool:
        """Whether somebody answers on the API's port."""
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def workers(self) -> list[Worker]:
        """Those that are up, of trees that live."""
        alive = {tree.pid for tree in self.trees if tree is not None and tree.alive}
        return [each for each in self._backing.workers() if each.supervisor in alive and each.ready]

    # -- hurt ---------------------------------------------------------------------------------------

    def note(self, kind: str, at: float, pids: list[int], workers: list[Worker]) -> None:
        """Keep what was done; `workers` are those that were up before."""
        known = {worker.pid: worker for worker in workers}
        suspects = tuple(pid for pid in pids if pid in known and known[pid].role == "suspects")
        others = len(known.keys() - set(pids))
        self.hurt.update(pids)
        self.faults.append(Fault(kind, at, time.monotonic(), tuple(pids), suspects, others))

    def kill_worker(self, worker: Worker, workers: list[Worker]) -> None:
        """SIGKILL for one process below a supervisor."""
        at = time.monotonic()
        send(signal.SIGKILL, [worker.pid])
        self.note("kill_worker", at, [worker.pid], workers)

    def kill_tree(self, number: int, workers: list[Worker]) -> None:
        """SIGKILL for a supervisor and all below it."""
        tree = self.trees[number]
        if tree is not None and tree.alive:
            at, pids = tree.kill()
            self.note("kill_tree", at, pids, workers)

    def kill_api(self, in_flight: int) -> None:
        """SIGKILL for the API while so many enqueues wait for their answer, and a new one at once."""
        if self.api is not None:
            at, pids = self.api.kill()
            self.hurt.update(pids)
            self.faults.append(Fault("kill_api", at, time.monotonic(), tuple(pids), in_flight=in_flight))
        self.start_api()

    # -- the end ------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask everything to end, kill what does not; nothing is left."""
        for program in self.programs:
            send(signal.SIGCONT, program.members())
            program.terminate()
        give_up = time.monotonic() + GRACE_S + 12
        for program in self.programs:
            program.ended_within(max(0.1, give_up - time.monotonic()))
        self.kill()

    def kill(self) -> tuple[float, list[int]]:
        """SIGKILL for everything."""
        at, pids = time.monotonic(), []
        for program in (self.api, *self.trees):
            if program is not None:
                pids += program.kill()[1]
        return at, pids
