"""Connections that take messages of a broker in this process."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from headrace.core.errors import BridgeUnavailable
from headrace.core.message import Batch, Bookmark, Message
from headrace.ports.bridge import Stand

if TYPE_CHECKING:
    from headrace.bridges.memory.broker import MemoryBroker

FETCH_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """One message at the broker."""

    body: bytes
    key: str | None = None
    id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    content_type: str | None = None
    at: float | None = None
    order: int = 0

    def message(self, source: str, part: str = "", place: str = "") -> Message:
        """As a source gives it."""
        return Message(
            source, place, part, self.id, self.key, self.headers, self.content_type, self.at, None, self.body
        )


@dataclass(frozen=True, slots=True)
class Taking:
    """What a source takes: `start` is where parts without a bookmark begin, earliest or latest."""

    source: str
    target: str
    group: str = ""
    start: str = "earliest"


def _fitting(records: Iterable[Record], room: int) -> list[Record]:
    """As many of the first as fit, and at least one."""
    fitting: list[Record] = []
    for record in records:
        room -= len(record.body)
        if room < 0 and fitting:
            break
        fitting.append(record)
    return fitting


class Link(ABC):
    """One connection."""

    def __init__(self, broker: "MemoryBroker", taking: Taking) -> None:
        """On the running loop."""
        self._broker = broker
        self.taking = taking
        self.loop = asyncio.get_running_loop()
        self._stirred = asyncio.Event()
        self._held = False
        self._gone: Exception | None = None

    def stir(self) -> None:
        """Let a waiting fetch look again; from any thread."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._stirred.set)

    def lose(self, why: Exception) -> None:
        """The connection is gone."""
        self._gone = why
        self._broker.links.pop(self, None)
        self.stir()

    async def fetch(self, most: int, wait_s: float) -> Batch:
        """Messages, or none within `wait_s`."""
        await self._broker.delay("fetch")
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    self._stirred.clear()
                    await self._prepare()
                    with self._broker.lock:
                        self._check()
                        batch = Batch() if self._held else self._take(most)
                    if batch:
                        return batch
                    await self._stirred.wait()
        except TimeoutError:
            self._check()
            return Batch()

    async def hold(self, held: bool) -> None:
        """Take nothing, or take again."""
        self._held = held
        self.stir()

    async def close(self) -> None:
        """Let go."""
        with self._broker.lock:
            if self._gone is None:
                self.lose(BridgeUnavailable("the connection is closed"))

    def _check(self) -> None:
        if self._gone is not None:
            raise self._gone

    async def _prepare(self) -> None:  # noqa: B027 - not every link has something to do
        """Before each look."""

    @abstractmethod
    def _take(self, most: int) -> Batch:
        """What there is to take now."""


class TopicLink(Link):
    """A member of a group that reads a topic."""

    def __init__(self, broker: "MemoryBroker", taking: Taking, stand: Stand) -> None:
        """A member as soon as the broker knows it."""
        super().__init__(broker, taking)
        self.given: set[str] = set()
        self._stand = stand
        self._known: dict[str, int | None] = {}  # bookmarks, as far as this link knows
        self._next: dict[str, int] = {}

    async def _prepare(self) -> None:
        """Learn where new parts begin, and forget those that others have."""
        while self._next.keys() != (given := set(self.given)):
            for part in self._next.keys() - given:
                del self._next[part], self._known[part]
            new = sorted(given - self._next.keys())
            try:
                bookmarks: Mapping[str, Bookmark] = await self._stand(new) if new else {}
            except Exception as error:
                raise BridgeUnavailable(f"the bookmarks of {', '.join(new)} are not known: {error}") from error
            with self._broker.lock:
                for part in new:
                    mark = bookmarks.get(part)
                    latest = len(self._records(part)) if self.taking.start == "latest" else 0
                    self._known[part] = None if mark is None else mark.next
                    self._next[part] = latest if mark is None else mark.next

    def _records(self, part: str) -> list[Record]:
        return self._broker.topics[self.taking.target][int(part)]

    def _take(self, most: int) -> Batch:
        messages: list[Message] = []
        known: dict[str, int | None] = {}
        room = FETCH_BYTES
        for part, begin in self._next.items():
            records = _fitting(islice(self._records(part), begin, begin + most - len(messages)), room)
            room -= sum(len(record.body) for record in records)
            if records and (room >= 0 or not messages):
                known[part] = self._known[part]
                messages += [each.message(self.taking.source, part, str(at)) for at, each in enumerate(records, begin)]
                self._known[part] = self._next[part] = begin + len(records)
        return Batch(tuple(messages), tuple(message.place for message in messages), known)

    async def done(self, batch: Batch) -> None:
        """The bookmark says it."""

    async def back(self, batch: Batch) -> None:
        """Read these again."""
        with self._broker.lock:
            for message in reversed(batch.messages):
                if self._next.get(message.part, 0) > int(message.place):
                    self._next[message.part] = int(message.place)
                    self._known[message.part] = batch.known[message.part]
        self.stir()

    async def seek(self, marks: Mapping[str, int]) -> None:
        """Go on from there."""
        with self._broker.lock:
            self._check()
            for part, place in marks.items():
                if part in self._next:
                    self._next[part] = self._known[part] = place
        self.stir()

    def lose(self, why: Exception) -> None:
        """The others get its parts."""
        super().lose(why)
        self._broker.leave(self)


class QueueLink(Link):
    """A consumer of a queue."""

    def __init__(self, broker: "MemoryBroker", taking: Taking) -> None:
        """It has nothing yet."""
        super().__init__(broker, taking)
        self._given: dict[int, Record] = {}
        self._tag = 0

    def _take(self, most: int) -> Batch:
        ready = self._broker.queues[self.taking.target]
        first = self._tag
        for _ in _fitting(islice(ready, most), FETCH_BYTES):
            self._given[self._tag] = ready.popleft()
            self._tag += 1
        tags = range(first, self._tag)
        return Batch(tuple(self._given[tag].message(self.taking.source) for tag in tags), tuple(tags))

    async def done(self, batch: Batch) -> None:
        """Forget them, if it is heard."""
        with self._broker.lock:
            if self._gone is not None:
                return
            if self._broker.loses("done"):
                self.lose(BridgeUnavailable("the connection is lost"))
                return
            for tag in batch.receipts:
                record = self._given.pop(tag, None) if isinstance(tag, int) else None
                if record is not None and self._broker.acknowledged is not None:
                    self._broker.acknowledged(record)

    async def back(self, batch: Batch) -> None:
        """They are at their old places again."""
        with self._broker.lock:
            self._return([tag for tag in batch.receipts if isinstance(tag, int) and tag in self._given])

    async def seek(self, marks: Mapping[str, int]) -> None:
        """A queue has no places."""

    def lose(self, why: Exception) -> None:
        """What it has goes back."""
        super().lose(why)
        self._return(list(self._given))

    def _return(self, tags: list[int]) -> None:
        ready = self._broker.queues[self.taking.target]
        ready.extend([self._given.pop(tag) for tag in tags])
        in_order = sorted(ready, key=lambda record: record.order)
        ready.clear()
        ready.extend(in_order)
        for link in self._broker.links:
            link.stir()
