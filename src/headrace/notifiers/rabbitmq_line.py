"""One connection to RabbitMQ: a fanout exchange that goes with its last queue, and a queue of our own behind it.

The queue is short and forgets what is old, so that the broker never holds a second backlog; nothing is confirmed, for
the echo of a message says more. The client's own reconnecting is not used.
"""

import asyncio
import ssl
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from headrace.clients import rabbitmq
from headrace.clients.closing import finished, shortly
from headrace.core.broker import Broker
from headrace.core.errors import NotifierError
from headrace.notifiers.faults import refused, unreached
from headrace.notifiers.keeper import OpenLine
from headrace.notifiers.talk import Talk

CONNECT_S: Final = 5.0
CLOSE_S: Final = 1.0
QUEUE: Final[dict[str, Any]] = {"x-max-length": 100, "x-overflow": "drop-head", "x-message-ttl": 5_000}


class RabbitMQLine:
    """A `keeper.Line` over a fanout exchange."""

    deaf = ""

    def __init__(self, broker: Broker, connection: AbstractConnection, bell: AbstractExchange, talk: Talk) -> None:
        """What `bell` carries is heard already."""
        self._broker: Final = broker
        self._connection: Final = connection
        self._bell: Final = bell
        self._talk: Final = talk

    async def say(self, text: str) -> None:
        """Publish it."""
        message = aio_pika.Message(text.encode("ascii", "replace"), delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT)
        try:
            await self._bell.publish(message, routing_key="", mandatory=False)
        except AMQPError as error:
            raise unreached(self._broker, error) from None

    async def hears(self) -> float | None:
        """After how many seconds a probe comes back."""
        return await self._talk.answers(self.say)

    async def close(self) -> None:
        """Let go of the connection."""
        await _close(self._connection)


def opens(broker: Broker, place: str) -> OpenLine:
    """How to connect."""

    async def open_line(talk: Talk) -> RabbitMQLine:
        async def heard(message: AbstractIncomingMessage) -> None:
            talk.take(message.body.decode("ascii", "replace"))

        def ended(*_: object) -> None:
            talk.end()

        connection: AbstractConnection | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await _connect(broker)
                connection.close_callbacks.add(ended)
                bell = await _listen(connection, place, heard, ended)
        except BaseException as error:
            if connection is not None:
                await finished(_close(connection))
            if isinstance(error, AMQPError | OSError):
                raise _told(broker, error) from None
            raise
        return RabbitMQLine(broker, connection, bell, talk)

    return open_line


async def _connect(broker: Broker) -> AbstractConnection:
    return await aio_pika.connect(
        broker.url,
        timeout=CONNECT_S,
        heartbeat=rabbitmq.HEARTBEAT_S,
        client_properties={"connection_name": "headrace notifier"},
        ssl_context=ssl.create_default_context() if broker.tls else None,
    )


async def _listen(connection: AbstractConnection, place: str, heard: Any, ended: Any) -> AbstractExchange:
    channel = await connection.channel(publisher_confirms=False)
    channel.close_callbacks.add(ended)
    bell = await channel.declare_exchange(place, aio_pika.ExchangeType.FANOUT, durable=False, auto_delete=True)
    ear = await channel.declare_queue(exclusive=True, auto_delete=True, arguments=QUEUE)
    await ear.bind(bell)
    await ear.consume(heard, no_ack=True)
    return bell


def _told(broker: Broker, error: Exception) -> NotifierError:
    return refused(broker) if rabbitmq.refuses(error) else unreached(broker, error)


async def _close(connection: AbstractConnection) -> None:
    await shortly(connection.close, CLOSE_S)
