"""What is given to Kafka together, and what becomes of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from headrace.core.errors import BridgeUnavailable
from headrace.core.event import Outgoing
from headrace.core.relay_events import Confirmed, Deferred, Refused, Unsent
from headrace.ports.bridge import SinkEnd

BEHIND: Final = "an event of the same key before it was not taken"

Place: TypeAlias = tuple[str, int]
"""A topic and one of its partitions."""


class Batch:
    """Events that are in one partition together, or none of them."""

    def __init__(self, builder: Any) -> None:
        """Empty."""
        self.builder = builder
        self.events = list[Outgoing]()

    def add(self, out: Outgoing, key: bytes | None, headers: list[tuple[str, bytes]]) -> bool:
        """Whether there was room; there is for the first."""
        added = self.builder.append(timestamp=None, key=key, value=out.event.body, headers=headers)
        if added is not None:
            self.events.append(out)
        return added is not None


class Lines:
    """Batches on their way: of one partition one at a time, and none after one that the broker did not take."""

    def __init__(self, send: Callable[[Place, Batch], Awaitable[bool]]) -> None:
        """None; `send` says whether the broker has a batch."""
        self._send = send
        self._going = list[asyncio.Task[bool]]()
        self._last = dict[Place, asyncio.Task[bool]]()

    def go(self, place: Place, batch: Batch) -> None:
        """Send it, when those before it have been taken."""
        before = self._last.get(place)
        self._last[place] = going = asyncio.get_running_loop().create_task(self._after(before, place, batch))
        self._going.append(going)

    async def ended(self) -> bool:
        """When all have ended, whether the broker has all; what one of them raised is raised then."""
        ends = await asyncio.gather(*self._going, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return all(ends)

    async def close(self) -> None:
        """Leave those that have not ended."""
        for going in self._going:
            going.cancel()
        await asyncio.gather(*self._going, return_exceptions=True)

    async def _after(self, before: asyncio.Task[bool] | None, place: Place, batch: Batch) -> bool:
        return (before is None or await before) and await self._send(place, batch)


class Post:
    """What becomes of the events of one `send`, which goes when the one before it has ended."""

    def __init__(self, events: Sequence[Outgoing], before: "Post | None") -> None:
        """Nothing is known of them. `before`: the last one, if that has not ended."""
        self.confirmed = set[int]()
        self.alone = set[int]()  # the broker refused a batch with them, so each goes by itself
        self.filled = asyncio.Event()  # they are in batches
        self._events = events
        self.held_keys = set[str]()  # something of them was not taken here
        self.over = asyncio.Event()  # the end of each was told
        self.why = ""  # of those that are unsent
        self._before = before
        self._refused = dict[int, str]()
        self._keys = set[str]()  # what is of them waits for one that was refused
        self._waiting = set[int]()

    @property
    def left(self) -> list[Outgoing]:
        """What has not ended."""
        ended = self.confirmed | self._refused.keys() | self._waiting
        return [out for out in self._events if out.place not in ended]

    @property
    def isover(self) -> bool:
        """Whether all has ended."""
        return self.over.is_set()

    @property
    def is_first(self) -> bool:
        """Whether none before it is under way."""
        return self._before is None or self._before.isover

    async def turn(self) -> bool:
        """When it may go; whether with the batches that were filled before.

        Raises:
            BridgeUnavailable: what was before it is unsent, and so is this.
        """
        before = self._before
        if before is None:
            return True
        await before.over.wait()
        if before.why:
            self._refused.clear()  # they are behind those
            self._waiting.clear()
            raise BridgeUnavailable(before.why)
        self._keys |= before.held_keys
        return not before.held_keys

    async def handed(self) -> None:
        """When another may be given to fill meanwhile."""
        await self.filled.wait()
        if self._before is not None:
            await self._before.over.wait()

    def refuse(self, out: Outgoing, why: str) -> None:
        """The broker does not take it."""
        self._refused[out.place] = why
        if out.event.key is not None:
            self.held_keys.add(out.event.key)
            self._keys.add(out.event.key)

    def waits(self, out: Outgoing) -> bool:
        """Whether it is not to be sent: one of its key was refused."""
        if out.event.key not in self._keys:
            return False
        self._waiting.add(out.place)
        self.held_keys.add(out.event.key)
        return True

    def end(self, tell: Callable[[SinkEnd], None], why: str) -> None:
        """Tell the end of each, once: of a key, none is confirmed after one that is not."""
        if self.over.is_set():
            return
        confirmed, deferred, unsent, keys = list[int](), list[int](), list[int](), set[str | None]()
        for out in self._events:
            place, key = out.place, out.event.key
            if key is not None and key in keys:
                unsent.append(place)
            elif place in self._refused:
                tell(Refused(place, self._refused[place]))
            elif place in self._waiting:
                deferred.append(place)
            elif place in self.confirmed:
                confirmed.append(place)
            else:
                unsent.append(place)
                keys.add(key)
        if confirmed:
            tell(Confirmed(tuple(confirmed)))
        if deferred:
            tell(Deferred(tuple(deferred), BEHIND))
        if unsent:
            tell(Unsent(tuple(unsent), why))
            self.why = why
        self._before = None
        self.over.set()
        self.filled.set()
