"""One connection to NATS, and what the client's errors mean."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from headrace.bridges import faults
from headrace.clients import nats
from headrace.clients.closing import finished
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError, BridgeRefused, BridgeUnavailable

_js: Final[Any] = import_module("nats.js.errors")  # its types are unknown in part
NotFoundError: Final[type[Exception]] = _js.NotFoundError
APIError: Final[Any] = _js.APIError

CONNECT_S: Final = 5.0
ANSWER_S: Final = 5.0
CLOSE_S: Final = 0.4
TROUBLES_KEPT: Final = 8
UNAVAILABLE: Final = 503


class _Client(Client):
    """A client that reads on whatever a subject is: the server takes any bytes, and this would end its reading."""

    def _build_message(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> Any:
        return super()._build_message(sid, subject.decode("utf-8", "replace").encode(), reply, data, headers)


@dataclass(frozen=True, slots=True)
class Connection:
    """A client that is connected; `ended` is done when it is not any more, by whomever."""

    broker: Broker
    client: Any
    ended: "asyncio.Future[None]"
    troubles: list[Exception]
    deadlines: set[asyncio.Timeout]

    def abort(self) -> None:
        """Close its socket, whatever was to be written."""
        nats.abort(self.client)

    async def close(self) -> None:
        """Let go of it."""
        await nats.close(self.client, CLOSE_S)
        if not self.ended.done():
            self.ended.set_result(None)

    @asynccontextmanager
    async def answers(self) -> AsyncGenerator[None, None]:
        """What is asked of JetStream in it is answered in time; errors of the client are ours.

        Raises:
            BridgeError: it is not, or the answer is an error.
        """
        try:
            async with asyncio.timeout(ANSWER_S) as deadline:
                self.deadlines.add(deadline)
                try:
                    yield
                finally:
                    self.deadlines.remove(deadline)
        except (NatsError, OSError) as error:
            raise self.told(error) from None

    def told(self, error: Exception) -> BridgeError:
        """What an error of the client means."""
        if any(_forbids(trouble) for trouble in self.troubles):
            return faults.refused(self.broker)
        if isinstance(error, TimeoutError):
            return BridgeUnavailable(f"{self.broker.shown} does not answer")
        if isinstance(error, NoRespondersError) or getattr(error, "code", None) == UNAVAILABLE:
            return BridgeUnavailable(f"the JetStream of {self.broker.shown} is off, or not ready yet")
        if isinstance(error, APIError):
            return BridgeRefused(f"{self.broker.shown} refuses: {getattr(error, 'description', None) or error}")
        return faults.lost(self.broker, error)


async def connect(broker: Broker, name: str) -> Connection:
    """A connection.

    Raises:
        BridgeError: there is none.
    """
    troubles: list[Exception] = []
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def trouble(error: Exception) -> None:
        troubles.append(error)
        if connection.client.is_connecting:  # it tries again, and forgets the socket
            connection.abort()
        del troubles[:-TROUBLES_KEPT]
        if _forbids(error):  # which nothing else will answer
            for deadline in connection.deadlines:
                deadline.reschedule(asyncio.get_running_loop().time())

    async def lost() -> None:
        if not ended.done():
            ended.set_result(None)

    connection = Connection(broker, _Client(), ended, troubles, set())
    try:
        async with asyncio.timeout(CONNECT_S):
            await nats.connect(connection.client, broker, name, CONNECT_S, trouble=trouble, lost=lost)
    except BaseException as error:
        await finished(connection.close())
        if isinstance(error, NatsError | OSError):
            raise _unconnected(broker, [error, *troubles]) from None
        raise
    return connection


def _forbids(error: Exception) -> bool:
    return "permissions" in str(error).lower()


def _unconnected(broker: Broker, errors: list[Exception]) -> BridgeError:
    return faults.refused(broker) if nats.refuses(errors) else faults.unreached(broker, errors[-1])
