"""What goes out: a CloudEvent as its maker sees it, and an event on its way through the outbox.

Invariant: a `CloudEvent` that exists is valid by version 1.0 of the specification, as far as its attributes go.

Source: CloudEvents 1.0.2, cloudevents/spec.md in github.com/cloudevents/spec.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from headrace.core.errors import InvalidEvent
from headrace.core.model import JobId, Json

SPEC_VERSION: Final = "1.0"
REQUIRED: Final = ("id", "source", "type")
OPTIONAL: Final = ("subject", "time", "datacontenttype", "dataschema")
ATTRIBUTES_MAX: Final = 64
TEXT_BYTES_MAX: Final = 8 * 1024
JSON_TYPE: Final = "application/json"

Extension: TypeAlias = str | int | bool

_RESERVED: Final = frozenset({"specversion", *REQUIRED, *OPTIONAL, "data"})
_NAME: Final = re.compile(r"[a-z0-9]+")
_NO_CHARACTERS: Final = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_FORBIDDEN: Final = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NO_CHARACTERS}]")
_URI_REFERENCE: Final = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_MEDIA_TYPE: Final = re.compile(r"[!#$%&'*+.^_`|~\w-]+/([!#$%&'*+.^_`|~\w-]+)[ \t]*(?:;.*)?", re.ASCII)
_INSTANT: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}):(\d{2})(\.\d+)?(?:[Zz]|([+-])(\d{2}):([0-5]\d))", re.ASCII
)
_DECODER: Final = json.JSONDecoder()
_LEAP_SECOND: Final = "60"
_INTEGER: Final = range(-(1 << 31), 1 << 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """An event by the CloudEvents specification, version 1.0.

    `id` and `source` together are unique, and stay the same when the event is sent again. `data` is what it carries, as
    bytes that are encoded as `datacontenttype` says; None: it carries nothing. `time` is RFC 3339 text, kept as it was
    written. `extensions` are attributes of one's own, with names of lower-case letters and digits.

    Raises:
        InvalidEvent: an attribute is missing or cannot be.
    """

    id: str
    source: str
    type: str
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    extensions: Mapping[str, Extension] = field(default_factory=dict[str, Extension], hash=False)
    data: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what the specification does."""
        for name in (*REQUIRED, *OPTIONAL):
            value: object = getattr(self, name)
            if value is not None or name in REQUIRED:
                _check_text(name, value)
        _check_uri("source", self.source)
        if self.dataschema is not None:
            _check_uri("dataschema", self.dataschema, absolute=True)
        if self.time is not None:
            instant(self.time)
        if self.datacontenttype is not None and _MEDIA_TYPE.fullmatch(self.datacontenttype) is None:
            raise InvalidEvent("datacontenttype", "is no media type: write one as application/json")
        if len(self.extensions) > ATTRIBUTES_MAX:
            raise InvalidEvent("extensions", f"are more than {ATTRIBUTES_MAX}: put the others into data")
        for name, value in self.extensions.items():
            _check_extension(name, value)

    @property
    def at(self) -> float | None:
        """`time` in seconds since the epoch."""
        return None if self.time is None else instant(self.time)

    def attributes(self) -> Iterator[tuple[str, Extension]]:
        """Every attribute that has a value, `specversion` first; data is none."""
        yield "specversion", SPEC_VERSION
        for name in (*REQUIRED, *OPTIONAL):
            value: str | None = getattr(self, name)
            if value is not None:
                yield name, value
        yield from self.extensions.items()


def canonical(value: Extension) -> str:
    """An attribute's value as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def is_json(content_type: str | None) -> bool:
    """Whether a media type says that it is JSON; without one, data of an event is."""
    if content_type is None:
        return True
    parts = _MEDIA_TYPE.fullmatch(content_type)
    subtype = "" if parts is None else parts[1].lower()
    return subtype == "json" or subtype.endswith("+json")


def instant(text: str) -> float:
    """RFC 3339 text as seconds since the epoch.

    Raises:
        InvalidEvent: it is none.
    """
    parts = _INSTANT.fullmatch(text)
    if parts is None:
        raise InvalidEvent("time", "is no instant of RFC 3339: write it as 2026-11-27T09:30:00Z")
    day, minute, second, fraction, sign, hours, minutes = parts.groups()
    leap = second == _LEAP_SECOND  # there are such instants, and Python has none: the second before stands for it
    offset = f"{sign}{hours}:{minutes}" if sign else "+00:00"
    try:
        at = datetime.fromisoformat(f"{day}T{minute}:{'59' if leap else second}{offset}").timestamp()
    except ValueError:
        raise InvalidEvent("time", "is an instant that there is not: write it as 2026-11-27T09:30:00Z") from None
    return at + float(fraction or 0)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidEvent(name, "must be text")
    if not value:
        raise InvalidEvent(name, f"is empty: {'give it a value' if name in REQUIRED else 'leave it out'}")
    _check_characters(name, value)


def _check_characters(name: str, value: str) -> None:
    if len(value.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        raise InvalidEvent(name, f"is longer than {TEXT_BYTES_MAX} bytes: put it into data")
    wrong = _FORBIDDEN.search(value)
    if wrong is not None:
        raise InvalidEvent(name, f"has the character U+{ord(wrong[0]):04X}, which no attribute may have: leave it out")


def _check_uri(name: str, value: str, *, absolute: bool = False) -> None:
    if _URI_REFERENCE.fullmatch(value) is None:
        raise InvalidEvent(name, "is no URI: percent-encode spaces and what is not ASCII")
    if absolute and _ABSOLUTE.match(value) is None:
        raise InvalidEvent(name, "is a URI without a scheme: write it as https://example.com/schema")


def _check_extension(name: str, value: object) -> None:
    if _NAME.fullmatch(name) is None:
        raise InvalidEvent(name, "cannot be an attribute's name: use lower-case letters and digits alone")
    if name in _RESERVED:
        raise InvalidEvent(name, "is no extension: give it by its own name")
    if len(name) > TEXT_BYTES_MAX:
        raise InvalidEvent(name, "is too long for an attribute's name")
    if isinstance(value, str):
        _check_characters(name, value)
    elif not isinstance(value, int):
        raise InvalidEvent(name, "must be text, a whole number, true or false")
    elif value not in _INTEGER:
        raise InvalidEvent(name, "is a number over 32 bits: write it as text")


# --- the outbox ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """What goes beside an event's body: headers, and the property that says its media type, where messages have one."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    content_type: str | None = None

    @classmethod
    def read(cls, text: Json) -> "Head":
        """A head as an outbox keeps it."""
        return cls(*cls.parts(text))

    @staticmethod
    def parts(text: Json) -> tuple[dict[str, str], str | None]:
        """Headers and media type of a head as an outbox keeps it."""
        kept, _ = _DECODER.raw_decode(text)  # what `text` wrote: nothing is around it
        return kept.get("headers", {}), kept.get("content_type")

    def text(self) -> Json:
        """As an outbox keeps it."""
        kept: dict[str, object] = {}
        if self.headers:
            kept["headers"] = dict(self.headers)
        if self.content_type is not None:
            kept["content_type"] = self.content_type
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def routed(exchange: str, routing_key: str) -> str:
    """The target of an event for RabbitMQ."""
    return json.dumps([exchange, routing_key], ensure_ascii=False)


def route_of(target: str) -> tuple[str, str]:
    """Exchange and routing key of a target of RabbitMQ."""
    exchange, routing_key = json.loads(target)
    return exchange, routing_key


@dataclass(frozen=True, slots=True)
class Event:
    """One event for one sink, which is a broker by name.

    `target` is where at the broker: a topic of Kafka, a subject of NATS, a stream's key of Redis, what `routed` makes
    for RabbitMQ. Events of one sink with the same `key` go out in order, whatever their targets. `head` is a `Head`.
    """

    id: bytes
    sink: str
    target: str
    key: str | None = None
    head: Json = "{}"
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event that waits in the outbox: its place there, and how often the broker has refused it."""

    place: int
    event: Event
    failures: int = 0


def stable_id(job: JobId, name: str) -> bytes:
    """The id of an event that `job` publishes as `name`: the same in every attempt, a UUIDv8."""
    digest = bytearray(hashlib.sha256(job + name.encode("utf-8", "surrogatepass")).digest()[:16])
    digest[6] = 0x80 | (digest[6] & 0x0F)
    digest[8] = 0x80 | (digest[8] & 0x3F)
    return bytes(digest)
