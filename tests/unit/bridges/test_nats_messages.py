"""Messages of NATS, and events as what is published."""

from types import SimpleNamespace

import pytest

from headrace.bridges.nats.messages import headers_of, message_of
from headrace.core.event import Event, Head

PLACE = "payments.3.1234.77.1764253000123456789.5"
REPLIES = (f"$JS.ACK.ORDERS.{PLACE}", f"$JS.ACK._.ACCOUNT.ORDERS.{PLACE}.token", f"$JS.ACK.hub.ACCOUNT.ORDERS.{PLACE}")


@pytest.mark.parametrize("reply", REPLIES)
def test_where_a_message_is_stands_in_its_reply(reply: str) -> None:
    """With and without a domain."""
    found = SimpleNamespace(subject="orders.new", reply=reply, data=b"{}", headers=None)
    message = message_of("nats:orders", found)
    assert (message.source, message.place, message.part, message.key) == ("nats:orders", "1234", "", "orders.new")
    assert message.id == "ORDERS:1234:1764253000123456789"
    assert message.at == pytest.approx(1764253000.123457)
    assert (message.headers, message.content_type, message.body) == ({}, None, b"{}")


def test_headers_are_found_in_any_case() -> None:
    headers = {"nats-msg-id": "7", "CONTENT-TYPE": "text/plain", "x": ""}
    message = message_of("s", SimpleNamespace(subject="a", reply=REPLIES[0], data=b"", headers=headers))
    assert (message.id, message.content_type, message.headers) == ("7", "text/plain", headers)


def test_an_event_has_its_id_and_its_media_type_once() -> None:
    event = Event(bytes(15) + b"\x01", "nats", "a", head=Head({"ce-type": "x"}, "text/plain").text())
    identity = "00000000000000000000000000000001"
    assert headers_of(event) == {"ce-type": "x", "Content-Type": "text/plain", "Nats-Msg-Id": identity}
    event = Event(bytes(15) + b"\x01", "nats", "a", head=Head({"content-type": "text/html"}, "text/plain").text())
    assert headers_of(event) == {"content-type": "text/html", "Nats-Msg-Id": identity}
