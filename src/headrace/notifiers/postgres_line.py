"""One connection to PostgreSQL on which a process says hints and hears those of others.

Whether it hears is tried out, never assumed: behind a pooler that lends its sessions for one transaction at a time,
LISTEN succeeds and nothing ever comes.
"""

import asyncio
import hashlib
import re
import secrets
from contextlib import suppress
from typing import Final, TypeAlias

import asyncpg

from headrace.notifiers.talk import Talk

APPLICATION: Final = "headrace notifier"  # what an operator sees in pg_stat_activity
CONNECT_S: Final = 10.0
ANSWER_S: Final = 10.0
CLOSE_S: Final = 1.0

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class PostgresLine:
    """A `keeper.Line` over LISTEN and NOTIFY."""

    deaf = (
        "LISTEN does not work here, as behind a pooler that lends its sessions by transaction, and polling has"
        " to do, which is slower: set HEADRACE_LISTEN_URL to a URL of the server itself"
    )

    def __init__(self, url: str, connection: Connection, channel: str, talk: Talk) -> None:
        """`connection` leads to `url`."""
        self._url: Final = url
        self._connection: Final = connection
        self._channel: Final = channel
        self._talk: Final = talk
        self._busy: Final = asyncio.Lock()  # a connection answers one question at a time
        self._listens = False
        connection.add_termination_listener(lambda _: talk.end())

    async def close(self) -> None:
        """Let go of the connection, politely if the server still answers."""
        await _close(self._connection)

    async def say(self, text: str) -> None:
        """Send it to every process that listens."""
        async with self._busy:
            await self._notify(self._connection, text)

    async def hears(self) -> float | None:
        """Listen, and after how many seconds what a second connection says is heard here.

        A pooler that lends its sessions gives itself away before that, in most cases: then nothing listens, for that
        session is of use to others and would be woken by every hint.
        """
        other = await connect(self._url)
        try:
            if await self._lent(other):
                return None
            await self._listen()
            echo_s = await self._talk.answers(lambda probe: self._notify(other, probe))
            if echo_s is None:
                await self._unlisten()
            return echo_s
        finally:
            await _close(other)

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
        self._talk.take(str(payload))

    async def _notify(self, connection: Connection, text: str) -> None:
        # No parameters: NOTIFY takes none, and what stands here has no quotes.
        await connection.execute(f"NOTIFY \"{self._channel}\", '{text}'")


async def connect(url: str) -> Connection:
    """A connection for a line."""
    return await asyncpg.connect(
        url,
        timeout=CONNECT_S,
        command_timeout=ANSWER_S,
        statement_cache_size=0,  # a session of a pool does not know what another has prepared
        server_settings={"application_name": APPLICATION},
    )


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
    talk = Talk(secrets.token_hex(8), lambda _: None)
    line = PostgresLine(url, await connect(url), f"{channel_of('headrace')}_probe", talk)
    try:
        return await line.hears() is not None
    finally:
        await line.close()
