"""CloudEvents 1.0 as one JSON document: the structured mode of every broker.

Invariant: data that is JSON is kept as it was written, number for number.

Source: cloudevents/formats/json-format.md of github.com/cloudevents/spec, 1.0.2.
"""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, Final, Never

from headrace.core.errors import InvalidEvent
from headrace.core.event import (
    JSON_TYPE,
    OPTIONAL,
    REQUIRED,
    SPEC_VERSION,
    CloudEvent,
    Extension,
    canonical,
    is_json,
)

NEEDED: Final = frozenset({"specversion", *REQUIRED})
_CORE: Final = frozenset({"specversion", *REQUIRED, *OPTIONAL})
_DATA: Final = frozenset({"data", "data_base64"})
_INTEGER_CHARS_MAX: Final = 11
_UTF_8: Final = frozenset({"utf-8", "utf8", "us-ascii"})
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_CHARSET: Final = re.compile(r";[ \t]*charset[ \t]*=[ \t]*\"?([^\s\";]*)", re.IGNORECASE)
_TEXTUAL: Final = re.compile(r"text/|[^;]*[/+]xml[ \t]*(?:;|$)", re.IGNORECASE)


def parse_document(body: bytes) -> CloudEvent:
    """An event of the structured mode.

    Raises:
        InvalidEvent: it is none.
    """
    members = dict[str, tuple[object, str]]()
    for name, value, raw in _members(_decoded(body)):
        if name in members:
            raise InvalidEvent(name, "is there twice: leave one out")
        members[name] = (value, raw)
    for name in ("specversion", *REQUIRED):
        if members.get(name, (None, ""))[0] is None:
            raise InvalidEvent(name, "is missing: an event has specversion, id, source and type")
    values = {name: value for name, (value, _) in members.items() if name not in _DATA and value is not None}
    data, data_type = _data(members, values.pop("datacontenttype", None))
    return event_of({name: _from_json(name, value) for name, value in values.items()}, data_type, data)


def parse_bare(body: bytes) -> CloudEvent | None:
    """An event of the structured mode that nothing announces; None: the body has not all that an event must have.

    Raises:
        InvalidEvent: it has, and is none.
    """
    if b'"specversion"' not in body:
        return None
    try:
        names = {name for name, _, _ in _members(_decoded(body))}
    except InvalidEvent:
        return None
    return parse_document(body) if names >= NEEDED else None


def event_of(values: dict[str, Extension], data_type: str | None, data: bytes | None) -> CloudEvent:
    """The event that has these attributes.

    Raises:
        InvalidEvent: there is none.
    """
    version = values.pop("specversion")
    if version != SPEC_VERSION:
        raise InvalidEvent("specversion", f"is {ascii(version)[:40]}, and only {SPEC_VERSION} is read: send that")
    known = {name: canonical(values.pop(name)) for name in (*REQUIRED, *OPTIONAL) if name in values}
    return CloudEvent(**known, datacontenttype=data_type, extensions=values, data=data)


def document(event: CloudEvent) -> str:
    """An event as JSON text; data that is JSON stands in it as it was written.

    Raises:
        InvalidEvent: its data is not the JSON that its media type says.
    """
    head = json.dumps(dict(event.attributes()), ensure_ascii=False, separators=(",", ":"))
    if event.data is None:
        return head
    name, text = _member(event.data, event.datacontenttype)
    return f'{head[:-1]},"{name}":{text}}}'


def _member(data: bytes, content_type: str | None) -> tuple[str, str]:
    if is_json(content_type):
        text = _as_json(data)
        if text is not None:
            return "data", text
        if content_type is not None:
            raise InvalidEvent("data", "is not JSON, and datacontenttype says so: encode it, or name its own type")
    elif content_type is not None and _TEXTUAL.match(content_type) and _charset(content_type) in _UTF_8:
        try:
            return "data", json.dumps(data.decode("utf-8"), ensure_ascii=False)
        except UnicodeDecodeError:
            pass
    return "data_base64", f'"{base64.b64encode(data).decode("ascii")}"'


def _as_json(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8-sig")
        start = _space(text, 0)
        _, end = _value(text, start)
    except (UnicodeDecodeError, InvalidEvent):
        return None
    return text[start:end] if _space(text, end) == len(text) else None


# --- the text ----------------------------------------------------------------------------------


class _Integer(str):
    __slots__ = ()


class _Real(str):
    __slots__ = ()


def _no_constant(name: str) -> Never:
    raise ValueError(name)


_JSON: Final = json.JSONDecoder(parse_int=_Integer, parse_float=_Real, parse_constant=_no_constant)


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidEvent("event", "is not UTF-8: send it as JSON in UTF-8") from None


def _members(text: str) -> Iterator[tuple[str, object, str]]:
    """Name, value and raw text of each member of the one object that the text is."""
    at = _after(text, 0, "{")
    start = _space(text, at)
    more = text[start : start + 1] != "}"
    while more:
        start = _space(text, at)
        if text[start : start + 1] != '"':
            raise _no_object()
        name, end = _value(text, start)
        start = _space(text, _after(text, end, ":"))
        value, end = _value(text, start)
        yield name, value, text[start:end]
        at = _space(text, end)
        more = text[at : at + 1] == ","
        at += more
    if _space(text, _after(text, at, "}")) != len(text):
        raise _no_object()


def _no_object() -> InvalidEvent:
    return InvalidEvent("event", "is no JSON object: send one object in UTF-8")


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _after(text: str, at: int, sign: str) -> int:
    at = _space(text, at)
    if text[at : at + 1] != sign:
        raise _no_object()
    return at + 1


def _value(text: str, at: int) -> tuple[Any, int]:
    try:
        return _JSON.raw_decode(text, at)
    except (ValueError, RecursionError):
        raise _no_object() from None


def _from_json(name: str, value: object) -> Extension:
    if isinstance(value, _Integer) and name not in _CORE:
        return int(value) if len(value) <= _INTEGER_CHARS_MAX else 1 << 32
    if isinstance(value, bool) and name not in _CORE:
        return value
    if isinstance(value, str) and not isinstance(value, _Integer | _Real):
        return value
    kinds = "text" if name in _CORE else "text, a whole number, true or false"
    raise InvalidEvent(name, f"must be {kinds}")


def _data(members: dict[str, tuple[object, str]], data_type: object) -> tuple[bytes | None, str | None]:
    """What the document carries, and its media type: one that goes without saying is said."""
    declared = None if data_type is None else str(_from_json("datacontenttype", data_type))
    coded, _ = members.get("data_base64", (None, ""))
    value, raw = members.get("data", (None, ""))
    if coded is not None and raw:
        raise InvalidEvent("data_base64", "is there beside data: leave one out")
    if coded is not None:
        try:
            return base64.b64decode(str(coded), validate=True), declared
        except ValueError:
            raise InvalidEvent("data_base64", "is no Base64: encode the bytes by RFC 4648, with padding") from None
    if not raw:
        return None, declared
    if is_json(declared):
        return raw.encode("utf-8"), declared or JSON_TYPE
    if not isinstance(value, str) or isinstance(value, _Integer | _Real):
        raise InvalidEvent("data", "must be text, since datacontenttype is not that of JSON: or give data_base64")
    charset = _charset(declared)
    if charset not in _UTF_8:
        raise InvalidEvent("data", f"is text, and datacontenttype says {ascii(charset)[:40]}: say UTF-8")
    try:
        return value.encode("utf-8"), declared
    except UnicodeEncodeError:
        raise InvalidEvent("data", "has half of a surrogate pair: give data_base64") from None


def _charset(content_type: str | None) -> str:
    found = None if content_type is None else _CHARSET.search(content_type)
    return "utf-8" if found is None else found[1].lower()
