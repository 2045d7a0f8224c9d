"""What a relay's core hears (events, past tense) and asks for (effects, imperative)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from headrace.core.event import Outgoing


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """How events go from the outbox to one sink; all durations are seconds."""

    window: int = 500  # events that are sent and not confirmed
    one_per_key: bool = True  # not where the broker itself keeps a key in order, whatever is under way
    load_max: int = 1_000  # events that are read together
    load_bytes_max: int = 4 << 20
    known_max: int = 2_000  # events that are kept here, the confirmed ones that are still in the outbox too
    known_bytes_max: int = 32 << 20  # of them, beyond which nothing more is read
    key_known_max: int = 20  # of one key; the others of that key stay in the outbox
    sweep_s: float = 1.0  # how often it is looked for events that were committed late
    rewind_s: float = 0.05  # between two readings from the beginning
    settle_max: int = 1_000  # confirmed events that leave the outbox together
    settle_s: float = 0.02  # for so long they gather
    refusals_max: int = 10  # then an event is parked
    refused_known_max: int = 500  # refused events that wait to be tried again; beyond, they are parked at once
    refused_bytes_max: int = 16 << 20  # of them; likewise
    refused_pause_s: float = 0.5  # doubled with each refusal of the event
    refused_pause_max_s: float = 60.0
    sink_pause_s: float = 0.5  # after a lost connection, doubled while a probe fails
    sink_pause_max_s: float = 60.0
    store_pause_s: float = 0.1
    store_pause_max_s: float = 5.0
    answer_s: float = 30.0  # after this, whatever was asked counts as unanswered


class RelayState(StrEnum):
    """How a relay stands, as it is shown."""

    STANDBY = "standby"
    SENDING = "sending"
    SINK_AWAY = "sink_away"
    STORE_AWAY = "store_away"


@dataclass(frozen=True, slots=True)
class RelayHealth:
    """How a relay stands, and why it is not sending."""

    state: RelayState
    why: str = ""


# --- events ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Appointed:
    """This process is the one that sends, until then; told again with each renewal."""

    until: float


@dataclass(frozen=True, slots=True)
class Dismissed:
    """Another process is."""


@dataclass(frozen=True, slots=True)
class Woken:
    """Something may be in the outbox."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The answer to `Load` number `token`, in the order of places; `more`: there were too many.

    What is committed later has no place up to `settled`; None: nor up to the last of these.
    """

    token: int
    events: tuple[Outgoing, ...]
    more: bool
    settled: int | None = None

    def floor(self, before: int) -> int:
        """Up to where all is known by now, and nothing is to come."""
        last = self.events[-1].place if self.events else before
        return last if self.settled is None else min(last, self.settled)


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """`Load` number `token` found no store."""

    token: int
    why: str


@dataclass(frozen=True, slots=True)
class Handed:
    """The sink has what `Send` gave it, and may be given more; `back` it was not given: it is to be decided anew."""

    back: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker has these events for good."""

    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker does not take this event; others it may."""

    place: int
    why: str


@dataclass(frozen=True, slots=True)
class Unsent:
    """It is not known that the broker has these events, by no fault of theirs: the connection is lost."""

    places: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """These events were not taken now, by no fault of theirs, and the connection is well: their queue is full, say, or
    one of their key was refused before them.
    """

    places: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Settled:
    """`Settle` number `token` is committed."""

    token: int


@dataclass(frozen=True, slots=True)
class SettleFailed:
    """`Settle` number `token` found no store."""

    token: int
    why: str


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """Send nothing more, and end when what is under way is settled."""


Answer: TypeAlias = Loaded | LoadFailed | Settled | SettleFailed | Confirmed | Refused | Unsent | Deferred
Event: TypeAlias = Appointed | Dismissed | Woken | Handed | Answer | DrainAsked

# --- effects -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """Read at most `limit` events of at most so many bytes, and at least one, after a place, without some keys."""

    token: int
    after: int
    limit: int
    bytes_max: int
    without: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Give these events to the broker, in this order; each is answered. There is one at a time: see `Handed`."""

    events: tuple[Outgoing, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One more refusal of an event; `parked`: it is not tried again by itself."""

    place: int
    why: str
    parked: bool


@dataclass(frozen=True, slots=True)
class Settle:
    """Take the confirmed events out of the outbox, and note the refusals."""

    token: int
    done: tuple[int, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Reset:
    """Leave the connection to the broker and make another: it does not answer."""


@dataclass(frozen=True, slots=True)
class Tell:
    """The relay stands otherwise than it did."""

    health: RelayHealth


@dataclass(frozen=True, slots=True)
class Drained:
    """Nothing is left that could be done; the relay may end."""


Effect: TypeAlias = Load | Send | Settle | Reset | Tell | Drained
