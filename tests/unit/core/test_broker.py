"""What a broker's URL says, and that nothing shows its password."""

import pytest

from headrace.core.broker import broker
from headrace.core.errors import InvalidConfig

WHAT = "HEADRACE_NOTIFIER"


@pytest.mark.parametrize(
    ("url", "kind", "shown", "servers"),
    [
        ("redis://localhost", "redis", "redis://localhost", ["localhost:6379"]),
        ("rediss://:s3cret@cache.example:7000/1", "redis", "rediss://:…@cache.example:7000/1", ["cache.example:7000"]),
        ("nats://a,b:4333", "nats", "nats://a,b:4333", ["a:4222", "b:4333"]),
        ("amqp://ada:s3cret@[::1]/%2F", "rabbitmq", "amqp://ada:…@[::1]/%2F", ["[::1]:5672"]),
        ("amqps://ada:s3cret@mq/shop?heartbeat=5", "rabbitmq", "amqps://ada:…@mq/shop", ["mq:5671"]),
        ("kafka://k1:9092,k2:9093", "kafka", "kafka://k1:9092,k2:9093", ["k1:9092", "k2:9093"]),
        ("kafkas://ada@k1?sasl=PLAIN", "kafka", "kafkas://ada@k1", ["k1:9092"]),
    ],
)
def test_what_a_url_says(url: str, kind: str, shown: str, servers: list[str]) -> None:
    found = broker(url, WHAT)
    assert (found.kind, found.shown, found.servers, found.url) == (kind, shown, servers, url)
    assert "s3cret" not in repr(found)


def test_user_password_and_options_are_decoded() -> None:
    found = broker("kafkas://a%40b:p%2Fw@k1?sasl=PLAIN", WHAT)
    assert (found.user, found.password, found.tls, found.options) == ("a@b", "p/w", True, {"sasl": "PLAIN"})
    assert broker("redis://h", WHAT).password is None


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://ada:s3cret@host",
        "ada:s3cret@host",
        "redis://ada:s3cret@",
        "redis://ada:s3/cret@host",
        "redis://ada:s3c@ret@host",
        "redis://ada:s3cret@host:0",
        "redis://ada:s3cret@host:99999",
        "redis://ada:s3cret@host:port",
        "redis://ada:s3cret@one,two",
        "amqp://ada:s3cret@ho st",
        "nats://ada:s3cret@one,,two",
        "kafka://",
    ],
)
def test_nonsense_is_told_without_the_password(url: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        broker(url, WHAT)
    assert str(caught.value).startswith(f"{WHAT} ")
    assert "s3c" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_the_sentence_names_what_there_is() -> None:
    with pytest.raises(InvalidConfig, match=r"^HEADRACE_NOTIFIER …://… is no broker that there is: use redis://host, "):
        broker("reddis", WHAT)
    with pytest.raises(InvalidConfig, match=r"amqp://ada:…@host:0 has a host or a port .* write amqp://host:5672$"):
        broker("amqp://ada:s3cret@host:0", WHAT)


def test_a_kind_that_is_asked_for() -> None:
    assert broker("here:9092,there", "KAFKA", "kafka").servers == ["here:9092", "there:9092"]
    assert broker("amqps://here", "RABBITMQ", "rabbitmq").tls
    with pytest.raises(InvalidConfig, match=r"^URL redis://… is redis, not nats: write nats://… or tls://…$"):
        broker("redis://:secret@here", "URL", "nats")
