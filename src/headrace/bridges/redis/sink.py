"""Streams of Redis as a sink: XADD by pipelines, so that what is under way is answered in its order.

An event is at the stream at least once: an answer that is lost leaves open whether it was added. `message-id` tells.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from headrace.bridges.redis.client import answers, close, connect, told
from headrace.bridges.redis.entries import fields_of
from headrace.clients.closing import finished
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError, BridgeRefused
from headrace.core.event import Outgoing
from headrace.core.relay_events import Confirmed, Deferred, Refused, Unsent
from headrace.ports.bridge import SinkEnd

ENDED: Final = "the connection is closed"
BYTES_MAX: Final = 512 << 20
"""What Redis takes if nobody said otherwise. It ends the connection over more, so that it is not asked."""
LIMIT: Final = "proto-max-bulk-len"
TOO_LARGE: Final = object()
BEHIND: Final = object()
"""An event of the same key before it is too large."""


class RedisSink:
    """Adds events to streams; the target of one is a stream's key."""

    def __init__(self, broker: Broker, *, maxlen: int | None = None) -> None:
        """Not connected; with `maxlen`, streams are kept about so long."""
        self._broker: Final = broker
        self._bound: Final[tuple[str | int, ...]] = () if maxlen is None else ("MAXLEN", "~", maxlen)
        self._client: Any = None
        self._bytes_max = BYTES_MAX
        self._adding: asyncio.Task[list[Any]] | None = None
        self._closed = False

    @property
    def one_per_key(self) -> bool:
        """A connection is answered in the order in which it asks."""
        return False

    async def send(self, events: Sequence[Outgoing], tell: Callable[[SinkEnd], None]) -> None:
        """Add all of them, and wait for the answers."""
        answers_, why = list[Any](), ENDED
        try:
            if not self._closed:
                self._adding = asyncio.get_running_loop().create_task(self._add(events))
                await asyncio.wait([self._adding])
                answers_ = [] if self._adding.cancelled() else self._adding.result()
        except BridgeError as error:
            why = str(error)
        finally:  # also when it is cancelled
            adding, self._adding = self._adding, None
            if adding is not None and not adding.done():
                adding.cancel()
            self._tell(events, answers_, why, tell)

    async def reset(self) -> None:
        """Leave the connection."""
        adding, client = self._adding, self._client
        self._client = None
        if adding is not None:
            adding.cancel()
            await asyncio.wait([adding])
        if client is not None:
            await close(client)

    async def close(self) -> None:
        """Leave it for good."""
        self._closed = True
        await self.reset()

    async def _add(self, events: Sequence[Outgoing]) -> list[Any]:
        """The answer to each, which may be an error."""
        if self._client is None:
            self._client = await connect(self._broker, "headrace-sink")
            self._bytes_max = await self._limit(self._client)
        client = self._client
        pipe: Any = client.pipeline(transaction=False)
        ends, keys = dict[int, object](), set[str]()
        for out in events:
            if out.event.key in keys:
                ends[out.place] = BEHIND
            elif len(out.event.body) > self._bytes_max:
                ends[out.place] = TOO_LARGE
                keys.update(() if out.event.key is None else (out.event.key,))
            else:
                pipe.execute_command("XADD", out.event.target, *self._bound, "*", *fields_of(out.event))
        try:
            async with answers(self._broker):
                given = iter(await pipe.execute(raise_on_error=False))
        except BaseException:
            if self._client is client:
                self._client = None
            await finished(close(client))
            raise
        return [ends[out.place] if out.place in ends else next(given) for out in events]

    async def _limit(self, client: Any) -> int:
        """How large a value may be, if we may know."""
        with suppress(BridgeError, ValueError):
            async with answers(self._broker):
                found = await client.config_get(LIMIT)
            return int(found.get(LIMIT, BYTES_MAX))
        return BYTES_MAX

    def _tell(
        self, events: Sequence[Outgoing], answers_: Sequence[Any], why: str, tell: Callable[[SinkEnd], None]
    ) -> None:
        confirmed, unsent, keys = list[int](), list[int](), set[str | None]()
        for out, answer in zip(events, [*answers_, *[None] * (len(events) - len(answers_))], strict=True):
            key = out.event.key
            if answer is None or (key is not None and key in keys):
                unsent.append(out.place)
            elif answer is BEHIND:
                tell(Deferred((out.place,), f"an event of the key {key!r} before it was not taken"))
            elif answer is TOO_LARGE:
                size, most = len(out.event.body), self._bytes_max
                tell(Refused(out.place, f"{size} bytes are more than the {most} of {self._broker.shown} ({LIMIT})"))
            elif not isinstance(answer, ResponseError):
                confirmed.append(out.place)
            elif (refusal := self._refusal(out, answer)) is not None:
                tell(Refused(out.place, refusal))
            else:  # the server takes nothing now
                why = str(told(self._broker, out.event.target, answer))
                unsent.append(out.place)
                keys.add(key)
        if confirmed:
            tell(Confirmed(tuple(confirmed)))
        if unsent:
            tell(Unsent(tuple(unsent), why))

    def _refusal(self, out: Outgoing, answer: ResponseError) -> str | None:
        """Why it does not take this event, if that is what the answer says."""
        if isinstance(answer, NoPermissionError):
            return f"the user of {self._broker.shown} may not add to {out.event.target}: {answer}"
        error = told(self._broker, out.event.target, answer)
        return str(error) if isinstance(error, BridgeRefused) else None
