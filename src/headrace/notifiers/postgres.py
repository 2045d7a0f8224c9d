"""Hints between processes by way of PostgreSQL's LISTEN and NOTIFY.

A process that has started keeps one connection for it, apart from the store's: on it, it listens, and says what its
own threads publish. A first hint goes out at once, and what comes within the next milliseconds in one NOTIFY, which
carries nothing but hints: NOTIFY takes a lock that all databases of a server share.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple, cast

import asyncpg

from headrace.core.errors import NotifierError
from headrace.notifiers.listeners import EVERYTHING, KINDS, Listeners, concerns
from headrace.notifiers.outbox import Outbox, read, written
from headrace.notifiers.postgres_line import NOBODY, Line, channel_of, connect, happens
from headrace.ports.notifier import Hint, Listener

logger = logging.getLogger(__name__)

GATHER_S: Final = 0.005
PROBE_EVERY_S: Final = 30.0
RETRY_S: Final = 0.05
RETRY_MAX_S: Final = 5.0
FLUSH_S: Final = 1.0


class PostgresNotifier:
    """A bell for all processes that use one schema of one database.

    Between `start` and `stop` it reconnects by itself, and rings every listener when it hears again, for it can't know
    what it missed; hints that could not be sent meanwhile follow then. Before `start` and after `stop` publishing
    reaches nobody, and others find by polling what it told of: a connection needs an event loop to live on, and who
    enqueues has started its notifier with its store.
    """

    def __init__(self, url: str, schema: str = "headrace", *, rng: random.Random | None = None) -> None:
        """Nothing is opened; `url` should lead past a pooler that lends its sessions by transaction."""
        self._url: Final = url
        self._channel: Final = channel_of(schema)
        self._name: Final = secrets.token_hex(8)
        self._rng: Final = rng or random.Random()  # noqa: S311 - jitter
        self._listeners: Final = Listeners()
        self._outbox: Final = Outbox()
        self._keeper: _Keeper | None = None

    @property
    def working(self) -> bool:
        """Whether hints of other processes are known to be heard here, by a probe less than a minute ago."""
        return self._keeper is not None and self._keeper.working

    async def start(self) -> None:
        """Begin to connect and to hear, on the running loop; does not wait for the server."""
        loop = asyncio.get_running_loop()
        if self._keeper is not None and self._keeper.loop is loop:
            return
        await self.stop()
        self._listeners.hear_on(loop)
        self._keeper = _Keeper(self._open, self._listeners, self._outbox, self._rng)

    async def stop(self) -> None:
        """Send what waits, if the server is there, and let go of the connection."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.stop()
        self._listeners.hear_on(None)
        self._outbox.clear()

    def publish(self, hints: Iterable[Hint]) -> None:
        """Ring in this process at once, and soon in every other."""
        wanted = frozenset(hints)
        self._listeners.ring(wanted)
        keeper = self._keeper
        if keeper is not None and self._outbox.add(wanted):
            try:
                keeper.loop.call_soon_threadsafe(keeper.send)
            except RuntimeError:  # that loop is closed, and the connection with it
                self._outbox.clear()

    def spoken(self, hints: Iterable[Hint]) -> tuple[str, str] | None:
        """Channel and message for `pg_notify` on another connection; None: what is published goes out by ours."""
        if self._keeper is not None and self._keeper.connected:
            return None
        return self._channel, f"{NOBODY} {written(hints)}"

    def riding(self, hints: Iterable[Hint]) -> "Ride | None":
        """What lets hints go out with a transaction of the store's that is about to be committed, a round trip earlier.

        None: they are to be published, since others wait to go out or have just done so, or nobody hears.
        """
        keeper = self._keeper
        if keeper is None or not keeper.working or self._outbox or not keeper.rides():
            return None
        return Ride(self._channel, f"{self._name} {written(hints)}", partial(self._listeners.ring, frozenset(hints)))

    def wants(self, prefix: str) -> bool:
        """True while it is started: who listens elsewhere cannot be known."""
        kinds = [kind for kind in KINDS if concerns(prefix, kind)]
        return self._keeper is not None or not self._listeners.kinds().isdisjoint(kinds)

    def subscribe(self, prefixes: tuple[str, ...], listener: Listener) -> Callable[[], None]:
        """Call `listener` on the loop of `start`; both this and its end are called on that loop."""
        subscription = self._listeners.add(prefixes, listener)
        return lambda: self._listeners.remove(subscription)

    async def _open(self) -> Line:
        return Line(self._url, await connect(self._url), self._channel, self._name, self._listeners.call)


class Ride(NamedTuple):
    """Channel and message for `pg_notify`; `landed` rings in this process, and is called after the commit."""

    channel: str
    message: str
    landed: Callable[[], None]


class _Keeper:
    """Keeps a line open on one event loop, until `stop`."""

    def __init__(
        self, open_line: Callable[[], Awaitable[Line]], listeners: Listeners, outbox: Outbox, rng: random.Random
    ) -> None:
        """Begin, on the running loop."""
        self.loop: Final = asyncio.get_running_loop()
        self.working = False
        self.connected = False
        self._open: Final = open_line
        self._listeners: Final = listeners
        self._outbox: Final = outbox
        self._rng: Final = rng
        self._due: Final = asyncio.Event()  # something waits to be sent
        self._idle: Final = asyncio.Event()  # all of it has been sent
        self._idle.set()
        self._stopping: Final = asyncio.Event()
        self._away = False  # the last attempt to connect has failed
        self._failures = 0
        self._ridden_at = 0.0
        self._complained: Final[set[str]] = set()
        self._task: Final = self.loop.create_task(self._run(), name="headrace-notifier")

    def send(self) -> None:
        """Something waits in the outbox; called on the loop."""
        self._idle.clear()
        self._due.set()

    def rides(self) -> bool:
        """Whether hints may go out by another way now: as seldom as messages do."""
        now = self.loop.time()
        if now < self._ridden_at + GATHER_S:
            return False
        self._ridden_at = now
        return True

    async def stop(self) -> None:
        """Send what waits, within a second, and end; on another loop than its own, only have it end."""
        if self.loop is not asyncio.get_running_loop():
            with suppress(RuntimeError):  # that loop is closed, and what ran on it has ended
                self.loop.call_soon_threadsafe(self._task.cancel)
            return
        self._stopping.set()
        if not self._away:
            if self._outbox:
                self.send()
            await happens(self._idle, FLUSH_S)
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        """Be connected, again and again."""
        while True:
            try:
                await self._stay()
            except Exception as error:  # noqa: BLE001 - whatever it is, polling goes on and so does this
                self._complain("there is no connection for hints, and polling has to do: %s", _why(error))
            self._away = True
            self._idle.set()  # a stop need not wait
            delay_s = min(RETRY_MAX_S, RETRY_S * 2.0 ** min(self._failures, 10)) * self._rng.uniform(0.5, 1.0)
            self._failures += 1
            if await happens(self._stopping, delay_s):
                return

    async def _stay(self) -> None:
        """Connect, and send and listen until that ends."""
        line = await self._open()
        try:
            self._away = False
            self.connected = True
            if self._outbox:
                self.send()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send(line))
                await self._watch(line)
        finally:
            self.connected = False
            deaf, self.working = self.working, False
            await line.close()
            if deaf:
                self._listeners.call(EVERYTHING)  # from now on they look for themselves

    async def _send(self, line: Line) -> None:
        """Send what waits, at most one message in `GATHER_S`."""
        while True:
            await self._due.wait()
            self._due.clear()
            message = self._outbox.take()
            try:
                if message:
                    await line.say(message)
            except BaseException:
                self._outbox.add(read(message))
                raise
            if not self._outbox:
                self._idle.set()
            await happens(self._stopping, GATHER_S)

    async def _watch(self, line: Line) -> None:
        """Probe whether others are heard, again and again.

        Raises:
            NotifierError: the connection is of no more use.
        """
        while not await line.hears():
            self._failures = 0
            self._complain(
                "LISTEN does not work here, as behind a pooler that lends its sessions by transaction, and polling has"
                " to do, which is slower: set HEADRACE_LISTEN_URL to a URL of the server itself"
            )
            await self._pause(line)
        self._failures = 0
        self.working = True
        if self._complained:
            logger.info("hints of other processes are heard again")
            self._complained.clear()
        self._listeners.call(EVERYTHING)
        await self._pause(line)
        while await line.echoes():
            await self._pause(line)
        raise NotifierError("the server no longer answers")

    async def _pause(self, line: Line) -> None:
        if await happens(line.lost, PROBE_EVERY_S):
            raise NotifierError("the server has closed it")

    def _complain(self, message: str, *args: object) -> None:
        """Warn, once until it works again."""
        if message not in self._complained:
            self._complained.add(message)
            logger.warning(message, *args)


def _why(error: BaseException) -> str:
    """An error in words that carry no password: those of the server and of the system, else its name."""
    if isinstance(error, BaseExceptionGroup):
        return _why(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    if isinstance(error, NotifierError | OSError | asyncpg.PostgresError):
        return str(error) or type(error).__name__
    return type(error).__name__
