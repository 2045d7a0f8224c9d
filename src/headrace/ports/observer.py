"""Observers: what the runtime and the app tell whoever counts, plainly and after the fact.

An observer never raises and never waits, and is called from any thread. Nothing depends on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from headrace.core.model import ClaimedJob, Enqueued, Exchanged, NewJob, Outcome


@dataclass(frozen=True, slots=True)
class Moment:
    """What is so in this process at the moment in which it is asked."""

    connections: Mapping[str, int] = field(default_factory=dict[str, int])  # live ones, by transport
    closes: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])  # transport, reason
    feeds: int | None = None  # that somebody here follows
    loop_age_s: Mapping[str, float] = field(default_factory=dict[str, float])  # of workers below, by role


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

    def worker_crashed(self, role: str) -> None:
        """Nothing."""

    def counted(self, counts: Mapping[str, object]) -> None:
        """Nothing."""


SILENT: Final[Observer] = Silent()
