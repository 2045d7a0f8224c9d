"""One connection that consumes a queue.

Invariants: the tags of a channel's deliveries are 1, 2, 3, …; what is acknowledged up to a tag was all done. What is
given back waits here and is fetched again, since to return it would count as one more delivery, of which a quorum queue
allows only so many before it throws a message away.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused

from headrace.bridges import faults
from headrace.bridges.rabbitmq.connection import UNREADABLE, answers, close, reply_of, told
from headrace.bridges.rabbitmq.messages import message_of
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError, BridgeUnavailable
from headrace.core.message import Batch, Message

FETCH_BYTES: Final = 16 << 20
ROOM_BYTES: Final = 64 << 20
"""Beyond it no more is taken from the broker until half of it is fetched."""
FLOOD_BYTES: Final = 256 << 20
"""Beyond it the connection is left: what was under way was more than anybody could know."""
GATHER_S: Final = 0.004
"""Between two fetches that bring something: where much comes, each is a transaction less."""
STAND_BY_S: Final = 1.0


@dataclass(slots=True)
class Taking:
    """What a source takes, and what it has learned: how many messages are few enough, and that some are unreadable."""

    source: str
    queue: str
    prefetch: int
    ordered: bool
    fits: int | None = None
    careful: bool = False

    @property
    def count(self) -> int:
        """How many messages the broker may give out now."""
        return self.prefetch if self.fits is None else min(self.prefetch, self.fits)


class RabbitmqLink:
    """A `ports.bridge.SourceLink` over one channel."""

    def __init__(
        self, broker: Broker, connection: AbstractConnection, taking: Taking, *, exclusive: bool = False
    ) -> None:
        """Nothing is consumed yet; `exclusive` is who shall be the only consumer, and stands by while another is."""
        self._broker: Final = broker
        self._connection: Final = connection
        self._taking: Final = taking
        self._exclusive: Final = exclusive
        self._now: Final = asyncio.get_running_loop().time
        self._channel: AbstractChannel | None = None
        self._consumer = ""  # its tag, while the broker gives
        self._waiting: deque[tuple[int, Message]] = deque()
        self._bytes = 0  # of what waits
        self._seen = 0  # deliveries since it was last said how many the broker may give
        self._largest = 0  # of them
        self._last = 0  # the tag of the last delivery
        self._low = 1  # the first tag that is not acknowledged
        self._apart: Final[set[int]] = set()  # acknowledged tags beyond it
        self._held = False
        self._next_at = 0.0
        self._try_at = 0.0
        self._stirred: Final = asyncio.Event()
        self._gone: BridgeError | None = None
        _when_closed(connection, self._ended)

    async def begin(self) -> None:
        """Consume, or stand by.

        Raises:
            BridgeError: it cannot be.
        """
        await self._consume()

    async def fetch(self, most: int, wait_s: float) -> Batch:
        """What the broker has given: at once, or a moment after the last."""
        until = self._now() + wait_s
        while True:
            self._stirred.clear()
            self._check()
            if not self._consumer or self._taking.fits is not None:
                await self._see_to_it()
            now = self._now()
            if self._waiting and not self._held:
                if now >= self._next_at or len(self._waiting) >= most:
                    self._next_at = now + GATHER_S
                    return self._take(most)
                await asyncio.sleep(self._next_at - now)  # noqa: TID251 - some milliseconds, by the broker's pace
                continue
            left = until - now
            if left <= 0:
                return Batch()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, STAND_BY_S)):
                    await self._stirred.wait()

    async def done(self, batch: Batch) -> None:
        """Acknowledge, with one word for all of them where nothing else is before the last."""
        tags = [tag for tag in batch.receipts if isinstance(tag, int)]
        channel = self._channel
        if not tags or channel is None or self._gone is not None:
            return
        with suppress(BridgeError):
            async with answers(self._broker):
                if tags[0] == self._low and tags[-1] - self._low + 1 == len(tags):
                    self._low = tags[-1] + 1
                    await channel.basic_ack(tags[-1], multiple=True)
                else:
                    self._apart.update(tags)
                    for tag in tags:
                        await channel.basic_ack(tag, wait=False)
        while self._low in self._apart:
            self._apart.discard(self._low)
            self._low += 1

    async def back(self, batch: Batch) -> None:
        """Fetch them again, before all that came after them."""
        again = [(tag, each) for tag, each in zip(batch.receipts, batch.messages, strict=True) if isinstance(tag, int)]
        self._waiting = deque(sorted([*again, *self._waiting], key=lambda pair: pair[0]))
        self._bytes += batch.body_bytes
        self._stirred.set()

    async def hold(self, held: bool) -> None:
        """Fetch nothing: the broker gives no more than the prefetch."""
        self._held = held
        self._stirred.set()

    async def seek(self, marks: Mapping[str, int]) -> None:
        """A queue has no places."""

    async def close(self) -> None:
        """What is not acknowledged is ready again."""
        self._lose(BridgeUnavailable("the connection is closed"))
        self._waiting.clear()
        await close(self._connection)

    # -- taking -----------------------------------------------------------------------------------

    def _take(self, most: int) -> Batch:
        waiting = self._waiting
        room, tags, messages = FETCH_BYTES, list[int](), list[Message]()
        while waiting and len(messages) < most:
            tag, message = waiting[0]
            room -= len(message.body)
            if room < 0 and messages:
                break
            waiting.popleft()
            self._bytes -= len(message.body)
            tags.append(tag)
            messages.append(message)
        return Batch(tuple(messages), tuple(tags))

    def _check(self) -> None:
        consumers: Mapping[str, object] = getattr(self._channel, "consumers", {})
        if self._consumer and self._consumer not in consumers:
            self._lose(BridgeUnavailable(f"the queue {self._taking.queue} of {self._broker.shown} is deleted or moved"))
        if self._gone is not None:
            raise self._gone

    async def _heard(self, delivered: DeliveredMessage) -> None:
        """One delivery, each in a task of its own that aiormq starts, in order."""
        if self._gone is not None:
            return
        tag = self._last + 1
        if delivered.delivery_tag != tag:
            self._lose(BridgeUnavailable(f"a delivery of {self._broker.shown} is missing"))
            return
        self._waiting.append((tag, message_of(self._taking.source, delivered)))
        self._last = tag
        size = len(delivered.body)
        self._bytes += size
        self._seen += 1
        self._largest = max(self._largest, size)
        self._stirred.set()
        if self._bytes > ROOM_BYTES:
            await self._pause()

    # -- how much the broker gives ------------------------------------------------------------------

    async def _see_to_it(self) -> None:
        """Have the broker give, or more at a time when messages are small again."""
        taking = self._taking
        if self._consumer and taking.fits is not None and not taking.ordered and self._seen >= 2 * taking.count:
            fits = ROOM_BYTES // (self._largest or 1)
            if fits >= 2 * taking.count:
                taking.fits = fits if fits < taking.prefetch else None
                await self._stop()
        roomy = self._bytes <= ROOM_BYTES // 2 and not self._held
        if not self._consumer and roomy and self._now() >= self._try_at:
            await self._consume()
            self._check()

    async def _consume(self) -> None:
        """Have the broker give; where another process has an ordered queue, look again soon.

        Raises:
            BridgeError: it does not.
        """
        taking = self._taking
        async with answers(self._broker):
            channel = self._channel or await self._open_channel()
            await channel.basic_qos(prefetch_count=taking.count)
            try:
                given = await channel.basic_consume(taking.queue, self._heard, exclusive=self._exclusive)
            except ChannelAccessRefused as error:
                if not self._exclusive or "exclusive" not in reply_of(error):
                    raise
                self._try_at = self._now() + STAND_BY_S
                return
        self._channel, self._consumer = channel, given.consumer_tag or ""
        self._seen = self._largest = 0

    async def _open_channel(self) -> AbstractChannel:
        channel = await self._connection.channel(publisher_confirms=False)
        _when_closed(channel, lambda closing: self._ended(closing) if channel is self._channel else None)
        return channel

    def _ended(self, closing: "asyncio.Future[Any]") -> None:
        """The channel or the connection is closed."""
        error = None if closing.cancelled() else closing.exception()
        if isinstance(error, UNREADABLE):
            self._taking.careful = True
            why = f"a message of {self._taking.queue} has properties that cannot be read: it is taken without them"
            self._gone = BridgeUnavailable(why)
        self._lose(faults.lost(self._broker) if error is None else told(self._broker, error))

    async def _pause(self) -> None:
        """More is here than should be: the broker shall give fewer."""
        self._taking.fits = max(1, ROOM_BYTES * len(self._waiting) // self._bytes)
        if self._bytes > FLOOD_BYTES:
            self._lose(BridgeUnavailable(f"the messages of {self._taking.queue} are large: fewer are taken at a time"))
        elif self._consumer and not self._taking.ordered:
            await self._stop()

    async def _stop(self) -> None:
        """Have the broker give no more; what it has given is here when it says so."""
        consumer, self._consumer = self._consumer, ""
        if self._channel is not None:
            with suppress(BridgeError):
                async with answers(self._broker):
                    await self._channel.basic_cancel(consumer)

    def _lose(self, error: BridgeError) -> None:
        self._gone = self._gone or error
        self._stirred.set()


def _when_closed(it: Any, tell: Callable[["asyncio.Future[Any]"], None]) -> None:
    it.closing.add_done_callback(tell)
