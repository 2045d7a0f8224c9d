"""Hints between processes by way of PostgreSQL's LISTEN and NOTIFY.

A process that has started keeps one connection for it, apart from the store's: on it, it listens, and says what its
own threads publish. A NOTIFY carries nothing but hints: it takes a lock that all databases of a server share.
"""

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, NamedTuple

import asyncpg

from headrace.notifiers.keeper import Line
from headrace.notifiers.kept import KeptNotifier
from headrace.notifiers.outbox import written
from headrace.notifiers.postgres_line import PostgresLine, channel_of, connect
from headrace.notifiers.talk import NOBODY, Talk
from headrace.ports.notifier import Hint


class Ride(NamedTuple):
    """Channel and message for `pg_notify`; `landed` rings in this process, and is called after the commit."""

    channel: str
    message: str
    landed: Callable[[], None]


class PostgresNotifier(KeptNotifier):
    """A bell for all processes that use one schema of one database."""

    plain = (asyncpg.PostgresError,)

    def __init__(
        self,
        url: str,
        schema: str = "headrace",
        *,
        rng: random.Random | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        """Nothing is opened; `url` should lead past a pooler that lends its sessions by transaction."""
        super().__init__("postgres", rng=rng, now=now)
        self._url: Final = url
        self._channel: Final = channel_of(schema)

    def spoken(self, hints: Iterable[Hint]) -> tuple[str, str] | None:
        """Channel and message for `pg_notify` on another connection; None: what is published goes out by ours."""
        if self._keeper is not None and self._keeper.connected:
            return None
        return self._channel, f"{NOBODY} {written(hints)}"

    def riding(self, hints: Iterable[Hint]) -> Ride | None:
        """What lets hints go out with a transaction of the store's that is about to be committed, a round trip earlier.

        None: they are to be published, since others wait to go out or have just done so, or nobody hears.
        """
        keeper = self._keeper
        if keeper is None or self._outbox or not keeper.rides():
            return None
        return Ride(self._channel, f"{self._name} {written(hints)}", partial(self._listeners.ring, frozenset(hints)))

    async def _open(self, talk: Talk) -> Line:
        return PostgresLine(self._url, await connect(self._url), self._channel, talk)
