"""Kafka as a sink: an idempotent producer, whose retries neither double nor reorder what is in one partition.

Events are given to it in batches, one after another for each partition, while the next are filled: of one `send`, and
of the next, which goes when the one before it has ended. A producer that has failed once is not asked again: it counts
its batches, and the broker would miss one.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from headrace.bridges.kafka.client import begin, close_producer, settings, told, why_not
from headrace.bridges.kafka.posts import Batch, Lines, Place, Post
from headrace.bridges.kafka.records import headers_of
from headrace.clients.closing import finished
from headrace.clients.kafka import KafkaError, aiokafka, errors
from headrace.core.broker import Broker
from headrace.core.broker_faults import words_of
from headrace.core.errors import BridgeUnavailable
from headrace.core.event import Outgoing
from headrace.ports.bridge import SinkEnd

_murmur2: Final[Callable[[bytes], int]] = import_module("aiokafka.partitioner").murmur2

SEND_S: Final = 20.0
"""The client would try for ever."""
BATCH_BYTES: Final = 256 << 10
KEYS_KNOWN: Final = 10_000
ENDED: Final = "the connection is closed"
TOO_LARGE: Final[tuple[type[Exception], ...]] = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
UNFIT: Final[tuple[type[Exception], ...]] = (
    *TOO_LARGE,
    errors.InvalidTimestampError,
    errors.InvalidTopicError,
    errors.PolicyViolationError,
    errors.TopicAuthorizationFailedError,
    errors.UnsupportedForMessageFormatError,
)
"""What says that the broker does not take an event, or one of a batch."""


class KafkaSink:
    """Sends events to topics; the target of one is a topic."""

    def __init__(self, broker: Broker) -> None:
        """Not connected."""
        self._broker: Final = broker
        self._given: Final = settings(broker, "headrace-sink")
        self._producer: Any = None
        self._last: Post | None = None
        self._carrying = set[asyncio.Task[None]]()
        self._turn = 0
        self._closed = False

    @property
    def one_per_key(self) -> bool:
        """A partition keeps its order, and a producer sends one batch of it at a time."""
        return False

    async def send(self, events: Sequence[Outgoing], tell: Callable[[SinkEnd], None]) -> None:
        """Put all of them into batches, which go when what was given before has ended; that must have, at the end."""
        before = self._last
        post = self._last = Post(events, None if before is None or before.over.is_set() else before)
        carrying = asyncio.get_running_loop().create_task(self._carry(post, tell))
        self._carrying.add(carrying)
        carrying.add_done_callback(self._carrying.discard)
        carrying.add_done_callback(lambda _: post.end(tell, ENDED))  # if it has none
        try:
            await post.handed()
        except BaseException:
            carrying.cancel()
            raise

    async def reset(self) -> None:
        """Leave the connection."""
        carrying = tuple(self._carrying)
        for each in carrying:
            each.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
        await self._drop()

    async def close(self) -> None:
        """Leave it for good."""
        self._closed = True
        await self.reset()

    # -- sending ----------------------------------------------------------------------------------

    async def _carry(self, post: Post, tell: Callable[[SinkEnd], None]) -> None:
        why = ENDED
        try:
            if not self._closed:
                filled = await self._fill_ahead(post)
                await self._send(post, filled if await post.turn() else ())
        except Exception as error:  # noqa: BLE001 - it is told of each event
            why = str(error) or type(error).__name__
        post.end(tell, why)

    async def _fill_ahead(self, post: Post) -> Sequence[tuple[Place, Batch]]:
        """Its batches, while others are under way; none, if that does not go without a question to the broker."""
        filled, producer = list[tuple[Place, Batch]](), self._producer
        if producer is None or post.is_first:
            return ()
        knows = producer.client.cluster.partitions_for_topic
        if not all(knows(topic) for topic in {out.event.target for out in post.left}):
            return ()
        try:
            async with asyncio.timeout(SEND_S):
                await self._fill(producer, post, lambda place, batch: filled.append((place, batch)))
        except Exception:  # noqa: BLE001 - it is filled again in its turn, and what is wrong then is told
            return ()
        return filled

    async def _send(self, post: Post, filled: Sequence[tuple[Place, Batch]]) -> None:
        """Send what has not ended, until all has.

        Raises:
            BridgeError: the broker does not answer, or answers no event alone.
        """
        try:
            async with asyncio.timeout(SEND_S):
                while post.left:
                    if not await self._round(post, filled):
                        await self._drop()
                    filled = ()
        except BaseException as error:
            await self._drop()
            if isinstance(error, TimeoutError):
                raise BridgeUnavailable(f"{self._broker.shown} does not confirm what it is sent") from None
            if isinstance(error, KafkaError | OSError):
                raise told(self._broker, error) from None
            raise

    async def _round(self, post: Post, filled: Sequence[tuple[Place, Batch]]) -> bool:
        """Whether the broker took every batch."""
        producer = await self._connected()
        lines = Lines(lambda place, batch: self._batch(producer, place, batch, post))
        try:
            for place, batch in filled:
                lines.go(place, batch)
            if not filled:
                await self._fill(producer, post, lines.go)
            return await lines.ended()
        finally:
            await lines.close()

    async def _connected(self) -> Any:
        if self._producer is not None:
            return self._producer
        producer = aiokafka.AIOKafkaProducer(
            **self._given, enable_idempotence=True, acks="all", linger_ms=0, max_batch_size=BATCH_BYTES
        )
        try:
            await begin(producer)
        except BaseException as error:
            await finished(close_producer(producer))
            if isinstance(error, KafkaError | OSError):
                raise await why_not(self._broker, self._given, error) from None
            raise
        self._producer = producer
        return producer

    async def _fill(self, producer: Any, post: Post, go: Callable[[Place, Batch], None]) -> None:
        """Put them into batches; each that is full goes while the next is filled."""
        topics = dict[str, list[int]]()
        filling = dict[tuple[str, int | None], Batch]()  # what has no key goes to whichever partition is next

        def full(topic: str, partition: int | None, batch: Batch) -> None:
            if partition is None:
                self._turn += 1
                partition = topics[topic][self._turn % len(topics[topic])]
            go((topic, partition), batch)

        for out in post.left:
            topic, key = out.event.target, _coded(out.event.key)
            if topic not in topics:
                topics[topic] = await self._partitions(producer, topic)
            headers = self._headers(out, topics[topic], post)
            if headers is None:
                continue
            place = topic, None if key is None else topics[topic][_hash(key) % len(topics[topic])]
            batch = filling.get(place)
            if batch is None or out.place in post.alone or not batch.add(out, key, headers):
                filling[place] = fresh = Batch(producer.create_batch())
                fresh.add(out, key, headers)
                if batch is not None:
                    full(*place, batch)
                    await asyncio.sleep(0)  # noqa: TID251 - gives way and does not wait
        for place, batch in filling.items():
            full(*place, batch)
        post.filled.set()

    def _headers(self, out: Outgoing, partitions: Sequence[int], post: Post) -> list[tuple[str, bytes]] | None:
        """Those of an event that can be sent now."""
        if not partitions:
            post.refuse(out, f"{self._broker.shown} has no topic {out.event.target} that our user may see: make it")
        elif not post.waits(out):
            try:
                return headers_of(out.event)
            except (AttributeError, TypeError, ValueError) as error:
                post.refuse(out, f"its headers are no text: {error}")
        return None

    async def _partitions(self, producer: Any, topic: str) -> list[int]:
        """Those of a topic; none if there is no such topic, for which the client would wait."""
        if not producer.client.cluster.partitions_for_topic(topic):
            every = await producer.client.fetch_all_metadata()
            if topic not in every.topics():
                return []
        return sorted(await producer.partitions_for(topic))

    async def _batch(self, producer: Any, place: tuple[str, int], batch: Batch, post: Post) -> bool:
        """Whether the broker has it."""
        topic, partition = place
        try:
            await (await producer.send_batch(batch.builder, topic, partition=partition))
        except UNFIT as error:
            if len(batch.events) == 1:
                post.refuse(batch.events[0], self._refusal(batch.events[0], error))
            else:
                post.alone.update(out.place for out in batch.events)
            return False
        post.confirmed.update(out.place for out in batch.events)
        return True

    def _refusal(self, out: Outgoing, error: Exception) -> str:
        where = f"the topic {out.event.target} of {self._broker.shown}"
        if isinstance(error, TOO_LARGE):
            return f"{len(out.event.body)} bytes are more than {where} takes: raise its max.message.bytes"
        if isinstance(error, errors.TopicAuthorizationFailedError):
            return f"our user may not write to {where}"
        return f"{where} does not take it ({words_of(error)})"

    async def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await finished(close_producer(producer))


def _coded(key: str | None) -> bytes | None:
    return None if key is None else key.encode("utf-8", "surrogatepass")


@lru_cache(KEYS_KNOWN)
def _hash(key: bytes) -> int:
    """As the clients of other languages hash keys."""
    return _murmur2(key) & 0x7FFFFFFF
