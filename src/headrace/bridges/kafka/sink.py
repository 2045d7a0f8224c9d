"""Kafka as a sink: an idempotent producer, whose retries neither double nor reorder what is in one partition.

Events are given to it in batches, one after another for each partition, while the next are filled. A producer that has
failed once is not asked again: it counts its batches, and the broker would miss one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from headrace.bridges.closing import finished
from headrace.bridges.kafka.client import (
    KafkaError,
    aiokafka,
    begin,
    close_producer,
    errors,
    settings,
    told,
    why_not,
)
from headrace.bridges.kafka.records import headers_of
from headrace.core.broker import Broker
from headrace.core.broker_faults import words_of
from headrace.core.errors import BridgeUnavailable
from headrace.core.event import Outgoing
from headrace.core.relay_events import Confirmed, Deferred, Refused, Unsent
from headrace.ports.bridge import SinkEnd

_murmur2: Final[Callable[[bytes], int]] = import_module("aiokafka.partitioner").murmur2

SEND_S: Final = 20.0
"""The client would try for ever."""
BATCH_BYTES: Final = 256 << 10
KEYS_KNOWN: Final = 10_000
ENDED: Final = "the connection is closed"
BEHIND: Final = "an event of the same key before it was not taken"
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
        self._sending: asyncio.Task[None] | None = None
        self._turn = 0
        self._closed = False

    @property
    def one_per_key(self) -> bool:
        """A partition keeps its order, and a producer sends one batch of it at a time."""
        return False

    async def send(self, events: Sequence[Outgoing], tell: Callable[[SinkEnd], None]) -> None:
        """Send all of them, and wait for the answers."""
        post = _Post(events)
        if self._closed:
            post.tell(tell, ENDED)
            return
        sending = self._sending = asyncio.get_running_loop().create_task(self._send(post))
        why = ENDED
        try:
            await asyncio.wait([sending])
            if not sending.cancelled() and (error := sending.exception()) is not None:
                why = str(error)
        finally:
            sending.cancel()
            post.tell(tell, why)

    async def reset(self) -> None:
        """Leave the connection."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        await self._drop()

    async def close(self) -> None:
        """Leave it for good."""
        self._closed = True
        await self.reset()

    # -- sending ----------------------------------------------------------------------------------

    async def _send(self, post: "_Post") -> None:
        """Send what has not ended, until all has.

        Raises:
            BridgeError: the broker does not answer, or answers no event alone.
        """
        try:
            async with asyncio.timeout(SEND_S):
                while left := post.left:
                    await self._round(left, post)
                    if post.left:
                        await self._drop()
        except BaseException as error:
            producer, self._producer = self._producer, None
            if producer is not None:
                await finished(close_producer(producer))
            if isinstance(error, TimeoutError):
                raise BridgeUnavailable(f"{self._broker.shown} does not confirm what it is sent") from None
            if isinstance(error, KafkaError | OSError):
                raise told(self._broker, error) from None
            raise

    async def _round(self, events: Sequence[Outgoing], post: "_Post") -> None:
        producer = await self._connected()
        lines = _Lines(lambda place, batch: self._batch(producer, place, batch, post))
        try:
            await self._fill(producer, events, post, lines)
            ends = await asyncio.gather(*lines.going, return_exceptions=True)
        finally:
            for going in lines.going:
                going.cancel()
            await asyncio.gather(*lines.going, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

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

    async def _fill(self, producer: Any, events: Sequence[Outgoing], post: "_Post", lines: "_Lines") -> None:
        """Put them into batches; each that is full goes while the next is filled."""
        topics = dict[str, list[int]]()
        filling = dict[tuple[str, int | None], _Batch]()  # what has no key goes to whichever partition is next

        def go(topic: str, partition: int | None, batch: _Batch) -> None:
            if partition is None:
                self._turn += 1
                partition = topics[topic][self._turn % len(topics[topic])]
            lines.go((topic, partition), batch)

        for out in events:
            topic, key = out.event.target, _coded(out.event.key)
            if topic not in topics:
                topics[topic] = await self._partitions(producer, topic)
            headers = self._headers(out, topics[topic], post)
            if headers is None:
                continue
            place = topic, None if key is None else topics[topic][_hash(key) % len(topics[topic])]
            batch = filling.get(place)
            if batch is None or out.place in post.alone or not batch.add(out, key, headers):
                filling[place] = fresh = _Batch(producer.create_batch())
                fresh.add(out, key, headers)
                if batch is not None:
                    go(*place, batch)
                    await asyncio.sleep(0)  # noqa: TID251 - gives way and does not wait
        for place, batch in filling.items():
            go(*place, batch)

    def _headers(self, out: Outgoing, partitions: Sequence[int], post: "_Post") -> list[tuple[str, bytes]] | None:
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

    async def _batch(self, producer: Any, place: tuple[str, int], batch: "_Batch", post: "_Post") -> bool:
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


class _Batch:
    """Events that are in one partition together, or none of them."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.events = list[Outgoing]()

    def add(self, out: Outgoing, key: bytes | None, headers: list[tuple[str, bytes]]) -> bool:
        """Whether there was room; there is for the first."""
        added = self.builder.append(timestamp=None, key=key, value=out.event.body, headers=headers)
        if added is not None:
            self.events.append(out)
        return added is not None


class _Lines:
    """Batches on their way: of one partition one at a time, and none after one that the broker did not take."""

    def __init__(self, send: Callable[[tuple[str, int], _Batch], Awaitable[bool]]) -> None:
        self.going = list[asyncio.Task[bool]]()
        self._send = send
        self._last = dict[tuple[str, int], asyncio.Task[bool]]()

    def go(self, place: tuple[str, int], batch: _Batch) -> None:
        """Send it, when those before it have been taken."""
        before = self._last.get(place)
        self._last[place] = going = asyncio.get_running_loop().create_task(self._after(before, place, batch))
        self.going.append(going)

    async def _after(self, before: asyncio.Task[bool] | None, place: tuple[str, int], batch: _Batch) -> bool:
        return (before is None or await before) and await self._send(place, batch)


class _Post:
    """What becomes of the events of one `send`."""

    def __init__(self, events: Sequence[Outgoing]) -> None:
        self._events = events
        self.confirmed = set[int]()
        self.alone = set[int]()  # the broker refused a batch with them, so each goes by itself
        self._refused = dict[int, str]()
        self._keys = set[str]()  # of refused events: what comes after one of them waits for it
        self._waiting = set[int]()

    @property
    def left(self) -> list[Outgoing]:
        """What has not ended."""
        ended = self.confirmed | self._refused.keys() | self._waiting
        return [out for out in self._events if out.place not in ended]

    def refuse(self, out: Outgoing, why: str) -> None:
        """The broker does not take it."""
        self._refused[out.place] = why
        if out.event.key is not None:
            self._keys.add(out.event.key)

    def waits(self, out: Outgoing) -> bool:
        """Whether it is not to be sent: one of its key was refused."""
        if out.event.key not in self._keys:
            return False
        self._waiting.add(out.place)
        return True

    def tell(self, tell: Callable[[SinkEnd], None], why: str) -> None:
        """The end of each: of a key, none is confirmed after one that is not."""
        confirmed, unsent, keys = list[int](), list[int](), set[str | None]()
        for out in self._events:
            if out.place in self._refused:
                tell(Refused(out.place, self._refused[out.place]))
            elif out.place in self._waiting:
                continue
            elif out.place in self.confirmed and (out.event.key is None or out.event.key not in keys):
                confirmed.append(out.place)
            else:
                unsent.append(out.place)
                keys.add(out.event.key)
        if confirmed:
            tell(Confirmed(tuple(confirmed)))
        if self._waiting:
            tell(Deferred(tuple(sorted(self._waiting)), BEHIND))
        if unsent:
            tell(Unsent(tuple(unsent), why))


def _coded(key: str | None) -> bytes | None:
    return None if key is None else key.encode("utf-8", "surrogatepass")


@lru_cache(KEYS_KNOWN)
def _hash(key: bytes) -> int:
    """As the clients of other languages hash keys."""
    return _murmur2(key) & 0x7FFFFFFF
