"""Entries of a stream as messages, and events as entries.

An entry has no body. The field `data` is it, and the other fields are headers; or `event`, a whole CloudEvent; or,
without either, all fields together as a JSON object of text. `message-id` tells repeats.
"""

import json
from collections.abc import Sequence
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


def message_of(source: str, key: str, entry: bytes, fields: Sequence[bytes]) -> Message:
    """An entry as a message; `fields` are names and values by turns."""
    place = entry.decode("ascii")
    at = int(place.partition("-")[0]) / 1000
    if len(fields) == 2 and fields[0] == _DATA:  # noqa: PLR2004 - a name and its value
        return Message(source, place, "", f"{key}:{place}", None, {}, None, at, None, fields[1])
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    given, media, body = pairs.pop(FIELD_OF_ID, None), pairs.pop(_TYPE, None), pairs.pop(_DATA, None)
    identity = f"{key}:{place}" if given is None else text_of(given)
    content_type = None if media is None else text_of(media)
    headers = dict[str, str]()
    if body is not None:
        headers = {text_of(name): text_of(value) for name, value in pairs.items()}
    elif pairs.keys() == {_EVENT}:
        body, content_type = pairs[_EVENT], STRUCTURED
    else:
        body, content_type = _together(pairs)
    return Message(source, place, "", identity, None, headers, content_type, at, None, body)


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
