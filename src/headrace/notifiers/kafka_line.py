"""A topic of one partition of Kafka: every process writes at its end and reads from there, in no group.

The client goes on by itself when a broker is gone and says nothing; a probe that does not come back, or a message that
could not be sent, tells.
"""

import asyncio
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from headrace.clients.closing import finished, shortly
from headrace.clients.kafka import (
    REFUSALS,
    KafkaError,
    aiokafka,
    begin,
    close_consumer,
    close_producer,
    errors,
    settings,
    why_not,
)
from headrace.core.broker import Broker
from headrace.core.errors import NotifierError
from headrace.notifiers.faults import refused, unreached
from headrace.notifiers.keeper import OpenLine
from headrace.notifiers.talk import Talk

_admin: Final[Any] = import_module("aiokafka.admin")  # it has no types

CONNECT_S: Final = 10.0
REQUEST_MS: Final = 5_000
METADATA_MS: Final = 60_000
WAIT_MS: Final = 500
CLOSE_S: Final = 0.15
ADMIN_CLOSE_S: Final = 1.0
BEHIND_MAX: Final = 100
TOPIC: Final = {"retention.ms": "60000", "segment.ms": "60000", "cleanup.policy": "delete"}
DEFAULT_REPLICATION: Final = -1
"""As many as the cluster's default says."""


class KafkaLine:
    """A `keeper.Line` over a topic."""

    deaf = ""

    def __init__(self, broker: Broker, topic: str, consumer: Any, producer: Any, talk: Talk) -> None:
        """Both are started, and `consumer` stands at the end of the topic."""
        self._broker: Final = broker
        self._topic: Final = topic
        self._partition: Final = aiokafka.TopicPartition(topic, 0)
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
        common = settings(broker, "headrace-notifier", request_ms=REQUEST_MS, metadata_ms=METADATA_MS)
        consumer = aiokafka.AIOKafkaConsumer(
            **common, group_id=None, enable_auto_commit=False, fetch_max_wait_ms=WAIT_MS, fetch_min_bytes=1
        )
        producer = aiokafka.AIOKafkaProducer(**common, acks=1, linger_ms=0, enable_idempotence=False)
        try:
            async with asyncio.timeout(CONNECT_S):
                await begin(consumer, CONNECT_S)
                if place not in await consumer.topics():
                    await _create(broker, common, place)
                await begin(producer, CONNECT_S)
                partition = aiokafka.TopicPartition(place, 0)
                consumer.assign([partition])
                await consumer.seek_to_end(partition)
                await consumer.position(partition)
        except BaseException as error:
            await finished(_close(consumer, producer))
            if isinstance(error, (KafkaError, OSError)):
                raise _told(broker, await why_not(broker, common, CONNECT_S) or error) from None
            raise
        return KafkaLine(broker, place, consumer, producer, talk)

    return open_line


async def _create(broker: Broker, common: dict[str, Any], topic: str) -> None:
    """Make the topic, if nobody else does at the same time."""
    admin = _admin.AIOKafkaAdminClient(**common)
    try:
        await admin.start()
        new = _admin.NewTopic(topic, 1, 1, topic_configs=TOPIC)
        new.replication_factor = DEFAULT_REPLICATION  # which the client would not take
        answer = await admin.create_topics([new])
    finally:
        await finished(shortly(admin.close, ADMIN_CLOSE_S))
    for _, code, *_ in answer.topic_errors:
        error = errors.for_code(code)
        if code and error is not errors.TopicAlreadyExistsError:
            raise NotifierError(
                f"{broker.shown} does not let us make the topic {topic} ({error.__name__}): make it, with one partition"
            )


def _told(broker: Broker, error: Exception) -> NotifierError:
    if isinstance(error, REFUSALS):
        return refused(broker)
    return unreached(broker, error)


async def _close(consumer: Any, producer: Any) -> None:
    await close_consumer(consumer, CLOSE_S)
    await close_producer(producer, CLOSE_S)
