"""One connection to Redis that publishes, and one that is subscribed.

Pub/sub keeps nothing: who is away misses what is said. Neither connection comes back by itself, and a cut one may just
be silent; so nothing is left to the client but to fail.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import RedisError

from headrace.clients import redis
from headrace.clients.closing import finished, shortly
from headrace.core.broker import Broker
from headrace.core.errors import NotifierError
from headrace.notifiers.faults import refused, unreached
from headrace.notifiers.keeper import OpenLine
from headrace.notifiers.talk import Talk

CONNECT_S: Final = 5.0
CLOSE_S: Final = 1.0


class RedisLine:
    """A `keeper.Line` over PUBLISH and SUBSCRIBE."""

    deaf = ""

    def __init__(self, broker: Broker, client: Any, bell: Any, channel: str, talk: Talk) -> None:
        """`bell` is subscribed to `channel`."""
        self._broker: Final = broker
        self._client: Final = client
        self._bell: Final = bell
        self._channel: Final = channel
        self._talk: Final = talk
        self._reading: Final = asyncio.get_running_loop().create_task(self._read())

    async def say(self, text: str) -> None:
        """Publish it."""
        try:
            await self._client.publish(self._channel, text)
        except RedisError as error:
            raise _told(self._broker, error) from None

    async def hears(self) -> float | None:
        """After how many seconds a probe comes back."""
        return await self._talk.answers(self.say)

    async def close(self) -> None:
        """Let go of both connections."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await _close(self._client, self._bell)

    async def _read(self) -> None:
        with suppress(Exception):  # whatever it is, this one is of no more use
            async for message in self._bell.listen():
                self._talk.take(message["data"].decode("ascii", "replace"))
        self._talk.end()


def opens(broker: Broker, place: str) -> OpenLine:
    """How to connect."""

    async def open_line(talk: Talk) -> RedisLine:
        client = redis.client(broker, "headrace-notifier", CONNECT_S)
        bell: Any = client.pubsub(ignore_subscribe_messages=True)
        try:
            async with asyncio.timeout(CONNECT_S):
                await bell.subscribe(place)
                await client.ping()
        except BaseException as error:
            await finished(_close(client, bell))
            if isinstance(error, RedisError | OSError):
                raise _told(broker, error) from None
            raise
        return RedisLine(broker, client, bell, place, talk)

    return open_line


def _told(broker: Broker, error: BaseException) -> NotifierError:
    return refused(broker) if redis.refuses(error) else unreached(broker, error)


async def _close(client: Any, bell: Any) -> None:
    await shortly(bell.aclose, CLOSE_S / 2)
    await shortly(client.aclose, CLOSE_S / 2)
