"""What was seen from outside, as plain values: the ledger is computed from these and from nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ENDED = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as the database has it; `cause` says why it failed, `feed_end` is the offset of its last update."""

    state: str
    fence: int
    purchase: str
    cause: str | None = None
    feed_end: int = 0
    items: int = 0


@dataclass(frozen=True, slots=True)
class Effect:
    """A row that a job wrote with its success."""

    job: str
    fence: int


@dataclass(frozen=True, slots=True)
class Line:
    """What a body wrote into the file outside the database."""

    word: str
    job: str
    fence: int
    attempt: int
    pid: int
    at: float
    how: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One update as a reader was given it."""

    offset: int
    kind: str
    key: str | None = None


@dataclass(slots=True)
class Followed:
    """All that one reader saw of one job's feed, over all its connections."""

    job: str
    seen: list[Seen] = field(default_factory=list[Seen])
    connections: int = 0
    places_lost: int = 0
    by: str = "sse"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something done to the system, with whom and until when (monotonic seconds)."""

    kind: str
    at: float
    until: float
    pids: tuple[int, ...] = ()
    suspects: tuple[int, ...] = ()  # those of the pids that ran suspects
    others: int = 1  # workers besides these that were up
    in_flight: int = 0  # enqueues that waited for their answer


@dataclass(slots=True)
class Evidence:
    """Everything that one run left behind."""

    attempted: set[str] = field(default_factory=set[str])
    acknowledged: dict[str, str] = field(default_factory=dict[str, str])  # purchase -> job
    conflicting: int = 0  # purchases that were acknowledged with two different jobs
    jobs: dict[str, JobRow] = field(default_factory=dict[str, JobRow])
    shown: dict[str, str] = field(default_factory=dict[str, str])  # job -> state, as the public API says
    effects: list[Effect] = field(default_factory=list[Effect])
    placed: set[str] = field(default_factory=set[str])  # purchases with a row of the shop's own
    placing: set[str] = field(default_factory=set[str])  # purchases that went that way
    lines: list[Line] = field(default_factory=list[Line])
    torn: int = 0  # lines that are no lines
    feeds: list[Followed] = field(default_factory=list[Followed])
    faults: list[Fault] = field(default_factory=list[Fault])
    foreign_crashes: int = 0  # attempts that ended by the death of a process that nobody here had hurt


def read_lines(path: Path) -> tuple[list[Line], int]:
    """The lines of the bodies, in the order of writing, and how many are damaged."""
    found: list[Line] = []
    torn = 0
    for words in _words(path):
        try:
            word, job, fence, attempt, pid, at, how = words
            found.append(Line(word, job, int(fence), int(attempt), int(pid), float(at), how))
        except ValueError:
            torn += 1
    return found, torn


def read_producers(path: Path, evidence: Evidence) -> None:
    """What the producers attempted and what was acknowledged."""
    for word, *rest in _words(path):
        if word == "attempt":
            evidence.attempted.add(rest[1])
            if rest[0] == "placed":
                evidence.placing.add(rest[1])
        else:
            purchase, job = rest
            evidence.conflicting += evidence.acknowledged.setdefault(purchase, job) != job


def _words(path: Path) -> Iterator[list[str]]:
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                yield line.split()
