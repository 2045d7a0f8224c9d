"""The live feed on the wire, `headrace.v1`: frames to text and back, and what a close code asks for.

Every frame is one JSON object with a `type`. `wire/*.json` holds vectors that every client and
server must pass; `docs/reference/asyncapi.yaml` describes the same for other languages.
"""

import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final, TypeAlias, cast

from headrace.core.errors import PositionLost, UsageError
from headrace.core.feed import Position
from headrace.core.model import JobId, Json, Update
from headrace.core.problems import Problem

PROTOCOL: Final = "headrace.v1"
FRAME_BYTES_MAX: Final = 16 * 1024
TOKEN_CHARS_MAX: Final = 8 * 1024
ID_CHARS_MAX: Final = 64
COME_BACK: Final = range(4400, 4500)
STAY_AWAY: Final = range(4500, 4600)

_TOPIC = re.compile(r"job:([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})", re.ASCII)


class CloseCode(IntEnum):
    """Why the server closes. 4400 to 4499: come back, after a random wait; 4500 to 4599: don't."""

    SHUTDOWN = 4400
    EXPIRED = 4401
    SILENT = 4407
    SLOW = 4408
    AGED = 4409
    FLOOD = 4429
    UNAVAILABLE = 4430
    BAD_FRAME = 4500
    UNAUTHORIZED = 4501
    TOO_LARGE = 4509

    @property
    def retry(self) -> bool:
        """Whether the client should come back."""
        return self.value in COME_BACK


@dataclass(frozen=True, slots=True)
class Advice:
    """What a close code means and what the client does next."""

    name: str
    means: str
    then: str


CLOSE_CODES: Final[dict[CloseCode, Advice]] = {
    CloseCode.SHUTDOWN: Advice("shutdown", "the server is stopping", "come back after 0 to 5 s"),
    CloseCode.EXPIRED: Advice("token-expired", "the connection's token has expired", "get a new token, come back"),
    CloseCode.SILENT: Advice("silent", "no `connect` came in time", "come back after 1 to 5 s"),
    CloseCode.SLOW: Advice("slow", "the client did not read in time", "come back, resume from the last position"),
    CloseCode.AGED: Advice("aged", "the connection reached its age limit", "come back at once"),
    CloseCode.FLOOD: Advice("flood", "too many frames from the client", "come back after 5 to 15 s"),
    CloseCode.UNAVAILABLE: Advice("unavailable", "the server cannot serve this now", "come back after 1 to 10 s"),
    CloseCode.BAD_FRAME: Advice("bad-frame", "a frame that breaks the protocol", "mend the client"),
    CloseCode.UNAUTHORIZED: Advice("unauthorized", "no valid credential", "log in, then connect anew"),
    CloseCode.TOO_LARGE: Advice("too-large", "a frame over 16 KiB", "mend the client"),
}


class BadFrame(UsageError):
    """A frame that breaks the protocol; the connection cannot go on."""

    code = "bad-frame"

    def __init__(self, message: str, close: CloseCode = CloseCode.BAD_FRAME) -> None:
        """`close` is the code to close with."""
        super().__init__(message)
        self.close = close


# --- client to server ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """The first frame; without a token the handshake's session cookie speaks for the client."""

    token: str | None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Follow a job's feed; `token` stands for this subscription alone.

    `position` None asks for a snapshot: none was given, or one that is none of ours.
    """

    id: str
    job: JobId
    position: Position | None
    token: str | None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Stop following."""

    id: str


@dataclass(frozen=True, slots=True)
class Refresh:
    """A new token for the connection, or with `id` for one subscription."""

    token: str
    id: str | None


ClientFrame: TypeAlias = Connect | Subscribe | Unsubscribe | Refresh


def parse_frame(text: str | bytes) -> ClientFrame:
    """Read one frame of a client; members that we do not know are ignored.

    Raises:
        BadFrame: it is none; `close` says how to close.
    """
    if isinstance(text, bytes):
        raise BadFrame("frames are text, not binary")
    if _size(text) > FRAME_BYTES_MAX:
        raise BadFrame(f"a frame may have {FRAME_BYTES_MAX} bytes", CloseCode.TOO_LARGE)
    try:
        loaded: object = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFrame("a frame is one JSON object") from None
    if not isinstance(loaded, dict):
        raise BadFrame("a frame is one JSON object")
    frame = cast("dict[str, object]", loaded)
    match frame.get("type"):
        case "connect":
            return Connect(_text(frame, "token", TOKEN_CHARS_MAX))
        case "subscribe":
            return _subscribe(frame)
        case "unsubscribe":
            return Unsubscribe(_needed(frame, "id", ID_CHARS_MAX))
        case "refresh":
            return Refresh(_needed(frame, "token", TOKEN_CHARS_MAX), _text(frame, "id", ID_CHARS_MAX))
        case _:
            raise BadFrame("type must be one of connect, subscribe, unsubscribe, refresh")


def _subscribe(frame: dict[str, object]) -> Subscribe:
    topic = _needed(frame, "topic", ID_CHARS_MAX)
    match = _TOPIC.fullmatch(topic)
    if match is None:
        raise BadFrame("topic must be 'job:' and the job's id, a UUID in lower case")
    given = _text(frame, "position", ID_CHARS_MAX)
    return Subscribe(
        _needed(frame, "id", ID_CHARS_MAX),
        uuid.UUID(match[1]).bytes,
        _position(given),
        _text(frame, "token", TOKEN_CHARS_MAX),
    )


def _position(text: str | None) -> Position | None:
    if text is None:
        return None
    try:
        return Position.parse(text)
    except PositionLost:
        return None


def _text(frame: dict[str, object], name: str, chars_max: int) -> str | None:
    value = frame.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= chars_max or not value.isprintable():
        raise BadFrame(f"{name} must be a text of 1 to {chars_max} printable characters")
    return value


def _needed(frame: dict[str, object], name: str, chars_max: int) -> str:
    value = _text(frame, name, chars_max)
    if value is None:
        raise BadFrame(f"{name} is missing")
    return value


# --- server to client ------------------------------------------------------------------------


def connected(heartbeat_s: float, topics_max: int, expires_in_s: float | None) -> str:
    """The answer to `connect`."""
    frame: dict[str, object] = {
        "type": "connected",
        "protocol": PROTOCOL,
        "heartbeat_ms": round(heartbeat_s * 1000),
        "topics_max": topics_max,
    }
    if expires_in_s is not None:
        frame["expires_in_ms"] = max(0, round(expires_in_s * 1000))
    return dump(frame)


def refreshed(expires_in_s: float | None, subscription: str | None) -> str:
    """The answer to `refresh`."""
    frame: dict[str, object] = {"type": "refreshed"}
    if subscription is not None:
        frame["id"] = subscription
    if expires_in_s is not None:
        frame["expires_in_ms"] = max(0, round(expires_in_s * 1000))
    return dump(frame)


def pending(subscription: str | None) -> str:
    """The job is not seen yet; `subscribed` or `error` follows. Without `subscription` it is data of SSE."""
    return dump(_frame("pending", subscription))


def subscribed(subscription: str | None, *, recovered: bool, position: Position, ended: bool, snapshot: Json) -> str:
    """A subscription stands at `position`; `snapshot` is JSON text, empty where the feed was resumed.

    Without `subscription` it is the data of the SSE event.
    """
    frame = _frame("subscribed", subscription) | {"recovered": recovered, "position": str(position)}
    if ended:
        frame["ended"] = True
    return _spliced(frame, "snapshot", snapshot)


def update(subscription: str | None, update: Update, position: Position) -> str:
    """One update; without `subscription` it is the data of an SSE event."""
    frame = _frame("update", subscription)
    frame |= {
        "position": str(position),
        "attempt": update.attempt,
        "kind": update.kind.value,
        "at": instant(update.at),
    }
    return _spliced(frame, "data", update.data)


def error(problem: Problem, subscription: str | None) -> str:
    """A refusal that does not end the connection; with an `id` it ends that subscription."""
    return dump(_frame("error", subscription) | {"problem": problem.members()})


def _frame(kind: str, subscription: str | None) -> dict[str, object]:
    return {"type": kind} if subscription is None else {"type": kind, "id": subscription}


HEARTBEAT: Final = '{"type":"heartbeat"}'


def instant(at: float) -> str:
    """An instant as RFC 3339 text in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def dump(value: object) -> str:
    """Compact JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def frame_bytes(text: str) -> int:
    """How many bytes a frame takes."""
    return _size(text)


def _spliced(frame: dict[str, object], name: str, value: Json) -> str:
    return dump(frame) if not value else f'{dump(frame)[:-1]},"{name}":{value}}}'


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
