"""Records of Kafka as messages, and events as records."""

from types import SimpleNamespace
from typing import Any

from headrace.bridges.kafka.records import headers_of, messages_of
from headrace.core.event import Event, Head


def record(**given: Any) -> Any:
    return SimpleNamespace(**{"offset": 7, "key": None, "timestamp": 1_500, "headers": (), "value": b"{}"} | given)


def test_a_record_as_a_message() -> None:
    headers = (("Content-Type", b"text/plain"), ("none", None), ("bad", b"\xff"))
    plain, other = messages_of("kafka:t:g", "3", [record(), record(key=b"k\xff", timestamp=-1, headers=headers)])
    assert (plain.source, plain.place, plain.part, plain.id) == ("kafka:t:g", "7", "3", None)
    assert (plain.key, plain.headers, plain.content_type, plain.at, plain.body) == (None, {}, None, 1.5, b"{}")
    assert (other.key, other.at, other.content_type) == ("k\ufffd", None, "text/plain")
    assert other.headers == {"Content-Type": "text/plain", "none": "", "bad": "\ufffd"}


def test_an_event_has_its_id_and_its_media_type_once() -> None:
    event = Event(bytes(16), "kafka", "t", head=Head({"ce_type": "é"}, "text/plain").text())
    identity = ("message-id", b"0" * 32)
    assert headers_of(event) == [("ce_type", "é".encode()), ("content-type", b"text/plain"), identity]
    event = Event(bytes(16), "kafka", "t", head=Head({"Content-Type": "text/html"}, "text/plain").text())
    assert headers_of(event) == [("Content-Type", b"text/html"), identity]
