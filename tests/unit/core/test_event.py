"""What an event may be, and the ids of those that jobs publish."""

import contextlib
import re
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import InvalidEvent
from headrace.core.event import (
    CloudEvent,
    Event,
    Head,
    Outgoing,
    canonical,
    instant,
    is_json,
    route_of,
    routed,
    stable_id,
)

PLAIN: dict[str, Any] = {"id": "1", "source": "/orders", "type": "order.paid"}


def test_an_event_has_its_attributes_in_order() -> None:
    event = CloudEvent(**PLAIN, subject="7", time="2026-11-27T09:30:00Z", extensions={"b": True, "a": 1}, data=b"{}")
    assert list(event.attributes()) == [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/orders"),
        ("type", "order.paid"),
        ("subject", "7"),
        ("time", "2026-11-27T09:30:00Z"),
        ("b", True),
        ("a", 1),
    ]
    assert event.at == 1795771800.0
    assert CloudEvent(**PLAIN).at is None
    assert "s3cret" not in repr(CloudEvent(**PLAIN, data=b"s3cret"))
    assert {event: 1}[event] == 1


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"id": ""}, "id is empty: give it a value"),
        ({"id": 7}, "id must be text"),
        ({"type": None}, "type must be text"),
        ({"subject": ""}, "subject is empty: leave it out"),
        ({"source": "büro"}, "source is no URI: percent-encode spaces and what is not ASCII"),
        ({"source": "100%"}, "source is no URI"),
        ({"dataschema": "schema"}, "dataschema is a URI without a scheme"),
        ({"time": "2026-11-27T09:00:00+00:60"}, "time is no instant of RFC 3339"),
        ({"time": "yesterday"}, "time is no instant of RFC 3339: write it as 2026-11-27T09:30:00Z"),
        ({"time": "2026-11-27T24:00:00Z"}, "time is an instant that there is not"),
        ({"datacontenttype": "json"}, "datacontenttype is no media type"),
        ({"subject": "a\x00"}, "subject has the character U+0000"),
        ({"subject": "a\ufdd0"}, "subject has the character U+FDD0"),
        ({"subject": "a\U0010ffff"}, "subject has the character U+10FFFF"),
        ({"subject": "é" * 4097}, "subject is longer than 8192 bytes: put it into data"),
        ({"extensions": {"Key": "a"}}, "'Key' cannot be an attribute's name"),
        ({"extensions": {"": "a"}}, "'' cannot be an attribute's name"),
        ({"extensions": {"a\n": "a"}}, r"'a\n' cannot be an attribute's name"),
        ({"extensions": {"id": "a"}}, "id is no extension: give it by its own name"),
        ({"extensions": {"a" * 9000: "a"}}, f"'{'a' * 40}' is too long for an attribute's name"),
        ({"extensions": {"a": 1.5}}, "a must be text, a whole number, true or false"),
        ({"extensions": {"a": 1 << 31}}, "a is a number over 32 bits: write it as text"),
        ({"extensions": {"a": "\n"}}, "a has the character U+000A"),
        ({"extensions": {f"a{n}": "" for n in range(65)}}, "extensions are more than 64"),
    ],
)
def test_what_the_specification_refuses(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidEvent, match=re.escape(told)) as refused:
        CloudEvent(**{**PLAIN, **fields})
    assert len(str(refused.value)) < 200


def test_what_it_allows() -> None:
    CloudEvent(
        id="日本 😀",
        source="https://user@h:1/a/b;c?d=%20#e",
        type="x",
        dataschema="urn:x",
        time="2026-11-27t09:30:00.123456789+14:00",
        datacontenttype='application/x; charset="a b"',
        extensions={"a": -(1 << 31), "b" * 20: "", "c": False},
    )


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1985-04-12T23:20:50.52Z", 482196050.52),  # the examples of RFC 3339, section 5.8
        ("1996-12-19T16:39:57-08:00", 851042397.0),
        ("1990-12-31T23:59:60Z", 662687999.0),
        ("1990-12-31T15:59:60-08:00", 662687999.0),
        ("1937-01-01T12:00:27.87+00:20", -1041337172.13),
    ],
)
def test_instants(text: str, at: float) -> None:
    assert instant(text) == pytest.approx(at, abs=1e-6)


@given(st.text(st.sampled_from("0123456789-:TtZz.+ "), max_size=30))
def test_any_text_is_an_instant_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidEvent):
        assert instant(text) < 1e12


def test_what_is_json() -> None:
    for yes in (None, "application/json", "text/JSON", "application/vnd.x+json; v=1", "application/json;charset=utf-8"):
        assert is_json(yes)
    for no in ("text/plain", "application/jsonl", "json", "", "application/json+xml"):
        assert not is_json(no)


def test_values_as_text() -> None:
    assert [canonical(value) for value in (True, False, -5, "é")] == ["true", "false", "-5", "é"]


def test_an_event_of_a_job_has_one_id_for_ever() -> None:
    job = bytes(range(16))
    assert uuid.UUID(bytes=stable_id(job, "paid")) == uuid.UUID("0618ce74-cc62-8174-bb0c-71d58abc863d")
    assert stable_id(job, "paid") != stable_id(job, "sent")
    assert stable_id(bytes(16), "paid") != stable_id(job, "paid")
    assert len(stable_id(job, "\ud800")) == 16


@given(st.binary(min_size=16, max_size=16), st.text())
def test_it_is_a_uuid_of_version_8(job: bytes, name: str) -> None:
    made = uuid.UUID(bytes=stable_id(job, name))
    assert (made.version, made.variant) == (8, uuid.RFC_4122)


def test_what_waits_shows_no_body() -> None:
    event = Event(bytes(16), "kafka", "orders", body=b"s3cret")
    assert "s3cret" not in repr(Outgoing(1, event))


def test_a_head_is_kept_as_text() -> None:
    for head in (Head(), Head({"ce-id": "1", "ü": "\n"}, "application/json"), Head({"a": ""})):
        assert Head.read(head.text()) == head
    assert Head().text() == "{}"


def test_a_route_is_a_target() -> None:
    assert route_of(routed("ev/ents", "order.paid")) == ("ev/ents", "order.paid")
