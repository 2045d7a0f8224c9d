"""Messages of a stream of NATS as messages, and events as what is published."""

from collections.abc import Mapping
from typing import Any, Final

from headrace.core.cloudevents import NATS
from headrace.core.event import Event, Head
from headrace.core.message import Message, bounded_headers

CONTENT_TYPE: Final = NATS.content_type or ""
HEADER_OF_ID: Final = "Nats-Msg-Id"
"""By it a stream takes what is published twice once, within its `duplicate_window`."""
_SHORT: Final = 9
_STREAM: Final = {True: 2, False: 4}
_SEQUENCE: Final = {True: 5, False: 7}
_GIVEN: Final = {True: 6, False: 8}
_TIME: Final = {True: 7, False: 9}


def message_of(source: str, found: Any) -> Message:
    """As a source gives it.

    Where it is in its stream is told by the subject of its acknowledgement, `$JS.ACK.<stream>.<consumer>.<deliveries>.
    <sequence>.<sequence of the consumer>.<nanoseconds>.<pending>`, which may have domain and account in it. A stream
    that is made anew counts from 1 again, so that the time is a part of what makes a message the same.
    """
    tokens = found.reply.split(".")
    short = len(tokens) == _SHORT
    sequence, time_ns = tokens[_SEQUENCE[short]], tokens[_TIME[short]]
    headers, identity, content_type = {}, None, None
    if found.headers:
        headers, identity, content_type = _headers(found.headers)
    return Message(
        source,
        sequence,
        "",
        identity or f"{tokens[_STREAM[short]]}:{sequence}:{time_ns}",
        found.subject,
        headers,
        content_type,
        int(time_ns) / 1e9,
        None,
        found.data,
    )


def given_of(found: Any) -> int:
    """The how manieth message it is that its consumer gives out, those that come again counted again."""
    tokens = found.reply.split(".")
    return int(tokens[_GIVEN[len(tokens) == _SHORT]])


def _headers(found: Mapping[str, str]) -> tuple[dict[str, str], str | None, str | None]:
    identity = content_type = None
    for name, value in found.items():
        lower = name.lower()
        if lower == HEADER_OF_ID.lower():
            identity = value
        elif lower == CONTENT_TYPE.lower():
            content_type = value
    return bounded_headers(found), identity, content_type


def headers_of(event: Event) -> dict[str, str]:
    """What goes beside an event's body.

    Raises:
        AttributeError, TypeError, ValueError: its head is none.
    """
    head = Head.read(event.head)
    headers = dict(head.headers)
    if head.content_type is not None and all(name.lower() != CONTENT_TYPE.lower() for name in headers):
        headers[CONTENT_TYPE] = head.content_type
    headers[HEADER_OF_ID] = event.id.hex()
    return headers
