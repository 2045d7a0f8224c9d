"""One connection to PostgreSQL on which a process says hints and hears those of others.

Whether it hears is tried out, never assumed: behind a pooler that lends its sessions for one transaction at a time,
LISTEN succeeds and nothing ever comes.
"""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Final, TypeAlias

import asyncpg

from headrace.notifiers.outbox import read
from headrace.ports.notifier import Hint

APPLICATION: Final = "headrace notifier"  # what an operator sees in pg_stat_activity
CONNECT_S: Final = 10.0
ANSWER_S: Final = 10.0
ECHO_S: Final = 2.0
CLOSE_S: Final = 1.0
NOBODY: Final = "-"  # the sender of what was said on another connection: everybody hears it
_PROBE: Final = "?"

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Line:
    """A connection, until it is closed; `lost` is set when it ends by itself."""

    def __init__(
        self, url: str, connection: Connection, channel: str, name: str, heard: Callable[[frozenset[Hint]], None]
    ) -> None:
        """`connection` leads to `url`; `name` tells this process from others, whose hints are `heard`."""
        self._url: Final = url
        self._connection: Final = connection
        self._channel: Final = channel
        self._name: Final = name
        self._heard: Final = heard
        self._busy: Final = asyncio.Lock()  # a connection answers one question at a time
        self._listens = False
        self._asked = ""
        self._answered: Final = asyncio.Event()
        self.lost: Final = asyncio.Event()
        connection.add_termination_listener(lambda _: self.lost.set())

    async def close(self) -> None:
        """Let go of the connection, politely if the server still answers."""
        await _close(self._connection)

    async def say(self, message: str) -> None:
        """Send hints, as an outbox has written them, to every process that listens."""
        async with self._busy:
            await self._notify(self._connection, message)

    async def hears(self) -> bool:
        """Listen, and whether what a second connection says is heard here.

        A pooler that lends its sessions gives itself away before that, in most cases: then nothing listens, for that
        session is of use to others and would be woken by every hint.
        """
        other = await connect(self._url)
        try:
            if await self._lent(other):
                return False
            await self._listen()
            if await self._answers(lambda probe: self._notify(other, probe)):
                return True
            await self._unlisten()
            return False
        finally:
            await _close(other)

    async def echoes(self) -> bool:
        """Whether what this connection says itself still comes back; it must have heard before."""
        return await self._answers(self.say)

    # -- sessions -----------------------------------------------------------------------------------

    async def _lent(self, other: Connection) -> bool:
        """Whether our session serves `other` too, or another one serves us meanwhile."""
        before = await self._session()
        async with other.transaction():
            return await _session(other) == before or await self._session() != before

    async def _session(self) -> int:
        async with self._busy:
            return await _session(self._connection)

    # -- hearing ------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        if not self._listens:
            async with self._busy:
                await self._connection.add_listener(self._channel, self._on_message)
            self._listens = True

    async def _unlisten(self) -> None:
        self._listens = False
        async with self._busy:
            await self._connection.remove_listener(self._channel, self._on_message)

    def _on_message(self, connection: object, pid: int, channel: str, payload: object) -> None:
        del connection, pid, channel
        sender, _, message = str(payload).partition(" ")
        if sender == self._name:
            if message == self._asked:
                self._answered.set()
        elif not message.startswith(_PROBE):
            self._heard(read(message))

    async def _answers(self, ask: Callable[[str], Coroutine[None, None, None]]) -> bool:
        self._asked = f"{_PROBE}{secrets.token_hex(8)}"
        self._answered.clear()
        await ask(self._asked)
        return await happens(self._answered, ECHO_S)

    async def _notify(self, connection: Connection, message: str) -> None:
        # No parameters: NOTIFY takes none, and what stands here has no quotes.
        await connection.execute(f"NOTIFY \"{self._channel}\", '{self._name} {message}'")


async def connect(url: str) -> Connection:
    """A connection for a line."""
    return await asyncpg.connect(
        url,
        timeout=CONNECT_S,
        command_timeout=ANSWER_S,
        statement_cache_size=0,  # a session of a pool does not know what another has prepared
        server_settings={"application_name": APPLICATION},
    )


async def happens(event: asyncio.Event, within_s: float) -> bool:
    """Wait for an event; whether it has come."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()


def channel_of(schema: str) -> str:
    """The channel of an installation: one that every schema has to itself and that needs no escape."""
    if re.fullmatch(r"[a-z0-9_]{1,48}", schema):
        return f"headrace_{schema}"
    return f"headrace_{hashlib.sha256(schema.encode()).hexdigest()[:32]}"


async def _session(connection: Connection) -> int:
    pid: int = await connection.fetchval("SELECT pg_backend_pid()")
    return pid


async def _close(connection: Connection) -> None:
    with suppress(Exception):  # it is aborted then
        await connection.close(timeout=CLOSE_S)


async def probe(url: str) -> bool:
    """Whether what one session says is heard by another, both by this URL."""
    line = Line(url, await connect(url), f"{channel_of('headrace')}_probe", secrets.token_hex(8), lambda _: None)
    try:
        return await line.hears()
    finally:
        await line.close()
