"""What a simulated world saw of its upstreams: the words that the store took, and the calls that were made."""

from dataclasses import dataclass
from typing import TypeAlias

from headrace.core.fleet import BreakerState, Said
from headrace.core.model import JobId, Json


@dataclass(frozen=True, slots=True)
class Amended:
    """The store has turned an upstream's document into the next.

    `said` None: by a person, or to forget a process that is dead.
    """

    upstream: str
    before: Json | None
    after: Json
    said: Said | None
    forgot: str | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """A worker lets a job start whose task needs upstreams; `known` is what it knows of each.

    That is the breaker's state, and whether the attempt has a permit.
    """

    job: JobId
    task: str
    node: str
    known: tuple[tuple[str, BreakerState, bool], ...]


@dataclass(frozen=True, slots=True)
class Called:
    """A service is called through a guard; `process` is what the fleet knows the caller by."""

    call: int
    upstream: str
    node: str
    version: int  # of the caller's code
    process: str
    generation: int
    permit: str | None
    began: float  # by the caller's clock


@dataclass(frozen=True, slots=True)
class Retrying:
    """A guard has allowed one more try; `at` is by the clock of the process."""

    upstream: str
    version: int
    process: str
    at: float


@dataclass(frozen=True, slots=True)
class Served:
    """A service is done with a call: it has answered, or was hung up on."""

    call: int


@dataclass(frozen=True, slots=True)
class CallEnded:
    """Who called has told its guard of the end; `failed` None: it was no outcome."""

    call: int
    failed: bool | None


CallEvent: TypeAlias = Amended | Allowed | Called | Retrying | Served | CallEnded
