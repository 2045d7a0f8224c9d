"""What the suites of bridges share: the store's side of a source, and what a bare client does at the broker."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from headrace.core.errors import BridgeUnavailable
from headrace.core.message import Batch, Bookmark, Message
from headrace.ports.bridge import Sink, Source, SourceLink

MakeSource: TypeAlias = Callable[[], Source]
MakeSink: TypeAlias = Callable[[], Sink]

BOUND_S = 31.0
"""No call takes longer: 30 seconds, and one for a busy machine."""
CLOSE_S = 2.0
PATIENCE_S = 60.0
WAIT_S = 0.25
KIB = 1 << 10
MIB = 1 << 20
FETCH_BYTES_MAX = 16 * MIB


class Put(Protocol):
    """A bare client puts messages where the source takes them; they are there, in order, when it returns."""

    async def __call__(
        self,
        bodies: Sequence[bytes],
        *,
        key: str = "key",
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> None:
        """Those of one key share a part. Where it has the means, it gives each message an id that no other has."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What a bare client finds at the broker. `id`: that of the event, as the sink writes it; None: it does not."""

    body: bytes
    id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content_type: str | None = None


Read: TypeAlias = Callable[[str], Awaitable[Sequence[Found]]]
"""A bare client reads all that is at a target, in order."""


class Desk:
    """A store as a source sees it: bookmarks, and the messages that were taken."""

    def __init__(self) -> None:
        """Nothing was taken."""
        self.marks: dict[str, Bookmark] = {}
        self.taken: list[Message] = []

    async def stand(self, parts: Sequence[str]) -> Mapping[str, Bookmark]:
        """Where bookmarks stand."""
        return {part: self.marks[part] for part in parts if part in self.marks}

    @property
    def bodies(self) -> list[bytes]:
        """Of what was taken."""
        return [message.body for message in self.taken]

    async def take(self, link: SourceLink, batch: Batch) -> None:
        """Commit a batch and acknowledge it; as a store, none whose bookmarks have moved meanwhile."""
        moved = {part: self._next(part) for part, mark in batch.marks.items() if self._next(part) != mark.known}
        if moved:
            await link.seek({part: place for part, place in moved.items() if place is not None})
            return
        self.marks |= {part: Bookmark(mark.next, mark.at_ms) for part, mark in batch.marks.items()}
        self.taken += batch.messages
        await link.done(batch)

    def _next(self, part: str) -> int | None:
        return self.marks[part].next if part in self.marks else None


async def opened(source: Source, desk: Desk | None = None) -> SourceLink:
    """Connect, as long as the broker is out of reach at worst; one that refuses is a failure."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(BridgeUnavailable):
                return await source.open((desk or Desk()).stand)
            await asyncio.sleep(0.1)


async def fetched(link: SourceLink, count: int, most: int = 1_000) -> Batch:
    """So many messages, or those that came in time."""
    batch = Batch()
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while len(batch) < count:
                batch = batch.join(await link.fetch(min(most, count - len(batch)), WAIT_S))
    return batch


def bodies(batch: Batch) -> list[bytes]:
    """What its messages carry."""
    return [message.body for message in batch.messages]


def numbered(count: int, what: str = "message") -> list[bytes]:
    """Bodies that differ."""
    return [f"{what} {number}".encode() for number in range(count)]
