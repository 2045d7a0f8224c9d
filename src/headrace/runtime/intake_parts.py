"""What an intake works with, and what it counts."""

import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from headrace.core.intake_events import IntakeSettings
from headrace.core.message import Message
from headrace.core.model import NewJob
from headrace.ports.bridge import Source
from headrace.ports.clock import Clock
from headrace.ports.observer import Observer
from headrace.ports.post import Arrival, Post


class Gate(Protocol):
    """What stands before the queue."""

    async def admit(self, jobs: Sequence[NewJob], *, nested: bool) -> None:
        """Return if all may be enqueued.

        Raises:
            Rejected: one may not.
        """
        ...

    async def left(self, name: str, priority: int) -> tuple[int, float]:
        """How many jobs of this priority the queue takes now, and when to ask again."""
        ...


class Destination(Protocol):
    """The task that messages are for."""

    @property
    def name(self) -> str:
        """As jobs name it."""
        ...

    @property
    def queue(self) -> str:
        """Where its jobs wait."""
        ...


class Maker(Protocol):
    """What makes jobs of messages; see `runtime.decoding.Decoder`."""

    @property
    def task(self) -> Destination:
        """Whose jobs they are."""
        ...

    @property
    def priority(self) -> int:
        """That of the jobs."""
        ...

    @property
    def dedup(self) -> bool:
        """Whether ids are looked at, so that a message without one is worth telling."""
        ...

    def arrivals(self, messages: Sequence[Message], known: Collection[str], *, raw: str | None = None) -> list[Arrival]:
        """What each becomes: a job, or a letter of its bytes. Those of parts with bookmarks need no digest."""
        ...


@dataclass(slots=True)
class Counts:
    """What became of the messages that one source took here; see `core.source_record.SourceCounts`."""

    taken: int = 0
    repeated: int = 0
    letters: int = 0
    unnamed: int = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """What an intake works with."""

    name: str
    source: Source
    decoder: Maker
    settings: IntakeSettings
    post: Post
    gate: Gate
    ready: Callable[[], Awaitable[None]]  # has the store opened; at once where it is
    look: Callable[[], Awaitable[object]]  # something small that reaches the store
    clock: Clock
    rng: random.Random
    observer: Observer
    may_write: Callable[[], bool] = field(default=lambda: True)  # not of a process that lost its turn
