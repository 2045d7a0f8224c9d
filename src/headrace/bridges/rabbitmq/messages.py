"""Messages of AMQP 0-9-1 as ours."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from headrace.core.event import Event, Head
from headrace.core.message import Message

PERSISTENT: Final = 2
_NO_HEAD: Final = "{}"


def message_of(source: str, delivered: DeliveredMessage) -> Message:
    """A delivery as a message."""
    delivery: Any = delivered.delivery
    properties = delivered.header.properties
    headers: Any = properties.headers
    sent: Any = properties.timestamp
    return Message(
        source,
        "",
        "",
        properties.message_id or None,
        delivery.routing_key,
        {name: text_of(value) for name, value in headers.items()} if headers else {},
        properties.content_type or None,
        None if sent is None else sent.timestamp(),
        None,
        delivered.body,
    )


def properties_of(event: Event) -> Basic.Properties:
    """What goes beside an event's body."""
    if event.head == _NO_HEAD:
        return Basic.Properties(message_id=event.id.hex(), delivery_mode=PERSISTENT)
    head = Head.read(event.head)
    return Basic.Properties(
        content_type=head.content_type,
        headers=dict(head.headers) or None,
        delivery_mode=PERSISTENT,
        message_id=event.id.hex(),
    )


def text_of(value: object) -> str:
    """The value of a header as text; tables and lists as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    return json.dumps(value, ensure_ascii=False, default=text_of) if isinstance(value, dict | list) else str(value)


_CONSTANTS: Final = {None: "", True: "true", False: "false"}
