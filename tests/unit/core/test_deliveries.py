"""What is posted to a webhook, which answers mean what, and which endpoints cannot be."""

import json

import pytest

from headrace.core.addresses import AddressPolicy
from headrace.core.deliveries import SCHEDULE, Meaning, Types, check_url, meaning, payload_of, plain_payload, told
from headrace.core.errors import InvalidConfig, InvalidEvent
from headrace.core.event import CloudEvent

PUBLIC = AddressPolicy()


@pytest.mark.parametrize(
    ("status", "means"),
    [
        *((status, Meaning.DELIVERED) for status in (200, 201, 204, 299)),
        *((status, Meaning.REFUSED) for status in (100, 199, 300, 302, 308, 400, 401, 404, 409, 422, 501)),
        *((status, Meaning.FAILING) for status in (429, 500, 502, 503, 504, 599)),
        (410, Meaning.GONE),
    ],
)
def test_what_a_status_means(status: int, means: Meaning) -> None:
    assert meaning(status) is means


def test_an_answer_in_words_is_one_short_line() -> None:
    assert told(503, "try\n  later") == "it answered 503 Service Unavailable: try later"
    assert told(599, "") == "it answered 599"
    assert told(307, "") == (
        "it answered 307 Temporary Redirect; redirects are not followed: give the URL that it leads to"
    )
    assert len(told(400, "x" * 10_000)) < 400


def test_the_schedule_is_that_of_standard_webhooks() -> None:
    assert SCHEDULE.max_attempts == 10
    assert [delay / 60 for delay in SCHEDULE.schedule] == [5 / 60, 5, 30, 120, 300, 600, 840, 1200, 1440]
    assert 75 < sum(SCHEDULE.schedule) / 3600 < 76


def test_a_cloudevent_is_one_document_and_keeps_its_own_id_inside() -> None:
    event = CloudEvent(
        id="7", source="/shop", type="order.paid", datacontenttype="application/json", data=b'{"n": 1.0}'
    )
    payload = payload_of("0c5", event)
    assert (payload.id, payload.type, payload.content_type) == ("0c5", "order.paid", "application/cloudevents+json")
    assert json.loads(payload.body)["id"] == "7"
    assert '"data":{"n": 1.0}' in payload.body


def test_what_is_no_cloudevent_goes_as_it_is() -> None:
    payload = plain_payload("0c5", None, '{"ä": 1}'.encode())
    assert (payload.type, payload.content_type, payload.body) == (None, "application/json", '{"ä": 1}')
    assert plain_payload("0c5", "text/csv", b"a,b").content_type == "text/csv"
    for media in ("a\r\nb: c", "", " ", "é/x"):
        with pytest.raises(InvalidEvent, match="is no media type"):
            plain_payload("0c5", media, b"{}")
    with pytest.raises(InvalidEvent, match="not UTF-8: publish bytes to a webhook within a CloudEvent"):
        plain_payload("0c5", None, b"\xff")


@pytest.mark.parametrize(
    ("names", "wanted", "unwanted"),
    [
        (None, ["order.paid", "x", None], []),
        (["order.paid"], ["order.paid"], ["order", "order.paid.twice", "Order.paid", None]),
        (["order.*"], ["order.paid", "order.paid.twice", "order."], ["order", "orders.paid", "my.order.paid", None]),
        (["order.paid.*", "x"], ["order.paid.twice", "x"], ["order.paid", "x.y", None]),
        ("order.paid", ["order.paid"], ["o"]),
    ],
)
def test_which_events_it_gets(names: object, wanted: list[str | None], unwanted: list[str | None]) -> None:
    types = Types.of(names, "it")  # type: ignore[arg-type]
    assert [each for each in [*wanted, *unwanted] if types.wants(each)] == wanted


@pytest.mark.parametrize("names", [[], [""], ["a b"], ["é"], [7], ["x"] * 1_001, ["x" * 201]], ids=lambda _: "")
def test_types_that_cannot_be(names: list[str]) -> None:
    with pytest.raises(InvalidConfig, match=r"^it: types"):
        Types.of(names, "it")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://partner.example/hooks?token=secret", "https://partner.example"),
        ("https://Partner.example:8443/", "https://partner.example:8443"),
        ("https://93.184.216.34/", "https://93.184.216.34"),
        ("https://[2606:2800:220:1::1]:444/x", "https://[2606:2800:220:1::1]:444"),
    ],
)
def test_of_a_url_only_its_beginning_is_shown(url: str, origin: str) -> None:
    assert check_url("it", url, PUBLIC, insecure=False) == origin


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("partner.example", "write its URL as"),
        ("https://", "write its URL as"),
        ("https://a b.example/", "write its URL as"),
        ("https://münchen.example/", "in ASCII"),
        ("https://partner.example\\@evil.example/", "has a user name"),
        ("https://partner.example\\.evil.example/", "write its URL as"),
        ("https://partner.example:0/", "write its URL as"),
        ("https://partner.example:65536/", "write its URL as"),
        ("https://[::1", "write its URL as"),
        ("https://a..b/", "write its URL as"),
        ("https://a|b/", "write its URL as"),
        (f"https://{'x' * 64}.example/", "write its URL as"),
        ("https://[v1.x]/", "v1.x is no IP address"),
        ("https://x.example/\n", "write its URL as"),
        ("ftp://partner.example/", "begins with https://$"),
        ("http://partner.example/", "insecure=True allows http"),
        ("https://me:secret@partner.example/", "has a user name"),
        ("https://partner.example/#secret", "has a fragment"),
        ("https://10.0.0.7/", r"10.0.0.7 is a private address; allow=\('10.0.0.7',\) allows it"),
        ("https://169.254.169.254/latest/", "where clouds hand out credentials"),
        ("https://[::1]/", "::1 is a loopback address"),
        ("https://[::ffff:10.0.0.7]/", "is 10.0.0.7, a private address"),
        ("https://0177.0.0.1/", "0177.0.0.1 is no IP address"),
        ("https://2130706433/", "2130706433 is no IP address"),
    ],
)
def test_a_url_that_is_not_called(url: str, words: str) -> None:
    with pytest.raises(InvalidConfig, match=f"^it: .*{words}") as caught:
        check_url("it", url, PUBLIC, insecure=False)
    assert "secret" not in str(caught.value)


def test_what_is_allowed_is_called() -> None:
    allowed = AddressPolicy.allowing(["127.0.0.0/8"])
    assert check_url("it", "http://127.0.0.1:8000/hooks", allowed, insecure=True) == "http://127.0.0.1:8000"
