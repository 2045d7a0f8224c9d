"""How a connection outlives messages that its client cannot read.

A broker carries whatever properties a publisher wrote: a timestamp that no calendar has, a media type that is not
UTF-8. The client gives the connection up at such a message, which would then stop its queue for ever. So once that has
happened, what comes is looked at before the client sees it, and such a message loses its properties.
"""

import asyncio
import logging
from typing import Any, Final

import pamqp.frame
from aiormq import connection as client

from headrace.core.errors import BridgeRefused

_HEADER: Final = 2
_HEAD_BYTES: Final = 6
_FLAGS: Final = slice(12, 14)
logger = logging.getLogger(__name__)


def careful_transport(*, tls: bool) -> dict[str, Any]:
    """What a connection is made with.

    Raises:
        BridgeRefused: the client is too old for it.
    """
    if not hasattr(client, "TransportFactory"):
        raise BridgeRefused("a message has properties that this aiormq cannot read: update aio-pika, or move it away")
    inner = client.TLSTransportFactory() if tls else client.TCPTransportFactory()

    class Careful(client.TransportFactory):
        async def create(self, url: Any, **options: Any) -> tuple[Any, asyncio.StreamWriter]:
            reader, writer = await inner.create(url, **options)
            return _Reader(reader), writer

    return {"transport_factory": Careful()}


class _Reader:
    """A stream of frames as the client reads it: one byte of the kind, six of the head, and the rest."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._kind = self._head = b""

    def at_eof(self) -> bool:
        return self._reader.at_eof()

    async def read(self, count: int = -1) -> bytes:
        return await self._reader.read(count)

    async def readexactly(self, count: int) -> bytes:
        found = await self._reader.readexactly(count)
        if not self._kind:
            self._kind = found
        elif not self._head:
            self._head = found
        else:
            kind, head, self._kind, self._head = self._kind, self._head, b"", b""
            if kind[0] == _HEADER and not _is_readable(kind + head + found):
                logger.warning("a message has properties that cannot be read, and is taken without them")
                return found[: _FLAGS.start] + bytes(2) + found[_FLAGS.stop :]
        return found


def _is_readable(frame: bytes) -> bool:
    try:
        pamqp.frame.unmarshal(frame)
    except Exception:  # noqa: BLE001 - whatever it is, the client would not live through it
        return False
    return True
