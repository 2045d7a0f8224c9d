"""The proof of life of a process: an advisory lock on a session that does nothing else.

The session ends with the process, however it ended, and the lock with it; neighbours look for it
every 0.2 s or so. Nobody waits on the lock, since a waiter would hold vacuum back. Where a
transaction pooler stands in between no session is ours, and leases alone tell.
"""

import asyncio
import contextlib
import logging
import secrets
from typing import Any, Final

import asyncpg

from headrace.stores.postgres.faults import ERRORS
from headrace.stores.postgres.loop_pool import CONNECT_S

logger = logging.getLogger(__name__)

CLASS: Final = 0x48724C66  # the first key of each such lock
_TAKE: Final = "SELECT pg_try_advisory_lock($1, $2)"


class Holder:
    """One per store that registers workers; on the loop that registers and renews."""

    def __init__(self, url: str) -> None:
        """Nothing is held yet."""
        self._url = url
        self._key = secrets.randbelow(2**31 - 1) + 1
        self._connection: asyncpg.Connection[Any] | None = None
        self._taking = asyncio.Lock()
        self._again: asyncio.Task[int | None] | None = None
        self._closed = False

    async def key(self) -> int | None:
        """The second key of the lock, which is held now; None: it cannot be had, so the lease alone counts."""
        if self._connection is not None and not self._connection.is_closed():
            return self._key
        async with self._taking:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._take()
        return None if self._connection is None else self._key

    async def _take(self) -> "asyncpg.Connection[Any] | None":
        try:
            connection = await asyncpg.connect(
                self._url,
                timeout=CONNECT_S,
                command_timeout=CONNECT_S,
                server_settings={"application_name": "headrace lease"},
            )
        except ERRORS as error:
            logger.warning("no session for the proof of life (%s); the lease alone keeps the workers", error)
            return None
        with contextlib.suppress(*ERRORS):
            if await connection.fetchval(_TAKE, CLASS, self._key):
                connection.add_termination_listener(self._lost)
                return connection
        connection.terminate()  # its last session may not have ended yet
        return None

    def _lost(self, _: object) -> None:
        """The session ended and this process has not: it is made anew at once, before neighbours draw conclusions."""
        if not self._closed:
            self._again = asyncio.get_running_loop().create_task(self.key())

    async def close(self) -> None:
        """Let go."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            with contextlib.suppress(*ERRORS):
                await connection.close(timeout=1.0)
