"""Topics that are read by place, queues that give again, and a sink into both.

Invariants: a message of a queue is ready, or given to one link that lives, or acknowledged; a part of a topic is read
by one member of a group, but for members that were expelled and do not know it.
"""

import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final
from zlib import crc32

from headrace.bridges.memory.links import Link, QueueLink, Record, Taking, TopicLink
from headrace.core.errors import BridgeRefused, BridgeUnavailable
from headrace.core.event import Head, Outgoing
from headrace.core.relay_events import Confirmed, Deferred, Refused, Unsent
from headrace.ports.bridge import SinkEnd, Source, SourceLink, Stand

AWAY: Final = "the broker is away"


class MemoryBroker:
    """Topics, queues and whoever is connected. Tests `cut`, `mend` and `expel`, and set what is lost and late."""

    def __init__(self, wall: Callable[[], float] | None = None) -> None:
        """`wall` tells when a message was sent."""
        self._wall = wall
        self.lock: Final = threading.RLock()
        self.topics: Final[dict[str, list[list[Record]]]] = {}
        self.queues: Final[dict[str, deque[Record]]] = {}
        self.groups: Final[dict[tuple[str, str], list[TopicLink]]] = {}
        self.links: Final[dict[Link, None]] = {}  # in the order of their coming
        self.away: Exception | None = None
        self._count = 0
        self.bytes_max = 1 << 20
        self.lost: Callable[[str], bool] | None = None
        """Asked with `done`, `event` or `confirm`: whether it does not arrive, and takes the connection with it."""
        self.acknowledged: Callable[[Record], None] | None = None
        """Told of each message of a queue that is acknowledged."""
        self.delay: Callable[[str], Awaitable[None]] = _at_once
        """Awaited with `open`, `fetch` or `send`, at the beginning of each."""

    def topic(self, name: str, parts: int = 1) -> None:
        """Declare a topic."""
        self.topics[name] = [[] for _ in range(parts)]

    def queue(self, name: str) -> None:
        """Declare a queue."""
        self.queues[name] = deque()

    def put(
        self,
        target: str,
        body: bytes,
        *,
        key: str | None = None,
        id: str | None = None,  # noqa: A002 - as brokers call it
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> None:
        """Take a message, also while links are cut; equal keys share a part. From any thread."""
        at = None if self._wall is None else self._wall()
        self._add(target, Record(body, key, id, headers or {}, content_type, at))

    def cut(self, why: str = AWAY, *, refused: bool = False) -> None:
        """Lose every connection, and take no new one; `refused`: as one that a person must mend."""
        with self.lock:
            self.away = BridgeRefused(why) if refused else BridgeUnavailable(why)
            for link in tuple(self.links):
                link.lose(self.away)

    def mend(self) -> None:
        """Take connections again."""
        with self.lock:
            self.away = None

    def expel(self, link: TopicLink) -> None:
        """Give a member's parts to the others of its group, without its knowing."""
        with self.lock:
            self.groups[link.taking.target, link.taking.group].remove(link)
            self._rebalance(link.taking.target, link.taking.group)

    def source(
        self, name: str, target: str, group: str = "", *, start: str = "earliest", alone: bool = False
    ) -> Source:
        """A source on a topic or a queue."""
        return MemorySource(self, Taking(name, target, group, start), alone=alone)

    def sink(self, *, one_per_key: bool = True) -> "MemorySink":
        """A sink; the target of an event is a topic or a queue."""
        return MemorySink(self, one_per_key=one_per_key)

    # -- for links --------------------------------------------------------------------------------

    def _add(self, target: str, record: Record) -> None:
        with self.lock:
            self._count += 1
            record = replace(record, order=self._count)
            if target in self.topics:
                parts = self.topics[target]
                free = sum(len(part) for part in parts)
                number = free if record.key is None else crc32(record.key.encode())
                parts[number % len(parts)].append(record)
            else:
                self.queues[target].append(record)
            for link in self.links:
                link.stir()

    def send(self, out: Outgoing) -> str:
        """Take an event; why not, if not."""
        event = out.event
        if event.target not in self.topics and event.target not in self.queues:
            return f"there is no topic and no queue {event.target}"
        if len(event.body) > self.bytes_max:
            return f"{len(event.body)} bytes are more than {self.bytes_max}"
        head = Head.read(event.head)
        self._add(event.target, Record(event.body, event.key, event.id.hex(), head.headers, head.content_type))
        return ""

    def dismiss(self, queue: str) -> None:
        """Take a queue from whoever has it, with all that was given and not acknowledged."""
        for link in tuple(self.links):
            if link.taking.target == queue:
                link.lose(BridgeUnavailable("another takes from this queue"))

    def loses(self, what: str) -> bool:
        """Whether it does not arrive."""
        return self.lost is not None and self.lost(what)

    def join(self, link: TopicLink) -> None:
        """One more member."""
        self.groups.setdefault((link.taking.target, link.taking.group), []).append(link)
        self._rebalance(link.taking.target, link.taking.group)

    def leave(self, link: TopicLink) -> None:
        """One fewer."""
        members = self.groups[link.taking.target, link.taking.group]
        if link in members:
            members.remove(link)
            self._rebalance(link.taking.target, link.taking.group)

    def _rebalance(self, topic: str, group: str) -> None:
        members = self.groups[topic, group]
        for at, member in enumerate(members):
            member.given = {str(part) for part in range(at, len(self.topics[topic]), len(members))}
            member.stir()


async def _at_once(what: str) -> None:
    """No delay."""


class MemorySource:
    """One topic or queue."""

    def __init__(self, broker: MemoryBroker, taking: Taking, *, alone: bool) -> None:
        """Not connected."""
        self._broker = broker
        self._taking = taking
        self.alone = alone

    async def open(self, stand: Stand) -> SourceLink:
        """Connect; parts are given with the first fetch."""
        broker = self._broker
        await broker.delay("open")
        with broker.lock:
            if broker.away is not None:
                raise broker.away
            if self._taking.target in broker.topics:
                link = TopicLink(broker, self._taking, stand)
                broker.links[link] = None
                broker.join(link)
                return link
            if self._taking.target not in broker.queues:
                raise BridgeRefused(f"there is no topic and no queue {self._taking.target}")
            if self.alone:
                broker.dismiss(self._taking.target)
            given = QueueLink(broker, self._taking)
            broker.links[given] = None
            return given


BEHIND: Final = "an event of the same key before it was not taken"


class MemorySink:
    """Puts events into topics and queues."""

    def __init__(self, broker: MemoryBroker, *, one_per_key: bool) -> None:
        """Connected whenever the broker is there."""
        self._broker = broker
        self._closed = False
        self.one_per_key = one_per_key

    async def send(self, events: Sequence[Outgoing], tell: Callable[[SinkEnd], None]) -> None:
        """Each is confirmed, refused, or lost with all that follow it."""
        broker = self._broker
        left, refused = list(events), set[str | None]()
        try:
            await broker.delay("send")
            while left:
                end = self._one(left[0]) if left[0].event.key not in refused else Deferred((left[0].place,), BEHIND)
                if isinstance(end, Unsent):
                    break
                out = left.pop(0)
                if isinstance(end, Refused) and out.event.key is not None:
                    refused.add(out.event.key)
                tell(end)
        finally:
            if left:
                tell(Unsent(tuple(out.place for out in left), str(broker.away or "the connection is lost")))

    def _one(self, out: Outgoing) -> SinkEnd:
        broker = self._broker
        with broker.lock:
            if self._closed or broker.away is not None or broker.loses("event"):
                return Unsent((out.place,), AWAY)
            why = broker.send(out)
            if why:
                return Refused(out.place, why)
            if broker.loses("confirm"):
                return Unsent((out.place,), AWAY)
            return Confirmed((out.place,))

    async def reset(self) -> None:
        """Nothing is unanswered between two calls."""

    async def close(self) -> None:
        """Send nothing more."""
        self._closed = True
