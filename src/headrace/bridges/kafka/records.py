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


def messages_of(source: str, part: str, records: Iterable[Any]) -> list[Message]:
    """As a source gives them; a record without a value is an empty message."""
    messages = list[Message]()
    for record in records:
        key, at = record.key, record.timestamp
        headers, content_type = _headers(record.headers) if record.headers else ({}, None)
        messages.append(
            Message(
                source,
                str(record.offset),
                part,
                None,
                None if key is None else key.decode("utf-8", "replace"),
                headers,
                content_type,
                None if at == NO_TIME else at / 1000,
                None,
                record.value or b"",
            )
        )
    return messages


def _headers(pairs: Iterable[tuple[str, bytes | None]]) -> tuple[dict[str, str], str | None]:
    every = {name: (value or b"").decode("utf-8", "replace") for name, value in pairs}
    content_type = next((value for name, value in every.items() if name.lower() == CONTENT_TYPE), None)
    return bounded_headers(every), content_type


def headers_of(event: Event) -> list[tuple[str, bytes]]:
    """What goes beside an event's body.

    Raises:
        AttributeError, TypeError, ValueError: its head is none.
    """
    head = Head.read(event.head)
    found = [
        (name.encode("utf-8", "replace").decode(), value.encode("utf-8", "replace"))
        for name, value in head.headers.items()
    ]
    if head.content_type is not None and all(name.lower() != CONTENT_TYPE for name, _ in found):
        found.append((CONTENT_TYPE, head.content_type.encode("utf-8", "replace")))
    found.append((HEADER_OF_ID, event.id.hex().encode("ascii")))
    return found
