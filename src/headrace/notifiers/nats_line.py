"""One connection to NATS, subscribed to one subject; core NATS, which keeps nothing."""

import asyncio
from typing import Any, Final

from nats.aio.client import Client
from nats.errors import Error as NatsError

from headrace.clients import nats
from headrace.clients.closing import finished
from headrace.core.broker import Broker
from headrace.core.errors import NotifierError
from headrace.notifiers.faults import refused, unreached
from headrace.notifiers.keeper import OpenLine
from headrace.notifiers.talk import Talk

CONNECT_S: Final = 5.0
CLOSE_S: Final = 1.0


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
        await nats.close(self._client, CLOSE_S)

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
                await nats.connect(client, broker, "headrace notifier", CONNECT_S, trouble=trouble, lost=lost)
        except BaseException as error:
            await finished(nats.close(client, CLOSE_S))
            if isinstance(error, NatsError | OSError):
                raise _told(broker, [error, *troubles]) from None
            raise
        return NatsLine(broker, client, place, talk)

    return open_line


def _told(broker: Broker, errors: list[Exception]) -> NotifierError:
    return refused(broker) if nats.refuses(errors) else unreached(broker, errors[-1])
