"""A stream of Redis as a source: one consumer of a group for each connection.

An entry that was read is pending until it is acknowledged. What a consumer leaves pending is let go of when its
connection closes, and else after `IDLE_S`; any consumer of the group finds it when it sweeps.
"""

import secrets
from typing import Final, Protocol

from headrace.bridges.redis.client import answers, close, connect
from headrace.bridges.redis.link import BEGINNING, CONSUMER, RedisLink, Taking, forget_the_dead, make_group
from headrace.clients.closing import finished
from headrace.core.broker import Broker
from headrace.ports.bridge import SourceLink, Stand

IDLE_S: Final = 30.0
SWEEP_S: Final = 10.0


class Stream(Protocol):
    """A stream, the group whose consumers share its entries, and where a group that there is not begins."""

    @property
    def key(self) -> str:
        """Of the stream."""
        ...

    @property
    def group(self) -> str | None:
        """Its name."""
        ...

    @property
    def start(self) -> str:
        """`0`, `$` or an entry's id."""
        ...


class RedisSource:
    """Entries of one stream as messages."""

    def __init__(
        self,
        broker: Broker,
        stream: Stream,
        name: str,
        *,
        ordered: bool = False,
        idle_s: float = IDLE_S,
        sweep_s: float = SWEEP_S,
    ) -> None:
        """Not connected. What a consumer has had for `idle_s` is taken from it, which is looked for each `sweep_s`.

        With `ordered` one process at a time opens it, and takes at once what others have left.
        """
        self._broker: Final = broker
        self._start = stream.start
        self._taking: Final = Taking(name, stream.key, stream.group or "", idle_s, sweep_s, ordered)

    @property
    def alone(self) -> bool:
        """Redis gives to whoever asks."""
        return self._taking.ordered

    async def open(self, stand: Stand) -> SourceLink:  # noqa: ARG002 - the group counts for us
        """Connect, and make the group where there is none."""
        client = await connect(self._broker, "headrace-source")
        try:
            async with answers(self._broker, self._taking.key):
                await make_group(client, self._taking, self._start)
                await forget_the_dead(client, self._taking)
        except BaseException:
            await finished(close(client))
            raise
        self._start = BEGINNING  # a group that is gone later had a place, and nothing may be passed over
        return RedisLink(self._broker, client, self._taking, f"{CONSUMER}{secrets.token_hex(8)}")
