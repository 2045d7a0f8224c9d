"""CloudEvents 1.0 as brokers carry them: in headers (binary mode) or as one JSON document (structured mode).

Invariant: whatever the bytes, reading gives an event, None (it is none) or `InvalidEvent`; and what was written is read
as the same event, except that numbers and booleans in headers are text. `wire/cloudevents/*.json` holds vectors.

Source: formats/json-format.md and bindings/{kafka,amqp,nats}-protocol-binding.md of github.com/cloudevents/spec, 1.0.2
and, for binary mode over NATS, 1.0.3. Redis has no binding: ours is that of NATS without its percent signs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote_to_bytes

from headrace.core.cloudevents_json import NEEDED, document, event_of, parse_bare, parse_document
from headrace.core.errors import InvalidEvent
from headrace.core.event import CloudEvent, Extension, canonical

STRUCTURED: Final = "application/cloudevents+json"
_FAMILY: Final = "application/cloudevents"

_UNPRINTABLE: Final = re.compile(r"[^\x21\x23\x24\x26-\x7e]+")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Prefixes:
    """How a broker's messages spell attributes.

    The first prefix is written, all are read, in any case. `content_type` is the header of the media type; None:
    messages have a property for it. With `own_type` the data's type is an attribute like the others, and the header is
    for the structured mode alone. `bare`: a document may come without any media type. `nullable`: no body and an empty
    one differ.
    """

    attributes: tuple[str, ...]
    content_type: str | None
    own_type: bool = False
    percent: bool = False
    bare: bool = False
    nullable: bool = False


KAFKA: Final = Prefixes(("ce_",), "content-type", nullable=True)
RABBITMQ: Final = Prefixes(("cloudEvents:", "cloudEvents_", "ce-"), None)
NATS: Final = Prefixes(("ce-",), "Content-Type", own_type=True, percent=True, bare=True)
REDIS: Final = Prefixes(("ce-",), "content-type", own_type=True)
FIELD_OF_DATA: Final = "data"
FIELD_OF_EVENT: Final = "event"


@dataclass(frozen=True, slots=True)
class Carried:
    """A message to be sent; `content_type` is the property of messages that have one."""

    headers: Mapping[str, str]
    content_type: str | None = None
    body: bytes | None = field(default=None, repr=False)


# --- reading -----------------------------------------------------------------------------------


def parse(
    headers: Mapping[str, object], body: bytes | None, prefixes: Prefixes, content_type: str | None = None
) -> CloudEvent | None:
    """The event that a message is; None: it is none, and says so by having not all that an event must have.

    Values of headers are text, UTF-8, or what AMQP has: numbers, booleans, instants. Several headers whose names differ
    in case alone count as the last of them.

    Raises:
        InvalidEvent: it says that it is one, and is not.
    """
    if content_type is None and prefixes.content_type is not None:
        content_type = _media_type(headers, prefixes.content_type.lower())
    family = "" if content_type is None else content_type.partition(";")[0].strip().lower()
    if family.startswith(_FAMILY):
        _check_format(family)
        return parse_document(body or b"")
    found = _attributes(headers, prefixes)
    if found.keys() >= NEEDED:
        return _from_headers(found, content_type, body, prefixes)
    if prefixes.bare and content_type is None and body:
        return parse_bare(body)
    return None


def parse_fields(fields: Mapping[str, bytes]) -> CloudEvent | None:
    """The event that an entry of a Redis stream is: attributes in `ce-…` beside `data`, or all of it in `event`.

    Raises:
        InvalidEvent: it says that it is one, and is not.
    """
    event = parse(fields, fields.get(FIELD_OF_DATA), REDIS)
    if event is None and FIELD_OF_EVENT in fields:
        return parse_bare(fields[FIELD_OF_EVENT])
    return event


def _media_type(headers: Mapping[str, object], wanted: str) -> str | None:
    for name, value in headers.items():
        if name.lower() == wanted:
            return _text("content-type", value)
    return None


def _check_format(family: str) -> None:
    if family.startswith(f"{_FAMILY}-batch"):
        raise InvalidEvent("content-type", "is that of a batch of events: send each as a message of its own")
    if family not in {_FAMILY, STRUCTURED}:
        raise InvalidEvent("content-type", f"is that of a format which is not read here: send {STRUCTURED}")


def _attributes(headers: Mapping[str, object], prefixes: Prefixes) -> dict[str, object]:
    found = dict[str, object]()
    for prefix in reversed(prefixes.attributes):
        lower = prefix.lower()
        for name, value in headers.items():
            if name.lower().startswith(lower) and value is not None:
                found[name.lower()[len(lower) :]] = value
    return found


def _from_headers(
    found: dict[str, object], content_type: str | None, body: bytes | None, prefixes: Prefixes
) -> CloudEvent:
    values = {name: _unpacked(name, value, prefixes) for name, value in found.items()}
    own = values.pop("datacontenttype", None)
    own = None if own is None else canonical(own)
    data_type = (own or content_type) if prefixes.own_type else (content_type or own)
    return event_of(values, data_type, body if prefixes.nullable else body or None)


def _unpacked(name: str, value: object, prefixes: Prefixes) -> Extension:
    if isinstance(value, int):
        return value
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).isoformat().replace("+00:00", "Z")
    text = _text(name, value)
    if not prefixes.percent:
        return text
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = _ESCAPED.sub(r"\1", text[1:-1])
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeError:
        raise InvalidEvent(name, "is not UTF-8 where it is percent-encoded: encode its UTF-8") from None


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidEvent(name, "is not UTF-8: send text") from None
    raise InvalidEvent(name, f"is a {type(value).__name__}, which no attribute can be: send text")


# --- writing -----------------------------------------------------------------------------------


def to_headers(event: CloudEvent, prefixes: Prefixes) -> Carried:
    """An event in binary mode: its data is the body, as it is."""
    prefix = prefixes.attributes[0]
    values = {name: canonical(value) for name, value in event.attributes()}
    content_type = None if prefixes.own_type else values.pop("datacontenttype", None)
    headers = {f"{prefix}{name}": _packed(value) if prefixes.percent else value for name, value in values.items()}
    if prefixes.content_type is None:
        return Carried(headers, content_type, event.data)
    if content_type is not None:
        headers[prefixes.content_type] = content_type
    return Carried(headers, None, event.data)


def to_document(event: CloudEvent, prefixes: Prefixes) -> Carried:
    """An event in structured mode: all of it is the body.

    Raises:
        InvalidEvent: its data is not the JSON that its media type says.
    """
    body = document(event).encode("utf-8")
    if prefixes.content_type is None:
        return Carried({}, STRUCTURED, body)
    return Carried({prefixes.content_type: STRUCTURED}, None, body)


def to_fields(event: CloudEvent) -> dict[str, bytes]:
    """An event as the fields of an entry of a Redis stream, in binary mode."""
    carried = to_headers(event, REDIS)
    fields = {name: value.encode("utf-8") for name, value in carried.headers.items()}
    return fields if carried.body is None else {**fields, FIELD_OF_DATA: carried.body}


def _packed(value: str) -> str:
    """A value as a header of NATS may have it: printable ASCII, the rest as percent-encoded UTF-8."""
    return _UNPRINTABLE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8")), value)
