"""What a live connection's core hears, and what it asks its shell to do."""

from dataclasses import dataclass
from typing import TypeAlias

from headrace.core.feed import Position
from headrace.core.model import FeedPage, JobId, Json
from headrace.core.wire import CloseCode

CONNECTION = 0  # the `ref` of the connection itself; subscriptions count from 1


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of one connection, all finite."""

    connect_s: float = 10.0
    heartbeat_s: float = 25.0
    write_s: float = 10.0  # for one frame
    age_s: float = 1_800.0
    retry_s: float = 1.0  # after a read that the store refused
    topics_max: int = 128
    queued_bytes_max: int = 1 << 20  # one frame may be larger; it then waits alone
    frames_burst: int = 300
    frames_per_s: float = 20.0
    page: int = 100  # updates of one read


@dataclass(frozen=True, slots=True)
class Grant:
    """What a credential lets the connection read; `expires_at` is on the clock of `now`."""

    reads_all: bool = False
    jobs: frozenset[JobId] = frozenset()
    expires_at: float | None = None

    def reads(self, job: JobId) -> bool:
        """Whether it covers this job."""
        return self.reads_all or job in self.jobs


# --- events: what has happened ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """The client sent this."""

    text: str | bytes


@dataclass(frozen=True, slots=True)
class Granted:
    """The answer to `Authenticate`; `grant` None: refused, and `code` says why."""

    ref: int
    grant: Grant | None
    code: str = "unauthorized"


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer to `Open`: the feed stands at `position`; `snapshot` is empty where it was resumed."""

    ref: int
    recovered: bool
    position: Position
    snapshot: Json = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Awaited:
    """The job is not seen yet; `Opened` or `Missed` follows."""

    ref: int


@dataclass(frozen=True, slots=True)
class Missed:
    """There is no such job."""

    ref: int


@dataclass(frozen=True, slots=True)
class PageRead:
    """The answer to `Read`."""

    ref: int
    page: FeedPage


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """The store refused an `Open` or a `Read` for now."""

    ref: int


@dataclass(frozen=True, slots=True)
class News:
    """The feed may have grown."""

    ref: int


@dataclass(frozen=True, slots=True)
class Written:
    """The last `Write` is through."""


@dataclass(frozen=True, slots=True)
class ShutdownAsked:
    """The server is stopping."""


SessionEvent: TypeAlias = (
    FrameReceived | Granted | Opened | Awaited | Missed | PageRead | ReadFailed | News | Written | ShutdownAsked
)


# --- effects: what to do ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Find out what this token grants; None: what the handshake's own credential grants."""

    ref: int
    token: str | None


@dataclass(frozen=True, slots=True)
class Open:
    """Follow the job and find where its feed stands; `position` None asks for a snapshot."""

    ref: int
    job: JobId
    position: Position | None


@dataclass(frozen=True, slots=True)
class Read:
    """Read the feed after an offset."""

    ref: int
    job: JobId
    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class Release:
    """Stop following for this subscription."""

    ref: int


@dataclass(frozen=True, slots=True)
class Write:
    """Send one frame; there is never more than one under way."""

    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection; nothing follows."""

    code: CloseCode
    reason: str


SessionEffect: TypeAlias = Authenticate | Open | Read | Release | Write | Close
