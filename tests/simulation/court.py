"""A world without processes, in which one checker judges."""

import json
import random
from types import SimpleNamespace
from typing import Any

from headrace.core.model import (
    ClaimedJob,
    ClaimRequest,
    Enqueued,
    Failure,
    NewJob,
    Pool,
    Settle,
    SettleResult,
    Succeeded,
    Suspicion,
    WorkerRecord,
)
from headrace.ports.store import StoreSettings
from headrace.testing.sim import events as e
from headrace.testing.sim.book import Book
from headrace.testing.sim.checkers import Checker
from headrace.testing.sim.server import StoreServer
from headrace.testing.sim.timeline import Timeline

LEASE_S = 10.0
JOB = bytes(15) + b"\1"
OTHER = bytes(15) + b"\2"
DONE = Succeeded('{"fence":1}')
OOPS = Failure("Oops", "no")
ORDINARY, SUSPECTS = (Suspicion.NONE,), (Suspicion.SHARED, Suspicion.ALONE)


class Process:
    """As much of a process as checkers look at."""

    def __init__(self, timeline: Timeline) -> None:
        self.dead = False
        self.paused = False
        self.clock = SimpleNamespace(now=lambda: timeline.now)
        self.machine = SimpleNamespace(rate=1.0)


class Court:
    """A world without processes: one checker, the book, and the true simulated store."""

    def __init__(self, make: type[Checker]) -> None:
        self.timeline = Timeline()
        self.book = Book()
        self.server = StoreServer(self.timeline, StoreSettings(lease_s=LEASE_S), self.tell, random.Random(1))
        self.scenario = SimpleNamespace(
            slots=2, limits=(), outages=None, strain=None, faults={}, pace_s=1.0, has=lambda _: False
        )
        self.workers: dict[str, Process] = {}
        self.running: dict[str, Any] = {}
        self.outside: Any = None
        self.troubled = True
        self.readers: list[Any] = []
        self.apis: list[Any] = []
        self.broken: list[str] = []
        self.checker = make(self)  # type: ignore[arg-type]

    def fail(self, name: str, detail: str) -> None:
        assert name == self.checker.name
        self.broken.append(detail)

    def tell(self, event: e.Event) -> None:
        self.checker.see(event)
        self.book.note(event, self.server.wall())

    def breaks(self, *events: e.Event) -> bool:
        """Whether it is a breach if this happens next; afterwards it has not happened."""
        assert self.broken == []
        for event in events:
            self.checker.see(event)
        broken, self.broken = bool(self.broken), []
        return broken

    def drains(self) -> bool:
        """Whether the promise is kept in the end."""
        self.checker.drained()
        kept, self.broken = self.broken == [], []
        return kept

    # -- what happens -----------------------------------------------------------------------------

    def register(self, worker: str = "w1", role: str = "worker", lease_s: float = LEASE_S) -> None:
        record = WorkerRecord(worker, "here", 1, role, "1", None, {"t": ""}, 2, 0.0)
        self.workers.setdefault(worker, Process(self.timeline))
        self.server.apply("register", (record, lease_s), {})

    def enqueue(self, job: bytes = JOB, **fields: Any) -> Enqueued:
        new = NewJob(**{"id": job, "task": "t", "queue": "q", "args": "{}", **fields})
        answer: Enqueued = self.server.apply("enqueue", ((new,),), {})[0]
        self.tell(e.Acknowledged(new, answer))
        return answer

    def claim(self, worker: str = "w1", limit: int = 1, *, suspects: bool = False) -> tuple[ClaimedJob, ...]:
        request = ClaimRequest((Pool(frozenset({"t"}), limit),), suspicion=SUSPECTS if suspects else ORDINARY)
        claimed: tuple[ClaimedJob, ...] = self.server.apply("exchange", (worker, (), request), {}).claimed
        return claimed

    def start(self, worker: str = "w1", job: bytes = JOB, fence: int = 1, attempt: int = 1) -> None:
        self.tell(e.Started(job, fence, attempt, worker, f"node of {worker}"))

    def settle(self, outcome: Any = DONE, worker: str = "w1", job: bytes = JOB, fence: int = 1) -> SettleResult:
        result: SettleResult = self.server.apply(
            "exchange", (worker, (Settle(job, fence, outcome),), None), {}
        ).settled[0]
        return result

    def cancel(self, job: bytes = JOB) -> None:
        self.server.apply("cancel", ((job,),), {})

    def retry(self, job: bytes = JOB) -> None:
        self.server.apply("retry", ((job,),), {})

    def reap(self, *dead: str) -> None:
        for worker in dead:
            self.die(worker)
        self.server.apply("reap", (dead,), {})

    def die(self, worker: str = "w1", code: int = -9) -> None:
        self.workers[worker].dead = True
        self.tell(e.Died(f"node of {worker}", worker, code))

    def wait(self, seconds: float) -> None:
        self.timeline.run(self.timeline.now + seconds)
        self.server.apply("promote", (100,), {})

    def running_job(self, **fields: Any) -> ClaimedJob:
        """A worker, and a job whose body it runs."""
        self.register()
        self.enqueue(**fields)
        (claimed,) = self.claim()
        self.start()
        return claimed


def returned(outcome: Any = DONE, worker: str = "w1", fence: int = 1, *, lease_lost: bool = False) -> e.Returned:
    return e.Returned(JOB, fence, worker, f"node of {worker}", outcome, lease_lost)


def item(fence: int, number: int, key: str | None = "a") -> str:
    return json.dumps({"key": key, "data": {"fence": fence, "number": number}})
