"""A topic of one partition of Kafka: every process writes at its end and reads from there, in no group.

The client goes on by itself when a broker is gone and says nothing; a probe that does not come back, or a message that
could not be sent, tells.
"""

import asyncio
import logging
import ssl
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from headrace.core.broker import Broker
from headrace.core.errors import NotifierError
from headrace.notifiers.faults import refused, unreached
from headrace.notifiers.keeper import OpenLine
from headrace.notifiers.talk import Talk, finished, shortly

_kafka: Final[Any] = import_module("aiokafka")  # it has no types
_admin: Final[Any] = import_module("aiokafka.admin")
_conn: Final[Any] = import_module("aiokafka.conn")
_errors: Final[Any] = import_module("aiokafka.errors")
KafkaError: Final[type[Exception]] = _errors.KafkaError
REFUSALS: Final[tuple[type[Exception], ...]] = (
    _errors.AuthenticationFailedError,
    _errors.SaslAuthenticationFailed,
    _errors.AuthenticationMethodNotSupported,
    _errors.TopicAuthorizationFailedError,
    _errors.ClusterAuthorizationFailedError,
)

CONNECT_S: Final = 10.0
REQUEST_MS: Final = 5_000
METADATA_MS: Final = 60_000
WAIT_MS: Final = 500
CLOSE_S: Final = 1.0
BEHIND_MAX: Final = 100
TOPIC: Final = {"retention.ms": "60000", "segment.ms": "60000", "cleanup.policy": "delete"}
CONNECTION: Final = frozenset(
    {"client_id", "request_timeout_ms", "security_protocol", "ssl_context", "sasl_mechanism"}
    | {"sasl_plain_username", "sasl_plain_password"}
)
logging.getLogger("aiokafka.conn").addFilter(lambda record: "SaslAuthenticate" not in record.getMessage())
"""At DEBUG, the client would log the password."""
DEFAULT_REPLICATION: Final = -1
"""As many as the cluster's default says."""


class KafkaLine:
    """A `keeper.Line` over a topic."""

    deaf = ""

    def __init__(self, broker: Broker, topic: str, consumer: Any, producer: Any, talk: Talk) -> None:
        """Both are started, and `consumer` stands at the end of the topic."""
        self._broker: Final = broker
        self._topic: Final = topic
        self._partition: Final = _kafka.TopicPartition(topic, 0)
        self._consumer: Final = consumer
        self._producer: Final = producer
        self._talk: Final = talk
        self._reading: Final = asyncio.get_running_loop().create_task(self._read())

    async def say(self, text: str) -> None:
        """Hand it to the producer, which sends at once; its echo tells whether it went."""
        try:
            sent = await self._producer.send(self._topic, text.encode("ascii", "replace"), partition=0)
        except KafkaError as error:
            raise _told(self._broker, error) from None
        sent.add_done_callback(self._sent)

    async def hears(self) -> float | None:
        """After how many seconds a probe comes back."""
        return await self._talk.answers(self.say)

    async def close(self) -> None:
        """Let go of every connection."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await _close(self._consumer, self._producer)

    def _sent(self, sent: "asyncio.Future[Any]") -> None:
        if not sent.cancelled() and sent.exception() is not None:
            self._talk.end()

    async def _read(self) -> None:
        with suppress(Exception):  # whatever it is, this one is of no more use
            while True:
                found = await self._consumer.getmany(self._partition, timeout_ms=60_000)
                for message in found.get(self._partition, ()):
                    self._talk.take(message.value.decode("ascii", "replace"))
                await self._keep_up()
        self._talk.end()

    async def _keep_up(self) -> None:
        """Who was stopped for long need not read all that was said meanwhile."""
        end = self._consumer.highwater(self._partition)
        if end is not None and end - await self._consumer.position(self._partition) > BEHIND_MAX:
            await self._consumer.seek_to_end(self._partition)
            self._talk.miss()


def opens(broker: Broker, place: str) -> OpenLine:
    """How to connect."""

    async def open_line(talk: Talk) -> KafkaLine:
        common = _settings(broker)
        consumer = _kafka.AIOKafkaConsumer(
            **common, group_id=None, enable_auto_commit=False, fetch_max_wait_ms=WAIT_MS, fetch_min_bytes=1
        )
        producer = _kafka.AIOKafkaProducer(**common, acks=1, linger_ms=0, enable_idempotence=False)
        try:
            async with asyncio.timeout(CONNECT_S):
                await consumer.start()
                if place not in await consumer.topics():
                    await _create(broker, common, place)
                await producer.start()
                partition = _kafka.TopicPartition(place, 0)
                consumer.assign([partition])
                await consumer.seek_to_end(partition)
                await consumer.position(partition)
        except BaseException as error:
            await finished(_close(consumer, producer))
            if isinstance(error, (KafkaError, OSError)):
                raise _told(broker, await _reason(broker, common) or error) from None
            raise
        return KafkaLine(broker, place, consumer, producer, talk)

    return open_line


def _settings(broker: Broker) -> dict[str, Any]:
    """What all clients of a broker are given."""
    found: dict[str, Any] = {
        "bootstrap_servers": broker.servers,
        "client_id": "headrace-notifier",
        "request_timeout_ms": REQUEST_MS,
        "metadata_max_age_ms": METADATA_MS,
        "security_protocol": ("SASL_" if broker.user else "") + ("SSL" if broker.tls else "PLAINTEXT"),
    }
    if broker.tls:
        found["ssl_context"] = ssl.create_default_context()
    if broker.user:
        found |= {
            "sasl_mechanism": broker.options.get("sasl", "PLAIN"),
            "sasl_plain_username": broker.user,
            "sasl_plain_password": broker.password or "",
        }
    return found


async def _create(broker: Broker, common: dict[str, Any], topic: str) -> None:
    """Make the topic, if nobody else does at the same time."""
    admin = _admin.AIOKafkaAdminClient(**common)
    try:
        await admin.start()
        new = _admin.NewTopic(topic, 1, 1, topic_configs=TOPIC)
        new.replication_factor = DEFAULT_REPLICATION  # which the client would not take
        answer = await admin.create_topics([new])
    finally:
        await finished(shortly(admin.close, CLOSE_S))
    for _, code, *_ in answer.topic_errors:
        error = _errors.for_code(code)
        if code and error is not _errors.TopicAlreadyExistsError:
            raise NotifierError(
                f"{broker.shown} does not let us make the topic {topic} ({error.__name__}): make it, with one partition"
            )


async def _reason(broker: Broker, common: dict[str, Any]) -> Exception | None:
    """Why not one of the servers lets us in, which the client keeps for its log."""
    found: Exception | None = None
    options = {name: value for name, value in common.items() if name in CONNECTION}
    for host, port in broker.hosts:
        try:
            async with asyncio.timeout(CONNECT_S):
                (await _conn.create_conn(host, port, **options)).close()
        except (KafkaError, OSError) as error:
            found = error
    return found


def _told(broker: Broker, error: Exception) -> NotifierError:
    if isinstance(error, REFUSALS):
        return refused(broker)
    return unreached(broker, error)


async def _close(consumer: Any, producer: Any) -> None:
    await shortly(consumer.stop, CLOSE_S / 4)
    await shortly(producer.stop, CLOSE_S / 4)
    # What a broker that is away does not take keeps a producer busy for ever; what was in it is said by the next line.
    with suppress(Exception):
        waiting = producer._message_accumulator  # noqa: SLF001 - there is no other way
        for batch in (*waiting._pending_batches, *(one for some in waiting._batches.values() for one in some)):  # noqa: SLF001
            batch.future.add_done_callback(_seen)
        waiting.fail_all(KafkaError())
    if producer._sender is not None:  # noqa: SLF001
        await shortly(producer._sender.close, CLOSE_S / 4)  # noqa: SLF001
    await shortly(producer.client.close, CLOSE_S / 4)
    await shortly(consumer._client.close, CLOSE_S / 4)  # noqa: SLF001


def _seen(failed: "asyncio.Future[Any]") -> None:
    _ = failed.cancelled() or failed.exception()
