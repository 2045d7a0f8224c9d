"""CloudEvents against the vectors of `wire/cloudevents`, and against bytes of any kind."""

import base64
import contextlib
import json
import re
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.cloudevents import (
    KAFKA,
    NATS,
    RABBITMQ,
    REDIS,
    Carried,
    Prefixes,
    parse,
    parse_fields,
    to_document,
    to_fields,
    to_headers,
)
from headrace.core.cloudevents_json import document, parse_bare, parse_document
from headrace.core.errors import InvalidEvent
from headrace.core.event import CloudEvent

VECTORS = Path(__file__).resolve().parents[3] / "wire" / "cloudevents"
BINDINGS: dict[str, Prefixes] = {"kafka": KAFKA, "rabbitmq": RABBITMQ, "nats": NATS, "redis": REDIS}
PLAIN: dict[str, Any] = {"id": "1", "source": "/orders", "type": "order.paid"}


def vectors(file: str, name: str) -> list[Any]:
    loaded: Any = json.loads((VECTORS / f"{file}.json").read_text("utf-8"))
    return list(loaded[name])


def named(vector: dict[str, Any]) -> str:
    return f"{vector.get('binding', '')} {vector['name']}"


def body_of(vector: dict[str, Any], name: str = "body") -> bytes | None:
    if f"{name}_base64" in vector:
        return base64.b64decode(vector[f"{name}_base64"])
    return None if vector[name] is None else str(vector[name]).encode("utf-8", "surrogatepass")


def read(vector: dict[str, Any]) -> CloudEvent | None:
    coded: dict[str, str] = vector.get("headers_base64", {})
    headers = {**vector["headers"], **{name: base64.b64decode(value) for name, value in coded.items()}}
    if vector["binding"] != "redis":
        return parse(headers, body_of(vector), BINDINGS[vector["binding"]], vector.get("content_type"))
    fields = {name: value.encode("utf-8") for name, value in headers.items()}
    body = body_of(vector)
    return parse_fields(fields if body is None else fields | {"data": body})


# --- the document ------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", vectors("document", "good"), ids=named)
def test_a_document_is_read_and_written(vector: dict[str, Any]) -> None:
    event = parse_document(vector["text"].encode("utf-8", "surrogatepass"))
    assert dict(event.attributes()) == vector["event"]
    assert event.data == body_of(vector, "data")
    assert parse_document(document(event).encode()) == event
    assert parse_bare(vector["text"].encode()) == event
    if "written" in vector:
        assert document(event) == vector["written"]


@pytest.mark.parametrize("vector", vectors("document", "bad"), ids=named)
def test_a_document_that_is_no_event_is_refused_by_its_attribute(vector: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match=re.escape(vector["says"])) as refused:
        parse_document(vector["text"].encode("utf-8", "surrogatepass"))
    assert refused.value.attribute == vector["attribute"]
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert len(str(refused.value)) < 160


@pytest.mark.parametrize("vector", vectors("document", "none"), ids=named)
def test_a_document_that_nothing_announces_may_be_no_event(vector: dict[str, Any]) -> None:
    assert parse_bare(vector["text"].encode()) is None


def test_a_document_that_is_no_utf_8_or_too_deep_is_refused() -> None:
    for wrong in (b"\xff", b'{"a":' * 100_000, b'{"specversion":' + b"[" * 100_000, b'{"a":' + b"9" * 10_000 + b"x"):
        with pytest.raises(InvalidEvent, match=r"event is (no JSON object|not UTF-8)"):
            parse_document(wrong)
        assert parse_bare(wrong) is None


def test_a_number_of_any_length_is_data() -> None:
    number = b"9" * 10_000
    body = b'{"specversion":"1.0","id":"1","source":"a","type":"b","data":' + number + b"}"
    assert parse_document(body).data == number
    with pytest.raises(InvalidEvent, match="order is a number over 32 bits: write it as text"):
        parse_document(body.replace(b"data", b"order"))


def test_data_that_is_no_json_is_not_written_as_json() -> None:
    with pytest.raises(InvalidEvent, match="data is not JSON, and datacontenttype says so"):
        document(CloudEvent(**PLAIN, datacontenttype="application/json", data=b"{"))
    for wrong in (b"1 2", b"", b"NaN", b"\xff"):
        with pytest.raises(InvalidEvent, match="data is not JSON"):
            document(CloudEvent(**PLAIN, datacontenttype="text/json", data=wrong))
        assert '"data_base64":"' in document(CloudEvent(**PLAIN, data=wrong)), "its type is not known"


@pytest.mark.parametrize(
    ("content_type", "data", "written"),
    [
        ("application/json", b' {"a": 1.0}\n', '"data":{"a": 1.0}}'),
        (None, b"[1]", '"data":[1]}'),
        ("text/plain", "é".encode(), '"data":"é"}'),
        ("text/plain; charset=UTF-8", b"\x00", '"data":"\\u0000"}'),
        ("application/soap+xml", b"<a/>", '"data":"<a/>"}'),
        ("application/xml;charset=us-ascii", b"<a/>", '"data":"<a/>"}'),
        ("text/plain; charset=latin1", b"a", '"data_base64":"YQ=="}'),
        ("text/plain", b"\xff", '"data_base64":"/w=="}'),
        ("image/png", b"a", '"data_base64":"YQ=="}'),
        ("application/xmlx", b"a", '"data_base64":"YQ=="}'),
        ("text/plain", b"", '"data":""}'),
    ],
)
def test_how_data_is_written(content_type: str | None, data: bytes, written: str) -> None:
    event = CloudEvent(**PLAIN, datacontenttype=content_type, data=data)
    assert document(event).endswith(written)
    assert parse_document(document(event).encode()).data == data.strip(b" \n")


# --- headers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", vectors("headers", "good"), ids=named)
def test_a_message_is_read_and_written(vector: dict[str, Any]) -> None:
    event = read(vector)
    assert event is not None
    assert dict(event.attributes()) == vector["event"]
    assert event.data == body_of(vector, "data" if "data" in vector else "body")
    if vector.get("read_only"):
        return
    if vector["binding"] == "redis":
        fields = {name: value.encode("utf-8") for name, value in vector["headers"].items()}
        assert to_fields(event) == (fields if event.data is None else fields | {"data": event.data})
        return
    carried = to_headers(event, BINDINGS[vector["binding"]])
    assert carried == Carried(vector["headers"], vector.get("content_type"), body_of(vector))


@pytest.mark.parametrize("vector", vectors("headers", "bad"), ids=named)
def test_a_message_that_is_no_event_is_refused_by_its_attribute(vector: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match=re.escape(vector["says"])) as refused:
        read(vector)
    assert refused.value.attribute == vector["attribute"]


@pytest.mark.parametrize("vector", vectors("headers", "none"), ids=named)
def test_a_message_that_does_not_say_so_is_no_event(vector: dict[str, Any]) -> None:
    assert read(vector) is None


def test_instants_of_amqp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")  # where the machine stands is no matter
    time.tzset()
    try:
        check_instants_of_amqp()
    finally:
        monkeypatch.undo()
        time.tzset()


def check_instants_of_amqp() -> None:
    headers: dict[str, object] = {f"cloudEvents:{name}": value for name, value in PLAIN.items()}
    headers["cloudEvents:specversion"] = b"1.0"
    for at in (datetime(2026, 11, 27, 9, 30, tzinfo=UTC), datetime(2026, 11, 27, 9, 30)):  # noqa: DTZ001 - AMQP has no zone
        event = parse({**headers, "cloudEvents:time": at}, b"", RABBITMQ)
        assert event is not None
        assert event.time == "2026-11-27T09:30:00Z"
    east = datetime(2026, 11, 27, 9, 30, tzinfo=timezone(timedelta(hours=1)))
    event = parse({**headers, "cloudEvents:time": east}, b"", RABBITMQ)
    assert event is not None
    assert (event.time, event.at) == ("2026-11-27T09:30:00+01:00", east.timestamp())


def test_the_structured_mode_says_so_where_the_binding_looks() -> None:
    event = CloudEvent(**PLAIN)
    body = document(event).encode()
    assert to_document(event, KAFKA) == Carried({"content-type": "application/cloudevents+json"}, None, body)
    assert to_document(event, NATS) == Carried({"Content-Type": "application/cloudevents+json"}, None, body)
    assert to_document(event, RABBITMQ) == Carried({}, "application/cloudevents+json", body)


# --- of any kind -------------------------------------------------------------------------------

TEXT = st.text(
    st.one_of(st.characters(min_codepoint=32, max_codepoint=126), st.characters(exclude_categories=["Cc", "Cs", "Cn"])),
    max_size=20,
)
EVENTS = st.builds(
    CloudEvent,
    id=TEXT.filter(bool),
    source=st.sampled_from(["/a", "urn:x", "https://h/%20?a=b#c", "1-555-123-4567"]),
    type=TEXT.filter(bool),
    subject=st.none() | TEXT.filter(bool),
    time=st.none() | st.just("2026-11-27T09:30:00.5+01:00"),
    datacontenttype=st.none() | st.sampled_from(["application/json", "text/plain", "image/png", "a/b+json"]),
    dataschema=st.none() | st.just("https://h/s"),
    extensions=st.dictionaries(st.sampled_from(["a", "b2", "traceparent"]), TEXT),
    data=st.none() | st.sampled_from([b"{}", b'"x"', b" [1, 2.50 ] ".strip()]),
)


@given(EVENTS, st.sampled_from(sorted(BINDINGS)))
def test_what_is_written_in_headers_is_read(event: CloudEvent, binding: str) -> None:
    if binding == "redis":
        assert parse_fields(to_fields(event)) == event
        return
    prefixes = BINDINGS[binding]
    carried = to_headers(event, prefixes)
    assert parse(carried.headers, carried.body, prefixes, carried.content_type) == event
    if binding == "nats":
        assert all(re.fullmatch(r"[\x21\x23-\x7e]*", value) for value in carried.headers.values())


@given(EVENTS)
def test_what_is_written_as_a_document_is_read(event: CloudEvent) -> None:
    again = parse_document(document(event).encode())
    implied = "application/json" if event.data is not None and event.datacontenttype is None else event.datacontenttype
    assert list(again.attributes()) == list(
        CloudEvent(
            id=event.id,
            source=event.source,
            type=event.type,
            subject=event.subject,
            time=event.time,
            dataschema=event.dataschema,
            datacontenttype=implied,
            extensions=event.extensions,
        ).attributes()
    )
    assert again.data == event.data


MEMBERS = st.dictionaries(
    st.sampled_from(
        ["specversion", "id", "source", "type", "time", "data", "data_base64", "datacontenttype", "x", "X"]
    ),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.sampled_from(["1.0", "AA=="]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=4,
    ),
)
BODIES = st.one_of(
    st.binary(max_size=60),
    MEMBERS.map(lambda members: json.dumps(members).encode()),
    MEMBERS.map(lambda members: json.dumps({**PLAIN, "specversion": "1.0", **members}).encode()),
    st.text(st.sampled_from('{}[]":,\\u0dae1 \n'), max_size=30).map(str.encode),
)


@given(BODIES, st.data())
def test_any_document_is_an_event_or_refused(body: bytes, data: st.DataObject) -> None:
    if body and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(body) - 1))
        body = body[:at] + data.draw(st.binary(max_size=3)) + body[at + 1 :]
    for reader in (parse_document, parse_bare):
        try:
            event = reader(body)
        except InvalidEvent:
            continue
        assert event is None or parse_document(document(event).encode()) == event


HEADER = st.one_of(
    st.text(max_size=8),
    st.binary(max_size=8),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(),
    st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=14)), timezone(timedelta(seconds=1))])),
    st.sampled_from(["1.0", "%C3%A9", "%zz", "%ff", '"', '"\\', "application/cloudevents", "text/plain; charset=x"]),
)
NAMES = st.builds(
    "{}{}".format,
    st.sampled_from(["ce_", "ce-", "cloudEvents:", "cloudEvents_", "CE-", ""]),
    st.sampled_from(["specversion", "id", "source", "type", "time", "datacontenttype", "content-type", "x", "ID", "ü"]),
)


@given(st.dictionaries(NAMES, HEADER, max_size=12), st.none() | BODIES, st.booleans(), st.none() | st.text(max_size=5))
def test_any_message_is_an_event_or_none_or_refused(
    headers: dict[str, object], body: bytes | None, complete: bool, content_type: str | None
) -> None:
    for prefixes in BINDINGS.values():
        whole = {f"{prefixes.attributes[0]}{name}": value for name, value in {**PLAIN, "specversion": "1.0"}.items()}
        try:
            event = parse({**(whole if complete else {}), **headers}, body, prefixes, content_type)
        except InvalidEvent:
            continue
        assert event is None or isinstance(event, CloudEvent)


@given(st.dictionaries(st.sampled_from(["event", "data", "ce-id", "ce-type", "x"]), BODIES))
def test_any_entry_is_an_event_or_none_or_refused(fields: dict[str, bytes]) -> None:
    with contextlib.suppress(InvalidEvent):
        assert parse_fields(fields) is None or fields
