"""One member of a group that reads a topic from its bookmarks on.

Invariant: of a partition nothing is given out before its bookmark was read, and nothing from elsewhere after the place
where it goes on has changed: what was read before is dropped, and read again.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from operator import attrgetter
from typing import Any, Final

from headrace.bridges import faults
from headrace.bridges.kafka.client import close_consumer, told
from headrace.bridges.kafka.parts import Part, Says, Taking
from headrace.bridges.kafka.records import at_of, messages_of
from headrace.clients.closing import shortly
from headrace.clients.kafka import KafkaError, aiokafka, errors
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError, BridgeRefused, BridgeUnavailable
from headrace.core.message import Batch, Message, ms_of
from headrace.ports.bridge import Stand

STAND_S: Final = 4.0
"""For so long bookmarks are waited for: the group takes a member for gone that does not answer for long."""
ANSWER_S: Final = 5.0
LOOK_S: Final = 5.0
OUTAGE_S: Final = 20.0
"""A shorter outage is sat out: the client comes through it, and a new member would wait for the old one's end."""
CAREFUL_S: Final = 0.1
FETCH_BYTES: Final = 16 << 20
LATEST: Final = "latest"
_SIZE: Final = attrgetter("serialized_value_size")


class KafkaLink:
    """A `ports.bridge.SourceLink` over a consumer that is started."""

    def __init__(self, broker: Broker, consumer: Any, taking: Taking, stand: Stand) -> None:
        """Joins the group."""
        loop = asyncio.get_running_loop()
        self._broker: Final = broker
        self._consumer: Final = consumer
        self._taking: Final = taking
        self._stand: Final = stand
        self._says: Final = Says(broker, taking)
        self._now: Final = loop.time
        self._parts: dict[Any, Part] = {}
        self._moved: Final[set[Any]] = set()  # partitions that go on elsewhere than when they were asked for
        self._read: Final[dict[str, int]] = {}  # what the group is told, for those who look at Kafka
        self._held = False
        self._heard = False
        self._careful = False
        self._turns = 0
        self._gone: BridgeError | None = None
        self._closed = False
        self._ended: Final[asyncio.Future[None]] = loop.create_future()
        consumer.subscribe([taking.topic], listener=_Listener(self))
        self._watching: Final = loop.create_task(self._watch())

    async def fetch(self, most: int, wait_s: float) -> Batch:
        """Records of whatever partitions are ours."""
        until = self._now() + wait_s
        while True:
            self._check()
            found = await self._poll(most, max(0.0, until - self._now()))
            self._check()
            batch = self._batch(found)
            if batch or self._now() >= until:
                return batch

    async def done(self, batch: Batch) -> None:
        """The bookmarks say it; the group hears of it later."""
        self._read.update({name: mark.next for name, mark in batch.marks.items()})

    async def back(self, batch: Batch) -> None:
        """Read these again."""
        first = {message.part: int(message.place) for message in reversed(batch.messages)}
        for part in self._parts.values():
            place = first.get(part.name, part.next)
            if place < part.next:
                part.next, part.known = place, batch.known.get(part.name)
                self._return(part)

    async def hold(self, held: bool) -> None:
        """Pause all partitions, or go on."""
        self._held = held
        with suppress(KafkaError):
            (self._consumer.pause if held else self._consumer.resume)(*self._consumer.assignment())

    async def seek(self, marks: Mapping[str, int]) -> None:
        """Go on from there."""
        self._check()
        for part in self._parts.values():
            if part.name in marks:
                part.next = part.known = marks[part.name]
                part.last = None
                self._return(part)

    async def close(self) -> None:
        """Leave the group."""
        if self._closed:
            return
        self._closed = True
        lost = self._gone is not None
        self._lose(BridgeUnavailable("the connection is closed"))
        self._watching.cancel()
        await asyncio.wait([self._watching])
        if not lost:
            await shortly(self._tell_group, ANSWER_S / 20)
        await close_consumer(self._consumer)

    # -- reading ----------------------------------------------------------------------------------

    async def _poll(self, most: int, wait_s: float) -> Mapping[Any, list[Any]]:
        """What the client has; it waits without an end while the group shares out."""
        self._moved.clear()
        only = self._in_turn() if self._careful else None
        if only is None:
            getting = self._consumer.getmany(timeout_ms=wait_s * 1000, max_records=most)
        else:
            wait_s = min(wait_s, CAREFUL_S)
            getting = self._consumer.getmany(only.partition, timeout_ms=wait_s * 1000, max_records=1)
        poll = asyncio.get_running_loop().create_task(getting)
        try:
            await asyncio.wait([poll, self._ended], timeout=wait_s + 0.05, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not poll.done():
                poll.cancel()
        if not poll.done():
            return {}
        try:
            found: Mapping[Any, list[Any]] = poll.result()
        except errors.NoOffsetForPartitionError:
            return {}  # the client asked before the bookmarks were read
        except errors.OffsetOutOfRangeError as error:
            await self._out_of_range(error.args[0])
            return {}
        except UnicodeDecodeError:
            self._be_careful(only)
        except Exception as error:  # noqa: BLE001 - what was read with it is lost to this connection, whatever it is
            self._lose(self._says.undecoded(error) or told(self._broker, error, self._taking.group))
        else:
            return found
        return {}

    def _batch(self, found: Mapping[Any, list[Any]]) -> Batch:
        messages = list[Message]()
        known = dict[str, int | None]()
        room = FETCH_BYTES
        for partition, every in found.items():
            part = self._parts.get(partition)
            if part is None:
                continue  # its bookmark is not read yet
            if self._held or partition in self._moved:
                self._return(part)
                continue
            records = self._beyond(part, every)
            sizes = list(accumulate(map(_SIZE, records)))
            count = len(sizes)
            while count and sizes[count - 1] > room and (count > 1 or messages):
                count -= 1
            if count:
                room -= sizes[count - 1]
                known[part.name] = part.known
                messages += messages_of(self._taking.source, part.name, records[:count])
                part.next = part.known = records[count - 1].offset + 1
            if count < len(records):
                self._return(part)
        self._heard = self._heard or bool(messages)
        return Batch(tuple(messages), (), known)

    def _beyond(self, part: Part, records: list[Any]) -> list[Any]:
        """Those that the bookmark has not."""
        first = records[0]
        if part.last is not None:
            if first.offset == part.next - 1 and ms_of(at_of(first)) != part.last:
                self._lose(self._says.made_anew(part))
                raise self._lost()
            part.last = None
        if first.offset >= part.next:
            return records
        return [record for record in records if record.offset >= part.next]

    def _return(self, part: Part) -> None:
        """Read on from its place, whatever the client has read."""
        self._moved.add(part.partition)
        with suppress(KafkaError):  # it is another member's
            self._consumer.seek(part.partition, part.place)

    def _in_turn(self) -> Part | None:
        self._turns += 1
        return list(self._parts.values())[self._turns % len(self._parts)] if self._parts else None

    def _be_careful(self, at: Part | None) -> None:
        """The client cannot read a header's name: it has passed over what comes before, and reads that one by one."""
        self._careful = True
        if at is not None:
            self._lose(self._says.unreadable(at))
        for part in self._parts.values():
            self._return(part)

    async def _out_of_range(self, places: Mapping[Any, int]) -> None:
        """A partition has nothing there: its beginning or its end is elsewhere."""
        for partition in places:
            part = self._parts.get(partition)
            if part is None:
                continue
            try:
                begin = (await self._ask(self._consumer.beginning_offsets([partition])))[partition]
            except BridgeError as error:
                self._lose(error)
                return
            if not part.known:  # nothing was read yet, or all shall be read again
                part.next = begin
            elif part.next < begin:
                self._lose(self._says.deleted(part, begin))
            elif part.place < begin:
                part.last = None  # all that is gone was read
            else:
                self._lose(self._says.made_anew(part))
            self._return(part)

    # -- the group --------------------------------------------------------------------------------

    async def given(self, partitions: Iterable[Any]) -> None:
        """These are ours now, and no others."""
        self._parts = {}
        try:
            async with asyncio.timeout(STAND_S):
                await self._begin(sorted(partitions))
        except TimeoutError:
            self._lose(BridgeUnavailable(f"{self._says.what} could not be begun: no answer for {STAND_S:.0f} s"))
        except KafkaError as error:
            self._lose(told(self._broker, error, self._taking.group))
        except Exception as error:  # noqa: BLE001 - the client would log it and go on
            self._lose(BridgeUnavailable(f"the bookmarks of {self._says.what} are not known: {error}"))

    def taken_away(self) -> None:
        """The group shares out anew."""
        self._parts = {}

    async def _begin(self, partitions: Sequence[Any]) -> None:
        marks = await self._stand([str(partition.partition) for partition in partitions])
        starts = await self._starts([partition for partition in partitions if str(partition.partition) not in marks])
        parts = dict[Any, Part]()
        for partition in partitions:
            name = str(partition.partition)
            mark = marks.get(name)
            if mark is None:
                parts[partition] = Part(partition, name, starts[partition], None)
            else:
                parts[partition] = Part(partition, name, mark.next, mark.next, mark.at_ms if mark.next > 0 else None)
        if self._gone is not None or parts.keys() != set(self._consumer.assignment()):
            return  # shared out anew meanwhile
        self._parts = parts
        for part in parts.values():
            self._return(part)
        if self._held:
            self._consumer.pause(*parts)

    async def _starts(self, partitions: list[Any]) -> dict[Any, int]:
        """Where those begin of which nothing was read: where the group stands in Kafka, or as it was asked."""
        consumer = self._consumer
        stands = await asyncio.gather(*map(consumer.committed, partitions))
        starts = {part: int(place) for part, place in zip(partitions, stands, strict=True) if place is not None}
        new = [partition for partition in partitions if partition not in starts]
        if new and self._taking.start == LATEST:
            ends = await consumer.end_offsets(new)
            await consumer.commit(ends)  # whoever is given them before the first bookmark begins there too
            starts |= ends
        elif new:
            starts |= await consumer.beginning_offsets(new)
        return starts

    async def _watch(self) -> None:
        """Tell the group how far we are, and feel whether the broker is there while nothing comes."""
        heard_at = self._now()
        while self._gone is None:
            self._heard = False
            await asyncio.wait([self._ended], timeout=LOOK_S)
            try:
                await self._ask(self._look())
                heard_at = self._now()
            except BridgeRefused as error:
                self._lose(error)
            except BridgeUnavailable as error:
                if self._now() - heard_at > OUTAGE_S:
                    self._lose(error)

    async def _look(self) -> None:
        if self._read:
            await self._tell_group()
        elif self._heard:
            return
        elif self._parts:
            await self._consumer.end_offsets(list(self._parts))
        elif self._taking.topic not in await self._consumer.topics():
            raise self._says.gone()

    async def _tell_group(self) -> None:
        offsets = {part.partition: self._read[part.name] for part in self._parts.values() if part.name in self._read}
        self._read.clear()
        if offsets:
            with suppress(errors.CommitFailedError, errors.IllegalStateError):  # shared out anew
                await self._consumer.commit(offsets)

    # -- ends -------------------------------------------------------------------------------------

    async def _ask(self, question: Any) -> Any:
        """What the broker answers.

        Raises:
            BridgeError: nothing, or that something is wrong.
        """
        try:
            async with asyncio.timeout(ANSWER_S):
                return await question
        except TimeoutError:
            raise BridgeUnavailable(f"{self._broker.shown} does not answer") from None
        except (KafkaError, OSError) as error:
            raise told(self._broker, error, self._taking.group) from None

    def _lose(self, error: BridgeError) -> None:
        self._gone = self._gone or error
        if not self._ended.done():
            self._ended.set_result(None)

    def _lost(self) -> BridgeError:
        return self._gone or faults.lost(self._broker)

    def _check(self) -> None:
        if self._gone is not None:
            raise self._gone


@aiokafka.ConsumerRebalanceListener.register
class _Listener:
    """What the client calls when partitions are given and taken away."""

    def __init__(self, link: KafkaLink) -> None:
        self._link = link

    async def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002 - of all, always
        self._link.taken_away()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        await self._link.given(assigned)
