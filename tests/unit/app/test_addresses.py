"""Addresses: what a place at a broker may be called, and what the source that takes from it is."""

import pytest

from headrace.app.addresses import kafka, nats, rabbitmq, redis_stream
from headrace.core.errors import InvalidConfig


def test_a_source_is_called_by_broker_and_place() -> None:
    """Rows and figures carry this name, and never a URL."""
    assert rabbitmq("orders").source_name == "rabbitmq:orders"
    assert rabbitmq("orders", broker="legacy").source_name == "legacy:orders"
    assert kafka("orders", group="payments").source_name == "kafka:orders:payments"
    assert nats("orders.>", durable="payments").source_name == "nats:orders.>:payments"
    assert redis_stream("orders", group="payments").source_name == "redis:orders:payments"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (rabbitmq(exchange="events"), "takes from a queue"),
        (kafka("orders"), "needs a group"),
        (nats("orders"), "needs a durable consumer"),
        (redis_stream("orders"), "needs a group"),
    ],
)
def test_what_is_only_to_be_sent_to_says_what_it_lacks(address: object, said: str) -> None:
    """An address may be one of a sink alone; as a source it says what to write."""
    with pytest.raises(InvalidConfig, match=said):
        _ = address.source_name  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (rabbitmq, "names a queue or an exchange"),
        (lambda: rabbitmq(""), "queue has 1 to 255 bytes"),
        (lambda: rabbitmq("ä" * 128), "queue has 1 to 255 bytes"),
        (lambda: rabbitmq("orders\n"), "printable"),
        (lambda: rabbitmq(exchange="events", declare=True), "declares a queue"),
        (lambda: rabbitmq("orders", prefetch=0), "prefetch must be a whole number between 1 and 65535"),
        (lambda: rabbitmq("orders", broker="amqp://user:secret@host"), "not a URL"),
        (lambda: kafka("no topic", group="g"), "a topic has 1 to 249"),
        (lambda: kafka("..", group="g"), "a topic has 1 to 249"),
        (lambda: kafka("orders", group=""), "group has 1 to 255"),
        (lambda: kafka("orders", group="g", start="middle"), 'start is "earliest" or "latest"'),
        (lambda: nats("orders..paid", durable="d"), "words with dots"),
        (lambda: nats("orders paid", durable="d"), "words with dots"),
        (lambda: nats("orders", durable="a.b"), "durable has no spaces"),
        (lambda: nats("orders", durable="d", stream="a>b"), "stream has no spaces"),
        (lambda: redis_stream("", group="g"), "key has 1 to 255"),
        (lambda: redis_stream("orders", group="g", start="yesterday"), "an entry's id"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(make: object, said: str) -> None:
    """The error says what is wrong and what it may be; a URL in the wrong place is not repeated."""
    with pytest.raises(InvalidConfig, match=said) as refused:
        make()  # type: ignore[operator]  # pyright: ignore[reportCallIssue]
    assert "secret" not in str(refused.value)
