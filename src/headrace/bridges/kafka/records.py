"""Records of Kafka as messages, and events as records."""

from collections.abc import Iterable
from typing import Any, Final

from headrace.core.cloudevents import KAFKA
from headrace.core.event import Event, Head
from headrace.core.message import Message, bounded_headers

CONTENT_TYPE: Final = KAFKA.content_type or ""
HEADER_OF_ID: Final = "message-id"
"""The header that says which event a record is, however often it is sent."""
NO_TIME: Final = -1


def at_of(record: Any) -> float | None:
    """When it was sent, in seconds, as far as it says so."""
    return None if record.timestamp == NO_TIME else record.timestamp / 1000


def messages_of(source: str, part: str, records: Iterable[Any]) -> list[Message]:
    """As a source gives them; a record without a value is an empty message."""
    return [
        Message(
            source,
            str(record.offset),
            part,
            None,
            None if record.key is None else record.key.decode("utf-8", "replace"),
            {},
            None,
            at_of(record),
            None,
            record.value or b"",
        )
        if not record.headers
        else _with_headers(source, part, record)
        for record in records
    ]


def _with_headers(source: str, part: str, record: Any) -> Message:
    headers, content_type = dict[str, str](), None
    for name, value in record.headers:
        text = value.decode("utf-8", "replace") if value else ""
        headers[name] = text
        if len(name) == len(CONTENT_TYPE) and name.lower() == CONTENT_TYPE:
            content_type = text
    return Message(
        source,
        str(record.offset),
        part,
        None,
        None if record.key is None else record.key.decode("utf-8", "replace"),
        bounded_headers(headers),
        content_type,
        at_of(record),
        None,
        record.value or b"",
    )


def headers_of(event: Event) -> list[tuple[str, bytes]]:
    """What goes beside an event's body.

    Raises:
        AttributeError, TypeError, ValueError: its head is none.
    """
    headers, content_type = Head.parts(event.head)
    if event.head.isascii() and "\\u" not in event.head:
        found = [(name, value.encode()) for name, value in headers.items()]
    else:
        found = [
            (name.encode("utf-8", "replace").decode(), value.encode("utf-8", "replace"))
            for name, value in headers.items()
        ]
    if content_type is not None and all(name.lower() != CONTENT_TYPE for name, _ in found):
        found.append((CONTENT_TYPE, content_type.encode("utf-8", "replace")))
    found.append((HEADER_OF_ID, event.id.hex().encode()))
    return found
