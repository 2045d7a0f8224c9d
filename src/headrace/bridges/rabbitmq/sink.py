"""Exchanges of RabbitMQ as a sink: confirmed by the broker, and returned by it where no queue would have them."""

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from struct import error as StructError  # noqa: N812 - a class
from typing import Any, Final

from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity, DeliveryError, PublishError

from headrace.bridges import faults
from headrace.bridges.rabbitmq.connection import answers, close, connect, reply_of, told, words_of
from headrace.bridges.rabbitmq.messages import properties_of
from headrace.clients.closing import finished
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError
from headrace.core.event import Outgoing, route_of
from headrace.core.relay_events import Confirmed, Deferred, Refused, Unsent
from headrace.ports.bridge import SinkEnd

ENDED: Final = "the connection is closed"
_SIZE: Final = re.compile(r"message size (\d+) is larger than")
_NAMED: Final = re.compile(r"exchange '([^']*)'")

_route: Final = lru_cache(1024)(route_of)


class RabbitmqSink:
    """Publishes events; the target of one is what `routed` makes."""

    def __init__(self, broker: Broker) -> None:
        """Not connected."""
        self._broker: Final = broker
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._known: Final = {""}  # exchanges that were there; the first always is
        self._preparing: asyncio.Task[tuple[AbstractChannel, set[str]]] | None = None
        self._looks: Final[dict[str, asyncio.Task[bool]]] = {}
        self._flying: Final[set[asyncio.Task[SinkEnd]]] = set()
        self._closed = False

    @property
    def one_per_key(self) -> bool:
        """Confirmations come in any order."""
        return True

    async def send(self, events: Sequence[Outgoing], tell: Callable[[SinkEnd], None]) -> None:
        """Publish all of them; their ends come when the broker says them."""
        left = {out.place: out for out in events}
        why = ENDED
        try:
            if not self._closed:
                channel, missing = await self._prepared({_route(out.event.target)[0] for out in events})
                flying, left = left, {}
                for out in flying.values():
                    exchange = _route(out.event.target)[0]
                    if exchange in missing:
                        tell(Refused(out.place, self._no_exchange(exchange)))
                    else:
                        self._fly(channel, out, tell)
        except BridgeError as error:
            why = str(error)
        except asyncio.CancelledError:
            preparing = self._preparing
            if preparing is None or not preparing.cancelled():  # it is not by a reset
                if preparing is not None:
                    preparing.cancel()
                raise
        finally:
            self._preparing = None
            if left:
                tell(Unsent(tuple(left), why))

    async def reset(self) -> None:
        """Leave the connection."""
        connection, self._connection, self._channel = self._connection, None, None
        under_way = [*self._flying, *self._looks.values(), *([] if self._preparing is None else [self._preparing])]
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)
        if connection is not None:
            await close(connection)

    async def close(self) -> None:
        """Leave it for good."""
        self._closed = True
        await self.reset()

    # -- connecting ---------------------------------------------------------------------------------

    async def _prepared(self, exchanges: set[str]) -> tuple[AbstractChannel, set[str]]:
        """A channel, and those of the exchanges that are not there."""
        if self._channel is not None and not self._channel.is_closed and exchanges <= self._known:
            return self._channel, set()
        self._preparing = asyncio.get_running_loop().create_task(self._prepare(exchanges))
        await asyncio.wait([self._preparing])
        return self._preparing.result()

    async def _prepare(self, exchanges: set[str]) -> tuple[AbstractChannel, set[str]]:
        channel = await self._ready()
        return channel, {exchange for exchange in exchanges - self._known if await self._is_missing(exchange)}

    async def _ready(self) -> AbstractChannel:
        """A channel that was open a moment ago.

        Raises:
            BridgeError: there is none.
        """
        if self._channel is not None and not self._channel.is_closed:
            return self._channel
        if self._connection is None or self._connection.is_closed:
            self._connection = await connect(self._broker, "headrace sink")
            self._known.intersection_update({""})
        connection = self._connection
        try:
            async with answers(self._broker):
                self._channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        except BaseException:
            if self._connection is connection:
                self._connection = None
            await finished(close(connection))
            raise
        return self._channel

    async def _is_missing(self, exchange: str) -> bool:
        """Whether there is no such exchange: to publish to it would end the channel for all that is under way."""
        if self._connection is None:
            raise faults.lost(self._broker)
        async with answers(self._broker):
            channel = await self._connection.channel(publisher_confirms=False)
            try:
                await channel.exchange_declare(exchange, passive=True)
            except ChannelNotFoundEntity:
                return True
            await channel.close()
        self._known.add(exchange)
        return False

    # -- publishing ---------------------------------------------------------------------------------

    def _fly(self, channel: AbstractChannel, out: Outgoing, tell: Callable[[SinkEnd], None]) -> None:
        def ended(task: asyncio.Task[SinkEnd]) -> None:
            self._flying.discard(task)
            tell(Unsent((out.place,), ENDED) if task.cancelled() else task.result())

        task = asyncio.get_running_loop().create_task(self._publish(channel, out))
        self._flying.add(task)
        task.add_done_callback(ended)

    async def _publish(self, channel: AbstractChannel, out: Outgoing) -> SinkEnd:
        event = out.event
        exchange, routing_key = _route(event.target)
        publish: Any = channel.basic_publish  # its abstract type does not know `wait`
        try:
            await publish(
                event.body,
                exchange=exchange,
                routing_key=routing_key,
                properties=properties_of(event),
                mandatory=True,
                wait=False,
            )
        except PublishError:
            return await self._returned(out, exchange, routing_key)
        except DeliveryError:  # a queue that is full, or one that is just coming back
            return Deferred(
                (out.place,), f"a queue of {self._broker.shown} takes nothing for now: {exchange or routing_key}"
            )
        except (ValueError, TypeError, StructError) as error:
            return Refused(out.place, f"it cannot be a message of RabbitMQ: {error}")
        except Exception as error:  # noqa: BLE001 - whatever a client says of a connection that is gone
            return self._closed_over(out, exchange, routing_key, error)
        return Confirmed((out.place,))

    def _full(self, out: Outgoing, where: str) -> Deferred:
        return Deferred((out.place,), f"a queue of {self._broker.shown} takes nothing for now: {where}")

    def _no_exchange(self, exchange: str) -> str:
        return f"there is no exchange {exchange} at {self._broker.shown}: declare it"

    async def _returned(self, out: Outgoing, exchange: str, routing_key: str) -> SinkEnd:
        """No queue would have it; one that the broker has just begun to bring back will."""
        shown = self._broker.shown
        if exchange:
            return Refused(
                out.place,
                f"no queue is bound to the exchange {exchange} at {shown} for the routing key {routing_key!r}",
            )
        look = self._looks.get(routing_key)
        if look is None:
            look = self._looks[routing_key] = asyncio.get_running_loop().create_task(self._is_nowhere(routing_key))
            look.add_done_callback(lambda _: self._looks.pop(routing_key, None))
        if await asyncio.shield(look):
            return Refused(out.place, f"there is no queue {routing_key} at {shown}: declare it")
        return self._full(out, routing_key)

    async def _is_nowhere(self, queue: str) -> bool:
        """Whether there is no such queue, as far as one can know."""
        connection = self._connection
        if connection is None:
            return False
        with suppress(BridgeError):
            async with answers(self._broker):
                channel = await connection.channel(publisher_confirms=False)
                try:
                    await channel.queue_declare(queue, passive=True)
                except ChannelNotFoundEntity as error:
                    return words_of(str(error)).startswith("no queue")
                await channel.close()
        return False

    def _closed_over(self, out: Outgoing, exchange: str, routing_key: str, error: Exception) -> SinkEnd:
        """What an error of the channel means for one of those that were under way: it names the one that it is for."""
        reply = reply_of(error)
        words = words_of(reply)
        size, named = _SIZE.search(words), _NAMED.search(words)
        if size is not None and int(size[1]) == len(out.event.body):
            return Refused(out.place, f"{self._broker.shown} says: {words}")
        if named is not None and named[1] == exchange and reply.startswith(("NOT_FOUND", "ACCESS_REFUSED")):
            topic = re.search(r"topic '([^']*)'", words)
            self._known.discard(exchange)
            if topic is None or topic[1] == routing_key:
                return Refused(out.place, f"{self._broker.shown} says: {words}")
        return Unsent((out.place,), str(told(self._broker, error)))
