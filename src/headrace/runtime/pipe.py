"""JSON lines over a socket between a process and its child."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Mapping
from typing import Any, Final

LINE_BYTES_MAX: Final = 64 * 1024 * 1024  # far above any argument or result that a setting allows
Message = dict[str, Any]


class Pipe:
    """One end. A peer that is gone shows as the end of what is received, never as an error."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use `open`."""
        self._reader: Final = reader
        self._writer: Final = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> "Pipe":
        """Take over a connected socket, on the running loop."""
        sock.setblocking(False)
        return cls(*await asyncio.open_connection(sock=sock, limit=LINE_BYTES_MAX))

    @staticmethod
    def encode(message: Mapping[str, object]) -> bytes:
        """A message as it goes over the socket."""
        return json.dumps(message, separators=(",", ":")).encode() + b"\n"

    def send(self, message: Mapping[str, object]) -> None:
        """Queue a message."""
        if not self._writer.is_closing():
            self._writer.write(self.encode(message))

    @property
    def clear(self) -> bool:
        """Whether all that was sent has left, so that there is room for what may wait."""
        return not self._writer.is_closing() and not self._writer.transport.get_write_buffer_size()

    async def receive(self) -> Message | None:
        """The next message; None: the peer is gone."""
        try:
            line = await self._reader.readuntil()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            return None
        message: Message = json.loads(line)
        return message

    async def flush(self) -> None:
        """Wait until what was sent has left, or the peer is gone."""
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def close(self) -> None:
        """Let go of the socket; what was queued may be lost. Idempotent."""
        self._writer.close()

    async def closed(self) -> None:
        """Wait until the socket is closed, after `close`."""
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
