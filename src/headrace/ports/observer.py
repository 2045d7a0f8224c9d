"""Observers: what the runtime and the app tell whoever counts, plainly and after the fact.

An observer never raises and never waits, and is called from any thread. Nothing depends on it.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from headrace.core.model import ClaimedJob, Enqueued, Exchanged, NewJob, Outcome
from headrace.ports.notifier import Health


@dataclass(frozen=True, slots=True)
class Spooled:
    """The spool of this process: what waits in it now, and what became of the rest."""

    bytes: int
    jobs: int
    drained: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Moment:
    """What is so in this process at the moment in which it is asked."""

    connections: Mapping[str, int] = field(default_factory=dict[str, int])  # live ones, by transport
    closes: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])  # transport, reason
    feeds: int | None = None  # that somebody here follows
    loop_age_s: Mapping[str, float] = field(default_factory=dict[str, float])  # of workers below, by role
    spool: Spooled | None = None
    level: int = 0  # of what live feeds give up because the event loop is late
    notifier: Health | None = None


CALL_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(slots=True)
class Called:
    """What calls of one upstream came to, and how long they took: how many up to each bound, and beyond the last."""

    succeeded: int = 0
    failed: int = 0
    ignored: int = 0
    refused: int = 0  # did not run
    spread: list[int] = field(default_factory=lambda: [0] * (len(CALL_BOUNDS_S) + 1))
    total_s: float = 0.0

    def ended(self, seconds: float, *, failed: bool | None) -> None:
        """One call has ended."""
        if failed is None:
            self.ignored += 1
        elif failed:
            self.failed += 1
        else:
            self.succeeded += 1
        self.spread[bisect_left(CALL_BOUNDS_S, seconds)] += 1
        self.total_s += seconds


class Observer(Protocol):
    """Is told what happens."""

    def mark(self) -> float:
        """The instant at which something begins; given back with its end."""
        ...

    def attempt_ended(self, job: ClaimedJob, outcome: Outcome | None, mark: float, *, lost: bool) -> None:
        """A body has ended; None: it settled itself. `lost`: its lease was, and nothing of it is written."""
        ...

    def exchanged(self, answer: Exchanged | None, mark: float) -> None:
        """An exchange was answered; None: it failed."""
        ...

    def enqueued(self, jobs: Sequence[NewJob], landed: Sequence[Enqueued]) -> None:
        """Jobs were written, each on what `landed` says."""
        ...

    def shed(self, queue: str, reason: str, jobs: int) -> None:
        """So many jobs were refused at enqueue by the policy of their queue."""
        ...

    def sent(self, sink: str, counts: Mapping[str, int]) -> None:
        """What became of events that were given to a sink: so many sent, refused and parked."""
        ...

    def received(self, source: str, task: str, *, taken: int, repeated: int, letters: int) -> None:
        """So many messages of a source became jobs of a task, were jobs already, or fit it not and became letters."""
        ...

    def worker_crashed(self, role: str) -> None:
        """A supervised child has died, or was killed."""
        ...

    def counted(self, counts: Mapping[str, object]) -> None:
        """A supervised child tells what it has counted since it told the last time."""
        ...


class Silent:
    """Counts nothing."""

    __slots__ = ()

    def mark(self) -> float:
        """No instant."""
        return 0.0

    def attempt_ended(self, job: ClaimedJob, outcome: Outcome | None, mark: float, *, lost: bool) -> None:
        """Nothing."""

    def exchanged(self, answer: Exchanged | None, mark: float) -> None:
        """Nothing."""

    def enqueued(self, jobs: Sequence[NewJob], landed: Sequence[Enqueued]) -> None:
        """Nothing."""

    def shed(self, queue: str, reason: str, jobs: int) -> None:
        """Nothing."""

    def sent(self, sink: str, counts: Mapping[str, int]) -> None:
        """Nothing."""

    def received(self, source: str, task: str, *, taken: int, repeated: int, letters: int) -> None:
        """Nothing."""

    def worker_crashed(self, role: str) -> None:
        """Nothing."""

    def counted(self, counts: Mapping[str, object]) -> None:
        """Nothing."""


SILENT: Final[Observer] = Silent()
