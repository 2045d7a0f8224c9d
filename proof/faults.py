"""What is done to the system, and when: drawn from the seed."""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from proof.backing import Backing, Worker
from proof.fleet import LEASE_S, Fleet
from proof.processes import send

KILL_EVERY_S: Final = (1.0, 3.0)
KILLS: Final = {"kill_worker": 80, "kill_tree": 20}
OTHER_EVERY_S: Final = (3.0, 6.0)
OTHERS: Final = ("stop_worker", "stop_tree", "kill_api", "restart_all", "disk_full")
STOP_S: Final = (LEASE_S + 1.0, LEASE_S + 2.0)
FULL_S: Final = (2.0, 4.0)
SUSPECTS_TOO: Final = 0.3
"""How often the one to be killed is drawn from all, also from those that run suspects."""
DOWN_S: Final = (0.2, 1.0)
BUSY_MIN: Final = 2
BUSY_WITHIN_S: Final = 5.0
UP_WITHIN_S: Final = 120.0


@dataclass(slots=True)
class Saboteur:
    """Two schedules side by side: kills of workers, and everything else, one after the other."""

    fleet: Fleet
    backing: Backing
    seed: int
    in_flight: Callable[[], int]
    """How many enqueues wait for their answer."""
    ease: float = 1.0
    """How much longer than usual it waits between the other faults: more in a long run."""
    _restarting: bool = False
    _standing: set[int] = field(default_factory=set[int])

    async def kills(self) -> None:
        """A worker or a tree, every 1 to 3 seconds."""
        rng = random.Random(f"kills {self.seed}")
        while True:
            await asyncio.sleep(rng.uniform(*KILL_EVERY_S))
            (kind,) = rng.choices(list(KILLS), list(KILLS.values()))
            down_s, pick = rng.uniform(*DOWN_S), rng.random()
            workers = await self._enough_workers()
            victim = _pick(workers, pick) if rng.random() < SUSPECTS_TOO else _pick(_plain(workers), pick)
            # The last tree that moves is not killed whole: what is stopped must find its jobs with somebody else.
            if kind == "kill_worker" or len({worker.supervisor for worker in workers}) < 2:
                self.fleet.kill_worker(victim, workers)
            else:
                number = self._tree_of(victim)
                self.fleet.kill_tree(number, workers)
                await asyncio.sleep(down_s)
                tree = self.fleet.trees[number]
                if tree is None or not tree.alive:
                    self.fleet.start_tree(number)

    async def _enough_workers(self) -> list[Worker]:
        """Those that are up, once there are two; only `restart_all` leaves nobody."""
        while len(workers := self._moving()) < 2 or self._restarting:  # noqa: ASYNC110 - other processes come up
            await asyncio.sleep(0.1)
        return workers

    def _moving(self) -> list[Worker]:
        """Those that are up and not stopped: what is stopped must wake up, not die."""
        return [worker for worker in self.fleet.workers() if worker.pid not in self._standing]

    async def others(self) -> None:
        """Stops, restarts, a full disk: each once in every round, in a drawn order."""
        rng = random.Random(f"others {self.seed}")
        for kind in _rounds(rng, (*OTHERS, *self.backing.own)):
            await asyncio.sleep(rng.uniform(*OTHER_EVERY_S) * self.ease)
            own = self.backing.own.get(kind)
            if own is None:
                await getattr(self, f"_{kind}")(rng)
            else:
                at = time.monotonic()
                await asyncio.to_thread(own)
                self.fleet.note(kind, at, [], [])

    async def _stop_worker(self, rng: random.Random) -> None:
        stop_s = rng.uniform(*STOP_S)
        victim = await self._busiest()
        if victim is not None:
            await self._stopped("stop_worker", [victim.pid], stop_s)

    async def _stop_tree(self, rng: random.Random) -> None:
        stop_s = rng.uniform(*STOP_S)
        victim = await self._busiest()
        tree = None if victim is None else self.fleet.trees[self._tree_of(victim)]
        if tree is not None and tree.alive:
            await self._stopped("stop_tree", tree.members(), stop_s)

    async def _busiest(self) -> Worker | None:
        """The worker that runs the most jobs: to stop one that runs nothing would show nothing."""
        give_up = time.monotonic() + BUSY_WITHIN_S
        while time.monotonic() < give_up:
            running = self.backing.running()
            found = max(_plain(self.fleet.workers()), key=lambda worker: running.get(worker.pid, 0), default=None)
            if found is not None and running.get(found.pid, 0) >= BUSY_MIN:
                return found
            await asyncio.sleep(0.02)
        return None

    async def _stopped(self, kind: str, pids: list[int], seconds: float) -> None:
        at, workers = time.monotonic(), self.fleet.workers()
        self.fleet.hurt.update(pids)
        self._standing.update(pids)
        send(signal.SIGSTOP, pids)
        try:
            await asyncio.sleep(seconds)
        finally:
            send(signal.SIGCONT, pids)
            self._standing.difference_update(pids)
            self.fleet.note(kind, at, pids, workers)

    async def _kill_api(self, rng: random.Random) -> None:
        """In the middle of enqueues, if there are any within a second."""
        give_up = time.monotonic() + 1.0 + rng.random()
        while self.in_flight() < 2 and time.monotonic() < give_up:  # noqa: ASYNC110 - counted by the producers
            await asyncio.sleep(0.001)
        self.fleet.kill_api(self.in_flight())

    async def _restart_all(self, rng: random.Random) -> None:
        """Everything down at once, asked or killed, and up again."""
        at, workers = time.monotonic(), self.fleet.workers()
        pids = self.fleet.pids()
        self._restarting = True
        if rng.random() < 0.5:
            self.fleet.hurt.update(pids)
            self.fleet.kill()
        else:
            await self._asked_to_end()
        self.backing.restart()
        self.fleet.start_missing()
        await self.until_up()
        self._restarting = False
        self.fleet.note("restart_all", at, pids, workers)

    async def _asked_to_end(self) -> None:
        for program in self.fleet.programs:
            program.terminate()
        give_up = time.monotonic() + 15.0
        while self.fleet.programs and time.monotonic() < give_up:  # noqa: ASYNC110 - other processes end
            await asyncio.sleep(0.05)
        for program in self.fleet.programs:
            self.fleet.hurt.update(program.kill()[1])

    async def _disk_full(self, rng: random.Random) -> None:
        at, seconds = time.monotonic(), rng.uniform(*FULL_S)
        if self.backing.refusal.how is None:
            return
        with self.backing.refused(self.fleet.pids):
            await asyncio.sleep(seconds)
        self.fleet.note("disk_full", at, [], [])

    async def until_up(self) -> None:
        """Everything that should run runs."""
        async with asyncio.timeout(UP_WITHIN_S):
            while not self.fleet.up():
                self.fleet.start_missing()
                await asyncio.sleep(0.1)

    def _tree_of(self, worker: Worker) -> int:
        return next(n for n, tree in enumerate(self.fleet.trees) if tree is not None and tree.pid == worker.supervisor)


def _pick(workers: list[Worker], at: float) -> Worker:
    return sorted(workers, key=lambda worker: worker.pid)[int(at * len(workers))]


def _plain(workers: list[Worker]) -> list[Worker]:
    """Without those that run suspects, if there are others."""
    return [worker for worker in workers if worker.role == "worker"] or workers


def _rounds(rng: random.Random, kinds: tuple[str, ...]) -> Iterator[str]:
    while True:
        yield from rng.sample(kinds, len(kinds))
