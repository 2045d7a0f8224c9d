"""Keeps a connection to a bell open, and hints going over it, whatever the bell is made of.

Whether it hears is tried out by probes, never assumed. A first hint goes out at once, and what comes within the next
milliseconds in one message. Of those at most `WINDOW` are out whose echo has not come, while it hears: behind them
hints become one hint for a whole kind, so that no bell ever holds a second backlog.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Final, Protocol, TypeAlias, cast

from headrace.clients.closing import finished
from headrace.core.errors import NotifierError
from headrace.notifiers.listeners import EVERYTHING, Listeners
from headrace.notifiers.outbox import Outbox, read
from headrace.notifiers.talk import Talk, happens

logger = logging.getLogger(__name__)

GATHER_S: Final = 0.005
RETRY_S: Final = 0.05
RETRY_MAX_S: Final = 5.0
FLUSH_S: Final = 1.0
WINDOW: Final = 4
STEP_S: Final = 0.05  # an echo that is not back by then may be lost


class Line(Protocol):
    """One connection to a bell, until it is closed.

    It hands to its `Talk` whatever it hears, and tells it when it ends by itself. Its errors are `NotifierError`s in
    words without passwords, or any other, of which only the name is told.
    """

    @property
    def deaf(self) -> str:
        """What a person should know when `hears` is None; empty: another connection is tried."""
        ...

    async def say(self, text: str) -> None:
        """Send it to every process that listens, this one too."""
        ...

    async def hears(self) -> float | None:
        """Listen, and after how many seconds what a process says is heard here; None: it is not."""
        ...

    def close(self) -> Coroutine[None, None, None]:
        """Let go of it, within about a second, whatever state it is in; never raises."""
        ...


OpenLine: TypeAlias = Callable[[Talk], Awaitable[Line]]


class Keeper:
    """Keeps a line open on one event loop, until `stop`."""

    def __init__(
        self,
        open_line: OpenLine,
        talk: Callable[[], Talk],
        listeners: Listeners,
        outbox: Outbox,
        *,
        rng: random.Random,
        probe_every_s: float,
        listens: bool = True,
        plain: tuple[type[Exception], ...] = (),
    ) -> None:
        """Begin, on the running loop; each line has a `talk` of its own. The words of `plain` errors may be told."""
        self.loop: Final = asyncio.get_running_loop()
        self.working = False
        self.connected = False
        self.echo_s: float | None = None
        self.trouble: str | None = "not connected yet"
        self._open: Final = open_line
        self._talk: Final = talk
        self._listeners: Final = listeners
        self._outbox: Final = outbox
        self._rng: Final = rng
        self._probe_every_s: Final = probe_every_s
        self._listens: Final = listens
        self._plain: Final = plain
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
        """Something waits in the outbox; called on the loop. A turn later: what a worker starts comes first."""
        self._idle.clear()
        self.loop.call_soon(self._due.set)

    def rides(self) -> bool:
        """Whether hints may go out by another way now: as seldom as messages do."""
        now = self.loop.time()
        if not self.working or now < self._ridden_at + GATHER_S:
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
        while not self._task.done():  # a client may take a cancel for its own
            self._task.cancel()
            await asyncio.wait([self._task], timeout=FLUSH_S)

    async def _run(self) -> None:
        """Be connected, again and again."""
        while True:
            try:
                await self._stay()
            except Exception as error:  # noqa: BLE001 - whatever it is, polling goes on and so does this
                self.trouble = why(error, self._plain)
                self._complain("there is no connection for hints, and polling has to do: %s", self.trouble)
            self._away = True
            self._idle.set()  # a stop need not wait
            delay_s = min(RETRY_MAX_S, RETRY_S * 2.0 ** min(self._failures, 10)) * self._rng.uniform(0.5, 1.0)
            self._failures += 1
            if await happens(self._stopping, delay_s):
                return

    async def _stay(self) -> None:
        """Connect, and send and listen until that ends."""
        talk = self._talk()
        line = await self._open(talk)
        try:
            self._away = False
            self.connected = True
            if self._outbox:
                self.send()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send(line, talk))
                await self._watch(line, talk)
        finally:
            self.connected = False
            deaf, self.working = self.working, False
            self.echo_s = None
            await finished(line.close())
            if deaf:
                self._listeners.call(EVERYTHING)  # from now on they look for themselves

    async def _send(self, line: Line, talk: Talk) -> None:
        """Send what waits, at most one message in `GATHER_S`."""
        while True:
            await self._due.wait()
            if self.working and talk.out >= WINDOW and not await talk.comes(STEP_S):
                talk.stirred.set()  # and one more goes out: a bell that loses echoes does not make us mute
            self._due.clear()
            message = self._outbox.take()
            try:
                if message:
                    await talk.say(line.say, message)
            except BaseException:
                self._outbox.add(read(message))
                raise
            if not self._outbox:
                self._idle.set()
            await happens(self._stopping, GATHER_S)

    async def _watch(self, line: Line, talk: Talk) -> None:
        """Probe whether others are heard, again and again.

        Raises:
            NotifierError: the connection is of no more use.
        """
        while not self._listens:
            self.trouble = None
            await self._pause(talk)
        while (echo_s := await line.hears()) is None:
            if not line.deaf:
                raise NotifierError("it is connected, but what it says does not come back")
            self._failures = 0
            self.trouble = line.deaf
            self._complain(line.deaf)
            await self._pause(talk)
        self._failures = 0
        self.echo_s, self.trouble, self.working = echo_s, None, True
        if self._complained:
            logger.info("hints of other processes are heard again")
            self._complained.clear()
        self._listeners.call(EVERYTHING)
        while True:
            await self._pause(talk)
            if (echo_s := await talk.answers(line.say)) is None:
                raise NotifierError("the server no longer answers")
            self.echo_s = echo_s

    async def _pause(self, talk: Talk) -> None:
        """Wait until it is time for the next probe, or an echo is missing.

        Raises:
            NotifierError: the connection has ended.
        """
        await happens(talk.stirred, self._probe_every_s)
        if talk.ended:
            raise NotifierError("the server has closed it")
        talk.stirred.clear()

    def _complain(self, message: str, *args: object) -> None:
        """Warn, once until it works again."""
        if message not in self._complained:
            self._complained.add(message)
            logger.warning(message, *args)


def why(error: BaseException, plain: tuple[type[Exception], ...] = ()) -> str:
    """An error in words that carry no password: ours, those of the system and of `plain` ones, else its name."""
    if isinstance(error, BaseExceptionGroup):
        return why(cast("BaseExceptionGroup[BaseException]", error).exceptions[0], plain)
    if isinstance(error, (NotifierError, OSError, *plain)):
        return str(error) or type(error).__name__
    return type(error).__name__
