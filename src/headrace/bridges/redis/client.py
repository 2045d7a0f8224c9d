"""One pool of connections to Redis that fails at once, and what its errors mean."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from headrace.bridges import faults
from headrace.clients import redis
from headrace.clients.closing import finished, shortly
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError, BridgeRefused, BridgeUnavailable

CONNECT_S: Final = 5.0
CLOSE_S: Final = 0.4
ANSWER_S: Final = 5.0
"""So long a command may take that does not wait for anything."""
FIELD_OF_ID: Final = b"message-id"
"""The field of an entry that says which message it is, however often it is added."""


async def connect(broker: Broker, name: str) -> Any:
    """A client with a connection that works.

    Raises:
        BridgeError: there is none.
    """
    client = redis.client(broker, name, CONNECT_S)
    try:
        async with answers(broker, within_s=CONNECT_S):
            await client.ping()
    except BaseException:
        await finished(close(client))
        raise
    return client


async def close(client: Any) -> None:
    """Let go of all connections."""
    await shortly(client.aclose, CLOSE_S)


@asynccontextmanager
async def answers(broker: Broker, key: str = "", *, within_s: float | None = None) -> AsyncGenerator[None, None]:
    """What is asked in it, of the stream `key`, is answered in so much time; errors of the client are ours.

    Raises:
        BridgeError: it is not, or the answer is an error.
    """
    try:
        async with asyncio.timeout(ANSWER_S if within_s is None else within_s):
            yield
    except TimeoutError:
        raise BridgeUnavailable(f"{broker.shown} does not answer") from None
    except (RedisError, OSError) as error:
        raise told(broker, key, error) from None


def told(broker: Broker, key: str, error: Exception) -> BridgeError:
    """What an error of the client means."""
    words = str(error)
    if redis.refuses(error):
        return faults.refused(broker)
    if not isinstance(error, ResponseError):
        return faults.unreached(broker, error)
    if words.startswith("WRONGTYPE"):
        return BridgeRefused(f"the key {key} of {broker.shown} is no stream: name another, or rename that one")
    if words.startswith("unknown command"):
        return BridgeRefused(f"{broker.shown} is too old: its streams need Redis 6.2 ({words})")
    return BridgeUnavailable(f"{broker.shown} says: {words}")  # no memory, a replica, a disk that is full
