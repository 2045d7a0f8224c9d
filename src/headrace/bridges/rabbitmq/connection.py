"""One connection to RabbitMQ, and what its errors mean. aiormq is what aio-pika is made of: fewer steps a message."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from struct import error as StructError  # noqa: N812 - a class
from typing import Any, Final

import aiormq
from aiormq.abc import AbstractConnection
from aiormq.exceptions import AMQPError, ChannelInvalidStateError, InvalidFrameError
from yarl import URL

from headrace.bridges import faults
from headrace.bridges.rabbitmq.careful import careful_transport
from headrace.clients import rabbitmq
from headrace.clients.closing import finished, shortly
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError, BridgeRefused, BridgeUnavailable

CONNECT_S: Final = 5.0
ANSWER_S: Final = 5.0
CLOSE_S: Final = 0.8
UNREADABLE: Final = (InvalidFrameError, ValueError, OverflowError, StructError)
"""What ends a connection over a message whose properties the client cannot read."""


async def connect(broker: Broker, name: str, *, careful: bool = False) -> AbstractConnection:
    """A connection that works; a `careful` one takes messages with properties that cannot be read, without them.

    Raises:
        BridgeError: there is none.
    """
    url = URL(broker.url).update_query(heartbeat=str(rabbitmq.HEARTBEAT_S), name=name)
    context = ssl.create_default_context() if broker.tls else None
    connection: Any = aiormq.Connection(url, context=context, **careful_transport(tls=broker.tls) if careful else {})
    try:
        async with asyncio.timeout(CONNECT_S):
            await connection.connect()
    except BaseException as error:
        await finished(close(connection))
        if rabbitmq.refuses(error):
            raise faults.refused(broker) from None
        if isinstance(error, AMQPError | OSError):
            raise faults.unreached(broker, error) from None
        raise
    made: AbstractConnection = connection
    return made


async def close(connection: AbstractConnection) -> None:
    """Let go of it."""
    await shortly(connection.close, CLOSE_S)


@asynccontextmanager
async def answers(broker: Broker) -> AsyncGenerator[None, None]:
    """What is asked in it is answered in time; errors of the client that are no refusals are ours.

    Raises:
        BridgeError: it is not.
    """
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except TimeoutError:
        raise BridgeUnavailable(f"{broker.shown} does not answer") from None
    except (AMQPError, OSError, ChannelInvalidStateError) as error:
        raise told(broker, error) from None


def told(broker: Broker, error: BaseException) -> BridgeError:
    """What an error of a channel means."""
    reply = reply_of(error)
    if reply.startswith("ACCESS_REFUSED"):
        return BridgeRefused(f"{broker.shown} refuses its user: {words_of(reply)}")
    if reply:
        return BridgeUnavailable(f"{broker.shown} says: {words_of(reply)}")
    return faults.lost(broker, error)


def reply_of(error: BaseException) -> str:
    """What the broker said when it closed a channel; empty: it did not."""
    words = next((arg for arg in reversed(error.args) if isinstance(arg, str)), "")
    return words if words.partition(" ")[0].replace("_", "").isupper() else ""


def words_of(reply: str) -> str:
    """Without its code."""
    return reply.partition(" - ")[2] or reply
