"""A queue of RabbitMQ as a source."""

from typing import Final, Protocol

from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelLockedResource, ChannelNotFoundEntity, ChannelPreconditionFailed

from headrace.bridges.rabbitmq.connection import answers, close, connect, words_of
from headrace.bridges.rabbitmq.link import RabbitmqLink, Taking
from headrace.bridges.rabbitmq.order import has_single_consumer
from headrace.clients.closing import finished
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError, BridgeRefused, BridgeUnavailable
from headrace.ports.bridge import SourceLink, Stand


class Queue(Protocol):
    """A queue; with `declare` it is made where there is none, and bound to the exchange if one is named."""

    @property
    def queue(self) -> str | None:
        """Its name."""
        ...

    @property
    def exchange(self) -> str:
        """Empty: the queue is reached by its name."""
        ...

    @property
    def routing_key(self) -> str | None:
        """None: the queue's name."""
        ...

    @property
    def declare(self) -> bool:
        """Whether to make it."""
        ...

    @property
    def prefetch(self) -> int:
        """How many messages are given out before any is acknowledged."""
        ...


class RabbitmqSource:
    """Messages of one queue.

    With `ordered` one consumer at a time has them: the exclusive one, or that which a queue with a single active
    consumer has chosen. Others stand by.
    """

    def __init__(self, broker: Broker, queue: Queue, name: str, *, ordered: bool = False) -> None:
        """Not connected."""
        self._broker: Final = broker
        self._queue: Final = queue
        self._taking: Final = Taking(name, queue.queue or "", queue.prefetch, ordered=ordered)

    @property
    def alone(self) -> bool:
        """The broker sees to it."""
        return False

    async def open(self, stand: Stand) -> SourceLink:  # noqa: ARG002 - the queue counts for us
        """Connect, find or make the queue, and consume it."""
        connection = await connect(self._broker, "headrace source", careful=self._taking.careful)
        try:
            await self._find(connection)
            exclusive = self._taking.ordered and not await self._has_single_consumer(connection)
            link = RabbitmqLink(self._broker, connection, self._taking, exclusive=exclusive)
            await link.begin()
        except BaseException:
            await finished(close(connection))
            raise
        return link

    async def _find(self, connection: AbstractConnection) -> None:
        """See that the queue is there, on a channel of its own, since the broker closes it otherwise."""
        name, broker = self._taking.queue, self._broker
        async with answers(broker):
            channel = await connection.channel(publisher_confirms=False)
            try:
                if self._queue.declare:
                    await channel.queue_declare(name, durable=True)
                    await self._bind(channel)
                else:
                    await channel.queue_declare(name, passive=True)
            except ChannelNotFoundEntity as error:
                raise self._not_found(error) from None
            except ChannelPreconditionFailed as error:
                raise BridgeRefused(
                    f"the queue {name} of {broker.shown} was declared otherwise ({words_of(str(error))}): leave out"
                    " declare=True, or delete the queue"
                ) from None
            except ChannelLockedResource:
                raise BridgeRefused(f"the queue {name} of {broker.shown} is exclusive to another connection") from None
            await channel.close()

    async def _has_single_consumer(self, connection: AbstractConnection) -> bool:
        async with answers(self._broker):
            return await has_single_consumer(connection, self._broker, self._taking.queue)

    async def _bind(self, channel: AbstractChannel) -> None:
        queue = self._queue
        if queue.exchange:
            key = self._taking.queue if queue.routing_key is None else queue.routing_key
            await channel.queue_bind(self._taking.queue, queue.exchange, key)

    def _not_found(self, error: ChannelNotFoundEntity) -> BridgeError:
        name, broker, words = self._taking.queue, self._broker, words_of(str(error))
        if words.startswith("no queue"):
            return BridgeRefused(
                f"there is no queue {name} at {broker.shown}: declare it, or have it made by"
                f" rabbitmq({name!r}, declare=True)"
            )
        if words.startswith("no exchange"):
            return BridgeRefused(f"there is no exchange {self._queue.exchange} at {broker.shown}: declare it")
        return BridgeUnavailable(f"{broker.shown} says: {words}")  # its node is down
