"""What a source's core hears (events, past tense) and asks for (effects, imperative)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from headrace.core.message import Batch


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """How a source behaves; all durations are seconds."""

    batch_max: int = 1_000  # messages that go to the store together
    bytes_max: int = 4 << 20  # of bodies that are gathered; one fetch may go beyond
    wait_s: float = 0.5  # how long a fetch waits for a first message
    backoff_s: float = 0.1  # after a lost connection, doubled up to backoff_max_s
    backoff_max_s: float = 30.0  # also after a refusal that needs a person
    store_backoff_s: float = 0.1  # while the store is away, doubled up to store_backoff_max_s
    store_backoff_max_s: float = 5.0
    full_min_s: float = 0.5  # between two looks at a full queue
    full_max_s: float = 5.0
    keep_s: float = 30.0  # after so long without a commit, messages go back to the broker
    answer_s: float = 30.0  # after this, a call counts as unanswered


class IntakeState(StrEnum):
    """How a source stands, as it is shown."""

    AWAY = "away"
    CONSUMING = "consuming"
    FULL = "full"
    STORE_AWAY = "store_away"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class IntakeHealth:
    """How a source stands, and why it is not consuming."""

    state: IntakeState
    why: str = ""


# --- events ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """`Open` number `session` is done."""

    session: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection of `session` is gone or never was; `refused`: a person must mend that."""

    session: int
    why: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer to `Fetch` number `token`; an empty batch: nothing came."""

    token: int
    batch: Batch


@dataclass(frozen=True, slots=True)
class Received:
    """`Receive` number `token` is committed; or bookmarks have `moved` to elsewhere, and nothing of it is written."""

    token: int
    moved: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Crowded:
    """The queue took nothing of `Receive` number `token`; it would take `left` messages."""

    token: int
    left: int
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class Unfit:
    """The store will never take the batch of `Receive` number `token` as it is; nothing is written."""

    token: int
    why: str


@dataclass(frozen=True, slots=True)
class Looked:
    """The answer to `Look` number `token`: the queue would take `left` messages."""

    token: int
    left: int
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class StoreAway:
    """`Receive` or `Look` number `token` found no store; what it wrote, it finds when it is repeated."""

    token: int
    why: str


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """Take nothing more, finish what is on its way, and close."""


Event: TypeAlias = Opened | Lost | Fetched | Received | Crowded | Unfit | Looked | StoreAway | DrainAsked

# --- effects -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """Connect; all that is said of this connection has its number."""

    session: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """Take at most so many messages, after at most `wait_s` none."""

    token: int
    most: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class Receive:
    """Decode, admit and store the batch.

    A call that was repeated since is heard of only if it is `Received`. `again`: it may be stored already, so it is
    repeated with the same jobs and admitted without asking. `raw`: the store refuses the one message for what is in it,
    so it is kept as a letter whatever it says.
    """

    token: int
    batch: Batch
    again: bool = False
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """Acknowledge the batch: it is committed."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Back:
    """Give the batch back: it is not known to be committed, and shall be delivered again."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Hold:
    """Stay a member and take nothing; or take again."""

    held: bool


@dataclass(frozen=True, slots=True)
class Seek:
    """Go on from there in these parts."""

    marks: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the store and the queue how many messages they would take now."""

    token: int


@dataclass(frozen=True, slots=True)
class Close:
    """Let the connection of `session` go, and whatever is asked of it."""

    session: int


@dataclass(frozen=True, slots=True)
class Tell:
    """The source stands otherwise than it did."""

    health: IntakeHealth


@dataclass(frozen=True, slots=True)
class Drained:
    """Nothing is left; the source may end."""


Effect: TypeAlias = Open | Fetch | Receive | Done | Back | Hold | Seek | Look | Close | Tell | Drained
