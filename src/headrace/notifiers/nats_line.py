"""One connection to NATS, subscribed to one subject; core NATS, which keeps nothing.

The client's own reconnecting is off: while it is at it, what is published fills a buffer or is lost without a word.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Final

from nats.aio.client import Client
from nats.errors import Error as NatsError

from headrace.core.broker import Broker
from headrace.core.errors import NotifierError
from headrace.notifiers.faults import refused, unreached
from headrace.notifiers.keeper import OpenLine
from headrace.notifiers.talk import Talk, finished, shortly

CONNECT_S: Final = 5.0
CLOSE_S: Final = 1.0
PING_S: Final = 5


class NatsLine:
    """A `keeper.Line` over PUB and SUB."""

    deaf = ""

    def __init__(self, broker: Broker, client: Any, subject: str, talk: Talk) -> None:
        """`client` is connected."""
        self._broker: Final = broker
        self._client: Final[Any] = client
        self._subject: Final = subject
        self._talk: Final = talk
        self._listens = False

    async def say(self, text: str) -> None:
        """Publish it."""
        try:
            await self._client.publish(self._subject, text.encode("ascii", "replace"))
        except NatsError as error:
            raise unreached(self._broker, error) from None

    async def hears(self) -> float | None:
        """Subscribe, and after how many seconds a probe comes back."""
        if not self._listens:
            await self._client.subscribe(self._subject, cb=self._on_message)
            self._listens = True
        return await self._talk.answers(self.say)

    async def close(self) -> None:
        """Let go of the connection."""
        await _close(self._client)

    async def _on_message(self, message: Any) -> None:
        self._talk.take(message.data.decode("ascii", "replace"))


def opens(broker: Broker, place: str) -> OpenLine:
    """How to connect."""

    async def open_line(talk: Talk) -> NatsLine:
        troubles: list[Exception] = []

        async def trouble(error: Exception) -> None:
            troubles.append(error)

        async def lost() -> None:
            talk.end()

        client: Any = Client()  # its types are unknown in part
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.connect(
                    [f"{'tls' if broker.tls else 'nats'}://{server}" for server in broker.servers],
                    name="headrace notifier",
                    user=broker.user,
                    password=broker.password,
                    tls=ssl.create_default_context() if broker.tls else None,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=int(CONNECT_S),
                    ping_interval=PING_S,
                    max_outstanding_pings=2,
                    pending_size=-1,
                    error_cb=trouble,
                    closed_cb=lost,
                    disconnected_cb=lost,
                )
        except BaseException as error:
            await finished(_close(client))
            if isinstance(error, NatsError | OSError):
                raise _told(broker, [error, *troubles]) from None
            raise
        return NatsLine(broker, client, place, talk)

    return open_line


def _told(broker: Broker, errors: list[Exception]) -> NotifierError:
    if any("authorization" in str(error).lower() for error in errors):
        return refused(broker)
    return unreached(broker, errors[-1])


async def _close(client: Any) -> None:
    await shortly(client.close, CLOSE_S)
    transport: Any = getattr(client, "_transport", None)
    with suppress(Exception):  # it could not write what was left
        transport._io_writer.transport.abort()  # noqa: SLF001 - there is no other way
