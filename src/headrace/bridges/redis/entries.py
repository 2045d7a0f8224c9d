"""Entries of a stream as messages, and events as entries.

An entry has no body. The field `data` is it, and the other fields are headers; or `event`, a whole CloudEvent; or,
without either, all fields together as a JSON object of text. `message-id` tells repeats.
"""

import json
from typing import Final

from headrace.bridges.redis.client import FIELD_OF_ID
from headrace.core.cloudevents import FIELD_OF_DATA, FIELD_OF_EVENT, STRUCTURED
from headrace.core.event import JSON_TYPE, Event, Head
from headrace.core.message import Message

_DATA: Final = FIELD_OF_DATA.encode()
_EVENT: Final = FIELD_OF_EVENT.encode()
_TYPE: Final = b"content-type"
_UNKNOWN: Final = "application/octet-stream"
_NO_HEAD: Final = "{}"


def message_of(source: str, key: str, entry: bytes, fields: dict[bytes, bytes]) -> Message:
    """An entry as a message."""
    place = entry.decode("ascii")
    at = int(place.partition("-")[0]) / 1000
    body = fields.get(_DATA)
    if body is not None and len(fields) == 1:
        return Message(source, place, "", f"{key}:{place}", None, {}, None, at, None, body)
    given = fields.get(FIELD_OF_ID)
    identity = f"{key}:{place}" if given is None else text_of(given)
    if body is not None:
        headers = {text_of(name): text_of(value) for name, value in fields.items() if name not in _OWN}
        media = fields.get(_TYPE)
        return Message(
            source, place, "", identity, None, headers, None if media is None else text_of(media), at, None, body
        )
    rest = {name: value for name, value in fields.items() if name not in _OWN}
    if _EVENT in fields and not rest.keys() - {_EVENT}:
        return Message(source, place, "", identity, None, {}, STRUCTURED, at, None, fields[_EVENT])
    body, media_type = _together(rest)
    return Message(source, place, "", identity, None, {}, media_type, at, None, body)


def fields_of(event: Event) -> list[str | bytes]:
    """An event as names and values of an entry."""
    fields: list[str | bytes] = [FIELD_OF_ID, event.id.hex()]
    if event.head != _NO_HEAD:
        head = Head.read(event.head)
        for name, value in head.headers.items():
            fields += (name, value)
        if head.content_type is not None:
            fields += (_TYPE, head.content_type)
    fields += (_DATA, event.body)
    return fields


def text_of(value: bytes) -> str:
    """A value as text; what is not UTF-8 is escaped."""
    return value.decode("utf-8", "backslashreplace")


def _together(fields: dict[bytes, bytes]) -> tuple[bytes, str]:
    try:
        plain = {name.decode("utf-8"): value.decode("utf-8") for name, value in fields.items()}
    except UnicodeDecodeError:
        return b"\n".join(name + b"=" + value for name, value in fields.items()), _UNKNOWN
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode("utf-8"), JSON_TYPE


_OWN: Final = frozenset({_DATA, FIELD_OF_ID, _TYPE})
