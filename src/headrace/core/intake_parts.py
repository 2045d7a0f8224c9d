"""Parts of a source's core: the phase of its connection, and the batch on its way to the store."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from headrace.core.message import Batch

NOTHING: Final = Batch()


class Phase(Enum):
    """How far the connection is."""

    AWAY = 0
    OPENING = 1
    OPEN = 2


@dataclass(slots=True)
class Flight:
    """The batch on its way to the store; `by` is when its answer is late, or when it is sent again."""

    token: int
    batch: Batch
    session: int
    by: float
    sent: bool = True
    again: bool = False
    raw: bool = False
