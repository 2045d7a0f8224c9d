"""One connection that takes entries of a stream, as one consumer of its group."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ResponseError

from headrace.bridges.redis.client import answers, close
from headrace.bridges.redis.entries import message_of
from headrace.clients.closing import shortly
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError, BridgeUnavailable
from headrace.core.message import Batch, Message

BLOCK_S: Final = 0.3
"""How long a read waits at the server; a close waits for that, so that nothing is given to a consumer that is gone."""
LEAVE_S: Final = 0.9
FETCH_BYTES: Final = 16 << 20
FIRST_COUNT: Final = 16
GROWTH: Final = 8
LEFT_MAX: Final = 1_000
BEGINNING: Final = "0"
NEW: Final = ">"
FIRST: Final = "0-0"
CONSUMER: Final = "headrace-"
DEAD_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Taking:
    """What a source takes, and how long what others have taken is theirs: `ordered`, not at all, for we are alone."""

    source: str
    key: str
    group: str
    idle_s: float
    sweep_s: float
    ordered: bool


class RedisLink:
    """A `ports.bridge.SourceLink` over XREADGROUP, XACK and XAUTOCLAIM."""

    def __init__(self, broker: Broker, client: Any, taking: Taking, consumer: str) -> None:
        """The group is there, and no other process has `consumer`'s name."""
        self._broker: Final = broker
        self._client: Final = client
        self._taking: Final = taking
        self._consumer: Final = consumer
        self._now: Final = asyncio.get_running_loop().time
        self._waiting: deque[Message] = deque()  # read, and not fetched
        self._mine: Final[set[str]] = set()  # read, and neither done nor given back
        self._reading: asyncio.Task[None] | None = None
        self._count = FIRST_COUNT
        self._sweep_at = self._now()
        self._sweep_from: Any = FIRST
        self._idle_ms = 0 if taking.ordered else round(taking.idle_s * 1000)
        self._held = False
        self._stirred: Final = asyncio.Event()
        self._gone: BridgeError | None = None
        self._closed = False
        for command in ("XREADGROUP", "XAUTOCLAIM"):  # a dict for each entry would be made to be taken apart again
            client.set_response_callback(command, _as_it_came)

    async def fetch(self, most: int, wait_s: float) -> Batch:
        """Entries that are given back or abandoned first, then new ones."""
        until = self._now() + wait_s
        while True:
            if self._gone is not None:
                raise self._gone
            if self._waiting and not self._held:
                return self._take(most)
            left = until - self._now()
            if left <= 0:
                return Batch()
            self._stirred.clear()
            if self._held:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._stirred.wait()
                continue
            if self._reading is None:  # one that a fetch did not wait for is still of use
                reading = self._read(min(most, self._count), min(left, BLOCK_S))
                self._reading = asyncio.get_running_loop().create_task(reading)
            await asyncio.wait([self._reading], timeout=left)

    async def done(self, batch: Batch) -> None:
        """Acknowledge."""
        places = [message.place for message in batch.messages]
        self._mine.difference_update(places)
        if places and self._gone is None:
            with suppress(BridgeError):
                async with answers(self._broker, self._taking.key):
                    await self._client.xack(self._taking.key, self._taking.group, *places)

    async def back(self, batch: Batch) -> None:
        """Fetch them again, before all that came after them; for others they are as long pending as they were."""
        self._waiting = deque(sorted([*batch.messages, *self._waiting], key=_place))
        self._stirred.set()

    async def hold(self, held: bool) -> None:
        """Read nothing, or read again."""
        self._held = held
        self._stirred.set()

    async def seek(self, marks: Mapping[str, int]) -> None:
        """A stream's group counts for us."""

    async def close(self) -> None:
        """Let go of what is pending, so that others need not wait for it."""
        if self._closed:
            return
        self._closed = True
        lost = self._gone is not None
        self._gone = self._gone or BridgeUnavailable("the connection is closed")
        self._stirred.set()
        if not lost:
            await shortly(self._leave, LEAVE_S)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await close(self._client)

    # -- taking -----------------------------------------------------------------------------------

    def _take(self, most: int) -> Batch:
        """What was read, as far as it fits."""
        waiting = self._waiting
        room, messages = FETCH_BYTES, list[Message]()
        while waiting and len(messages) < most:
            room -= len(waiting[0].body)
            if room < 0 and messages:
                break
            messages.append(waiting.popleft())
        return Batch(tuple(messages))

    async def _read(self, count: int, block_s: float) -> None:
        """Read once; what is wrong is for the next fetch."""
        try:
            async with answers(self._broker, self._taking.key):
                if self._now() >= self._sweep_at:
                    found = await self._swept(count)
                else:
                    found = await self._new(count, block_s)
                self._keep(found, count)
        except BridgeError as error:
            self._gone = self._gone or error
        except Exception as error:  # noqa: BLE001 - whatever it is, it would be the same at the next fetch
            self._gone = self._gone or BridgeUnavailable(
                f"an answer of {self._broker.shown} is not understood: {error}"
            )
        finally:
            self._reading = None

    async def _new(self, count: int, block_s: float) -> list[Any]:
        taking = self._taking
        try:
            answer = await self._client.xreadgroup(
                taking.group, self._consumer, {taking.key: NEW}, count=count, block=max(1, round(block_s * 1000))
            )
        except ResponseError as error:
            if not _is_no_group(error):
                raise
            await make_group(self._client, taking, BEGINNING)  # it had a place, which nobody knows any more
            return []
        return answer[0][1] if answer else []

    async def _swept(self, count: int) -> list[Any]:
        """Entries that were given back, or that a consumer has had for too long."""
        taking = self._taking
        answer: Any
        try:
            answer = await self._client.xautoclaim(
                taking.key, taking.group, self._consumer, self._idle_ms, self._sweep_from, count
            )
        except ResponseError as error:
            if not _is_no_group(error):
                raise
            answer = FIRST, ()
        self._sweep_from = answer[0]
        if self._sweep_from in {FIRST, FIRST.encode()}:
            self._sweep_at = self._now() + taking.sweep_s
            self._idle_ms = round(taking.idle_s * 1000)
        # Redis 6.2 also has those that were deleted from the stream while they were pending.
        return [each for each in answer[1] if each and each[1] is not None and each[0].decode() not in self._mine]

    def _keep(self, entries: Iterable[tuple[bytes, Sequence[bytes]]], count: int) -> None:
        source, key = self._taking.source, self._taking.key
        found = [message_of(source, key, entry, fields) for entry, fields in entries]
        if not found:
            return
        self._waiting.extend(found)
        self._mine.update([message.place for message in found])
        largest = max([len(message.body) for message in found])
        fits = max(1, FETCH_BYTES // (largest or 1))
        self._count = min(fits, max(self._count, count * GROWTH if len(found) == count else 0))

    # -- letting go -------------------------------------------------------------------------------

    async def _leave(self) -> None:
        """Let any consumer have what is pending, as if it had been left for long; or end, if nothing is."""
        taking, least = self._taking, "-"
        if self._reading is not None:
            await asyncio.wait([self._reading])
        with suppress(BridgeError):
            async with answers(self._broker, taking.key):
                while True:
                    left = await self._client.xpending_range(
                        taking.key, taking.group, least, "+", LEFT_MAX, consumername=self._consumer
                    )
                    if not left:
                        break
                    places = [one["message_id"].decode() for one in left]
                    idle_ms = round(taking.idle_s * 1000) + 1
                    await self._client.xclaim(
                        taking.key, taking.group, self._consumer, 0, places, idle=idle_ms, justid=True
                    )
                    least = f"({places[-1]}"
                if least == "-":
                    await self._client.xgroup_delconsumer(taking.key, taking.group, self._consumer)


async def make_group(client: Any, taking: Taking, start: str) -> None:
    """Make the group, and the stream, where they are not there."""
    try:
        await client.xgroup_create(taking.key, taking.group, id=start, mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


async def forget_the_dead(client: Any, taking: Taking) -> None:
    """Take consumers out of the group that have nothing pending, and were last heard of long ago."""
    for each in await client.xinfo_consumers(taking.key, taking.group):
        name = each["name"].decode("utf-8", "replace")
        if name.startswith(CONSUMER) and not each["pending"] and each["idle"] > DEAD_S * 1000:
            await client.xgroup_delconsumer(taking.key, taking.group, name)


def _as_it_came(answer: Any, **_: object) -> Any:
    return answer


def _place(message: Message) -> tuple[int, int]:
    at, _, number = message.place.partition("-")
    return int(at), int(number)


def _is_no_group(error: ResponseError) -> bool:
    return str(error).startswith(("NOGROUP", "UNBLOCKED"))
