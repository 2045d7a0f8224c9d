"""Where messages come from and where events go: an address names one place at one broker.

Invariant: an address that exists can work as far as its text goes, and has no secret in it: the broker has its URL.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from headrace.core.checks import whole
from headrace.core.errors import InvalidConfig, UsageError
from headrace.core.event import routed

NAME_CHARS_MAX: Final = 64
PLACE_BYTES_MAX: Final = 255
PREFETCH: Final = 500
PREFETCH_MAX: Final = 65_535
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_ENTRY: Final = re.compile(r"\d{1,20}(?:-\d{1,20})?")
_SUBJECT: Final = re.compile(r"[^\s.]+(?:\.[^\s.]+)*")
_NO_STREAM: Final = re.compile(r"[\s.*>/\\]")


@dataclass(frozen=True, slots=True)
class RabbitmqAddress:
    """A queue of RabbitMQ to take from, or an exchange to send to."""

    kind: ClassVar[str] = "rabbitmq"

    queue: str | None = None
    exchange: str = ""
    routing_key: str | None = None
    declare: bool = False
    prefetch: int = PREFETCH
    broker: str = "rabbitmq"

    @property
    def source_name(self) -> str:
        """What the source that takes from here is called.

        Raises:
            InvalidConfig: nothing can be taken from here.
        """
        if self.queue is None:
            raise InvalidConfig('hr.on(rabbitmq(…)) takes from a queue: name it, as in rabbitmq("orders")')
        return f"{self.broker}:{self.queue}"

    @property
    def target(self) -> str:
        """Where events go: to the exchange, or by the default one to the queue."""
        return routed(self.exchange, self.routing_key if self.routing_key is not None else self.queue or "")


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """A topic of Kafka; `group` is whose members share its partitions."""

    kind: ClassVar[str] = "kafka"

    topic: str
    group: str | None = None
    start: str = "earliest"
    broker: str = "kafka"

    @property
    def source_name(self) -> str:
        """What the source that takes from here is called.

        Raises:
            InvalidConfig: nothing can be taken from here.
        """
        if self.group is None:
            raise InvalidConfig(f'hr.on(kafka("{self.topic}")) needs a group: kafka("{self.topic}", group="payments")')
        return f"{self.broker}:{self.topic}:{self.group}"

    @property
    def target(self) -> str:
        """Where events go."""
        return self.topic


@dataclass(frozen=True, slots=True)
class NatsAddress:
    """A subject of NATS; `durable` is the JetStream consumer by which it is taken from."""

    kind: ClassVar[str] = "nats"

    subject: str
    stream: str | None = None
    durable: str | None = None
    broker: str = "nats"

    @property
    def source_name(self) -> str:
        """What the source that takes from here is called.

        Raises:
            InvalidConfig: nothing can be taken from here.
        """
        if self.durable is None:
            raise InvalidConfig(
                f'hr.on(nats("{self.subject}")) needs a durable consumer: nats("{self.subject}", durable="payments")'
            )
        return f"{self.broker}:{self.subject}:{self.durable}"

    @property
    def target(self) -> str:
        """Where events go.

        Raises:
            UsageError: the subject is a pattern.
        """
        if {"*", ">"} & set(self.subject.split(".")):
            raise UsageError(f"nats({self.subject!r}) is a pattern of subjects: publish to one of them")
        return self.subject


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A stream of Redis; `group` is whose consumers share its entries."""

    kind: ClassVar[str] = "redis"

    key: str
    group: str | None = None
    start: str = "0"
    broker: str = "redis"

    @property
    def source_name(self) -> str:
        """What the source that takes from here is called.

        Raises:
            InvalidConfig: nothing can be taken from here.
        """
        if self.group is None:
            raise InvalidConfig(
                f'hr.on(redis_stream("{self.key}")) needs a group: redis_stream("{self.key}", group="payments")'
            )
        return f"{self.broker}:{self.key}:{self.group}"

    @property
    def target(self) -> str:
        """Where events go."""
        return self.key


Address: TypeAlias = RabbitmqAddress | KafkaAddress | NatsAddress | RedisAddress
ADDRESSES: Final = (RabbitmqAddress, KafkaAddress, NatsAddress, RedisAddress)


def rabbitmq(
    queue: str | None = None,
    *,
    exchange: str = "",
    routing_key: str | None = None,
    declare: bool = False,
    prefetch: int = PREFETCH,
    broker: str = "rabbitmq",
) -> RabbitmqAddress:
    """A queue of RabbitMQ, for `hr.on`; or an exchange (by default the one that leads to `queue`), to publish to.

    With `declare` a durable queue is made where there is none, and bound to the exchange by the routing key if one is
    named. `prefetch` is how many messages RabbitMQ gives out before it is told that they are stored. `broker` is one of
    `hr.broker`; by default the one of `HEADRACE_RABBITMQ_URL`.

    Raises:
        InvalidConfig: a name or a number that cannot be.
    """
    what = f"rabbitmq({queue!r})"
    if queue is None and not exchange:
        raise InvalidConfig('rabbitmq(…) names a queue or an exchange: rabbitmq("orders"), rabbitmq(exchange="events")')
    if queue is not None:
        _check_text(f"{what}: queue", queue)
    if exchange:
        _check_text(f"{what}: exchange", exchange)
    if routing_key is not None:
        _check_text(f"{what}: routing_key", routing_key, empty=True)
    if declare and queue is None:
        raise InvalidConfig("rabbitmq(…, declare=True) declares a queue: name it")
    prefetch = whole(f"{what}: prefetch", prefetch, least=1, most=PREFETCH_MAX)
    return RabbitmqAddress(queue, exchange, routing_key, declare, prefetch, check_broker(broker))


def kafka(topic: str, *, group: str | None = None, start: str = "earliest", broker: str = "kafka") -> KafkaAddress:
    """A topic of Kafka; with `group`, for `hr.on`.

    A partition of which nothing was read yet begins where the group stands in Kafka, else at `start`: "earliest" or
    "latest". `broker` is one of `hr.broker`; by default the one of `HEADRACE_KAFKA_SERVERS`.

    Raises:
        InvalidConfig: a name that cannot be.
    """
    if not _fits(_TOPIC, topic) or topic in {".", ".."}:
        raise InvalidConfig(f"kafka({topic!r}): a topic has 1 to 249 of the characters a-z A-Z 0-9 . _ -")
    if group is not None:
        _check_text(f"kafka({topic!r}): group", group)
    if start not in {"earliest", "latest"}:
        raise InvalidConfig(f'kafka({topic!r}): start is "earliest" or "latest", not {start!r}')
    return KafkaAddress(topic, group, start, check_broker(broker))


def nats(subject: str, *, stream: str | None = None, durable: str | None = None, broker: str = "nats") -> NatsAddress:
    """A subject of NATS; with `durable`, the name of a JetStream consumer, for `hr.on`.

    `stream` is by default the one that keeps the subject. The consumer is made where there is none. `broker` is one of
    `hr.broker`; by default the one of `HEADRACE_NATS_URL`.

    Raises:
        InvalidConfig: a name that cannot be.
    """
    what = f"nats({subject!r})"
    _check_text(f"{what}: subject", subject)
    if _SUBJECT.fullmatch(subject) is None:
        raise InvalidConfig(f"{what}: a subject is words with dots between them and no spaces, as orders.paid")
    for name, value in (("stream", stream), ("durable", durable)):
        if value is not None:
            _check_text(f"{what}: {name}", value)
            if _NO_STREAM.search(value):
                raise InvalidConfig(f"{what}: {name} has no spaces and none of . * > / \\, not {value!r}")
    return NatsAddress(subject, stream, durable, check_broker(broker))


def redis_stream(key: str, *, group: str | None = None, start: str = "0", broker: str = "redis") -> RedisAddress:
    """A stream of Redis; with `group`, for `hr.on`.

    A group that there is not is made, and begins at `start`: "0" (all that the stream has), "$" (what comes from now
    on) or an entry's id. `broker` is one of `hr.broker`; by default the one of `HEADRACE_REDIS_URL`.

    Raises:
        InvalidConfig: a name that cannot be.
    """
    what = f"redis_stream({key!r})"
    _check_text(f"{what}: key", key)
    if group is not None:
        _check_text(f"{what}: group", group)
    if start != "$" and not _fits(_ENTRY, start):
        raise InvalidConfig(f'{what}: start is "0", "$" or an entry\'s id as 1700000000000-0, not {start!r}')
    return RedisAddress(key, group, start, check_broker(broker))


def check_broker(name: str) -> str:
    """The name of a broker.

    Raises:
        InvalidConfig: it cannot be one.
    """
    if not _fits(_NAME, name) or len(name) > NAME_CHARS_MAX:
        shown = repr(name)
        raise InvalidConfig(
            f"broker names one of hr.broker(name, url): a letter, then letters, digits, _ and -, at most"
            f" {NAME_CHARS_MAX}, not {'a URL' if '://' in shown else shown}"
        )
    return name


def _fits(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def _check_text(what: str, value: str, *, empty: bool = False) -> None:
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidConfig(f"{what} is a text, not {value!r}")
    size = len(value.encode("utf-8", "surrogatepass"))
    if not (size or empty) or size > PLACE_BYTES_MAX or not value.isprintable():
        raise InvalidConfig(f"{what} has 1 to {PLACE_BYTES_MAX} bytes of printable text, not {value[:80]!r}")
