"""What a simulated world saw of too much: who was let in and who was not, and how late loops were."""

from dataclasses import dataclass
from typing import TypeAlias

from headrace.core.admission import Reason
from headrace.core.load import QueueLoad
from headrace.core.model import NewJob


@dataclass(frozen=True, slots=True)
class Looked:
    """A process has asked how much waits, from `began` on; `loads` None: it has no answer."""

    node: str
    began: float
    loads: tuple[QueueLoad, ...] | None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A process lets jobs in, all of them: they are enqueued next. `nested`: an attempt asked."""

    node: str
    jobs: tuple[NewJob, ...]
    nested: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A process lets none of these in, because of one queue."""

    node: str
    jobs: tuple[NewJob, ...]
    nested: bool
    queue: str
    reason: Reason
    retry_in_s: float | None


@dataclass(frozen=True, slots=True)
class Pressed:
    """A process has looked how late its loop is; `level` is what its live feeds give up from now on."""

    node: str
    late_s: float
    level: int


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A process serves no further browser."""

    line: int
    node: str


StrainEvent: TypeAlias = Looked | Admitted | Refused | Pressed | TurnedAway
