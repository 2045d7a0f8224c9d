"""Events as users give them, made ready: what goes to a broker's outbox, and what an address turns into a job.

Invariant: an event that was made ready can be carried by every store and every broker; what cannot is refused here.
"""

import os
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, Protocol, runtime_checkable

from headrace.core.cloudevents import KAFKA, NATS, RABBITMQ, REDIS, Prefixes, to_document, to_headers
from headrace.core.errors import PayloadTooLarge, UsageError
from headrace.core.event import JSON_TYPE, CloudEvent, Event, Extension, Head
from headrace.core.ids import IdMaker
from headrace.core.message import HEADER_BYTES_MAX, HEADERS_MAX
from headrace.runtime.encode import encode

EVENT_SOURCE: Final = "headrace"
EVENT_BYTES_MAX: Final = 1 << 20
KEY_CHARS_MAX: Final = 256
OCTETS: Final = "application/octet-stream"
TRACEPARENT: Final = "traceparent"
NO_OUTBOX: Final = "this store keeps no events: publish needs one that does, as SQLite or PostgreSQL"
PARTITION_KEY: Final = "partitionkey"  # CloudEvents' extension for what keeps events in order
BINDINGS: Final[Mapping[str, Prefixes]] = {"kafka": KAFKA, "nats": NATS, "rabbitmq": RABBITMQ, "redis": REDIS}

_HEADER: Final = re.compile(r"[!-9;-~]{1,128}")
_MEDIA_TYPE_CHARS_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Given:
    """What is said beside an event when it is published; None leaves it out."""

    key: str | None = None
    type: str | None = None
    subject: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content_type: str | None = None
    structured: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """An event with its id: a CloudEvent, or else a body and its media type. `key` keeps events in order."""

    id: uuid.UUID
    body: bytes = field(repr=False)
    content_type: str | None = None
    cloud: CloudEvent | None = None
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    structured: bool = False


class Address(Protocol):
    """A place at a broker: its kind, the broker's name, and where there, as an `Event` says it."""

    @property
    def kind(self) -> str:
        """One of `BINDINGS`."""
        ...

    @property
    def broker(self) -> str:
        """The name of the sink."""
        ...

    @property
    def target(self) -> str:
        """Where at the broker.

        Raises:
            UsageError: nothing can be sent there.
        """
        ...


@runtime_checkable
class Receiver(Protocol):
    """An address at which an event becomes a job instead of a row of an outbox, as a webhook does."""

    async def take(self, event: Prepared, using: object | None) -> None:
        """Enqueue the job, with the transaction of `using` if there is one; the same event's only once."""
        ...

    def take_sync(self, event: Prepared, using: object | None) -> None:
        """As `take`, blocking."""
        ...


class Publisher:
    """Makes events ready; one per app."""

    def __init__(
        self,
        source: str = EVENT_SOURCE,
        bytes_max: int = EVENT_BYTES_MAX,
        *,
        wall: Callable[[], float],
        knows: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`source` and `bytes_max` are settings; `knows` says whether there is a broker of a name."""
        self._source = source
        self._bytes_max = bytes_max
        self._wall = wall
        self._knows = knows
        self._ids = IdMaker()

    def prepare(self, event: object, given: Given, event_id: uuid.UUID | str | None = None) -> Prepared:
        """An event with an id: `event_id`, or a CloudEvent's own, or a new one.

        Raises:
            UsageError: what is said beside it cannot be.
            InvalidEvent: no CloudEvent is like this.
            NotEncodable: JSON cannot carry it.
            PayloadTooLarge: over the bound for events.
        """
        key = _checked_key(given.key)
        headers = _checked_headers(given.headers)
        if isinstance(event, CloudEvent):
            cloud = _checked_cloud(event, given)
            own = event_id if event_id is not None else f"{cloud.source}\n{cloud.id}"
            made = self._id(own)
        else:
            made = self._id(event_id)
            body, content_type = self._encoded(event, given.content_type)
            if given.type is None:
                if given.subject is not None or given.structured:
                    raise UsageError("subject= and structured=True are of a CloudEvent: give its type= too")
                self._check_size(body)
                return Prepared(made, body, content_type, None, key, headers)
            cloud = CloudEvent(
                id=event_id if isinstance(event_id, str) else str(made),
                source=self._source,
                type=given.type,
                subject=given.subject,
                time=_rfc3339(self._wall()),
                datacontenttype=content_type,
                data=body,
            )
        self._check_size(cloud.data or b"")
        if key is None:
            key = _checked_key(_text(cloud.extensions.get(PARTITION_KEY)))
        return Prepared(made, cloud.data or b"", cloud.datacontenttype, cloud, key, headers, given.structured)

    def event(self, address: Address, prepared: Prepared, traceparent: str | None = None) -> Event:
        """The event as the outbox of the address' broker keeps it.

        Raises:
            UsageError: nothing can be sent to this address.
        """
        prefixes = BINDINGS.get(getattr(address, "kind", ""))
        if prefixes is None:
            raise UsageError(
                f"publish takes an address first, as kafka(topic) or rabbitmq(exchange=…), not {type(address).__name__}"
            )
        if not self._knows(address.broker):
            raise UsageError(
                f"there is no broker {address.broker!r}: name its URL with hr.broker({address.broker!r}, …)"
            )
        headers = dict(prepared.headers)
        if traceparent is not None:
            headers.setdefault(TRACEPARENT, traceparent)
        content_type, body = prepared.content_type, prepared.body
        if prepared.cloud is not None:
            carried = (to_document if prepared.structured else to_headers)(prepared.cloud, prefixes)
            headers.update(carried.headers)
            content_type, body = carried.content_type, carried.body or b""
        elif prefixes.content_type is not None:
            if content_type is not None:
                headers[prefixes.content_type] = content_type
            content_type = None
        head = Head(headers, content_type).text()
        return Event(prepared.id.bytes, address.broker, address.target, prepared.key, head, body)

    def _id(self, given: Any) -> uuid.UUID:
        if given is None:
            return uuid.UUID(bytes=self._ids.make(self._wall(), os.urandom(8)))
        if isinstance(given, uuid.UUID):
            return given
        if not isinstance(given, str) or not given:
            raise UsageError(f"an event's id is a UUID or a text, not {given!r}")
        try:
            return uuid.UUID(given)
        except ValueError:
            return _digest(given)

    def _encoded(self, event: object, content_type: str | None) -> tuple[bytes, str]:
        if content_type is not None and not 0 < len(content_type) <= _MEDIA_TYPE_CHARS_MAX:
            raise UsageError(f"content_type is a media type as {JSON_TYPE}, not {content_type!r}")
        if isinstance(event, bytes | bytearray):
            return bytes(event), content_type or OCTETS
        return encode(event, "an event", self._bytes_max).encode(), content_type or JSON_TYPE

    def _check_size(self, body: bytes) -> None:
        if len(body) > self._bytes_max:
            raise PayloadTooLarge(f"an event: {len(body):,} bytes, over the limit of {self._bytes_max:,}")


def stable(event: Prepared, event_id: bytes) -> Prepared:
    """The event under an id of its own, whichever it came with; a CloudEvent that was made here has it too."""
    new = uuid.UUID(bytes=event_id)
    cloud = event.cloud
    if cloud is not None and cloud.id == str(event.id):
        cloud = replace(cloud, id=str(new))
    return replace(event, id=new, cloud=cloud)


def _digest(text: str) -> uuid.UUID:
    digest = bytearray(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
    digest[6] = 0x80 | (digest[6] & 0x0F)
    digest[8] = 0x80 | (digest[8] & 0x3F)
    return uuid.UUID(bytes=bytes(digest))


def _checked_cloud(event: CloudEvent, given: Given) -> CloudEvent:
    for name in ("type", "subject", "content_type"):
        if getattr(given, name) is not None:
            raise UsageError(f"a CloudEvent has these itself: leave {name}= out")
    return event


def _checked_key(key: Any) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or not 0 < len(key) <= KEY_CHARS_MAX or not key.isprintable():
        raise UsageError(f"an event's key is a text of 1 to {KEY_CHARS_MAX} printable characters, not {key!r:.80}")
    return key


def _checked_headers(headers: Mapping[Any, Any]) -> Mapping[str, str]:
    if not headers:
        return {}
    size = 0
    for name, value in headers.items():
        if not isinstance(name, str) or _HEADER.fullmatch(name) is None:
            raise UsageError(f"a header's name is 1 to 128 characters of ASCII without spaces and colons, not {name!r}")
        if not isinstance(value, str) or not value.isprintable():
            raise UsageError(f"the header {name} is a printable text, not {value!r:.80}")
        size += len(name) + len(value.encode())
    if len(headers) > HEADERS_MAX or size > HEADER_BYTES_MAX:
        raise UsageError(f"an event has at most {HEADERS_MAX} headers of together {HEADER_BYTES_MAX:,} bytes")
    return dict(headers)


def _text(value: Extension | None) -> str | None:
    return None if value is None else str(value)


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
