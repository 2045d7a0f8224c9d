"""What one process says on a bell, and what it makes of all that comes back.

Everybody on a bell hears everything, himself too. So a process knows by the echo of a probe whether it hears and how
long that takes, and by the echoes of its messages how many of them are still out.

A message is one line of printable ASCII without quotes: `<sender> #<number> <hints>` or `<sender> ?<probe>`.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from headrace.core.errors import NotifierError
from headrace.notifiers.listeners import EVERYTHING
from headrace.notifiers.outbox import read
from headrace.ports.notifier import Hint

ECHO_S: Final = 2.0
SAY_S: Final = 5.0
NOBODY: Final = "-"  # the sender of what was said on another connection: everybody hears it
_PROBE: Final = "?"
_NUMBER: Final = "#"
_DIGITS_MAX: Final = 18


class Talk:
    """One process on one connection to a bell."""

    def __init__(
        self, name: str, heard: Callable[[frozenset[Hint]], None], now: Callable[[], float] | None = None
    ) -> None:
        """`name` tells this process from others, whose hints are `heard`; `now` measures echoes."""
        self._name: Final = name
        self._heard: Final = heard
        self._now: Final = now or asyncio.get_running_loop().time
        self._said = 0
        self._back = 0  # the last of ours that has come back, or is known to be lost
        self._came: Final = asyncio.Event()
        self.ended = False
        self.stirred: Final = asyncio.Event()  # somebody should look at this connection now
        self._asked = ""
        self._answered: Final = asyncio.Event()

    def end(self) -> None:
        """The connection has ended by itself; called on its loop."""
        self.ended = True
        self.stirred.set()

    def miss(self) -> None:
        """Something was not heard: all look for themselves."""
        self._heard(EVERYTHING)

    @property
    def out(self) -> int:
        """How many messages have been said whose echo has not come."""
        return self._said - self._back

    async def say(self, say: Callable[[str], Awaitable[None]], message: str) -> None:
        """Say the next message of hints.

        Raises:
            NotifierError: it is not taken.
        """
        self._said += 1
        await within(SAY_S, say(f"{self._name} {_NUMBER}{self._said} {message}"))

    def take(self, text: str) -> None:
        """Something was heard."""
        sender, _, message = text.partition(" ")
        first, _, rest = message.partition(" ")
        number = _number(first)
        if sender != self._name:
            if not message.startswith(_PROBE):
                self._heard(read(message if number is None else rest))
        elif number is not None:
            self._is_back(number)
        elif message == self._asked:
            self._answered.set()

    async def comes(self, within_s: float) -> bool:
        """Wait for an echo of any message; whether one has come."""
        self._came.clear()
        return await happens(self._came, within_s)

    async def answers(self, ask: Callable[[str], Awaitable[None]]) -> float | None:
        """After how many seconds a probe comes back that `ask` says; None: it does not.

        What was said before it and has not come back by then is lost, and no longer out.
        """
        self._asked = f"{_PROBE}{secrets.token_hex(8)}"
        self._answered.clear()
        began, before = self._now(), self._said
        await within(SAY_S, ask(f"{self._name} {self._asked}"))
        if not await happens(self._answered, ECHO_S):
            return None
        self._is_back(before)
        return self._now() - began

    def _is_back(self, number: int) -> None:
        self._back = max(self._back, min(number, self._said))
        self._came.set()


async def within(most_s: float, saying: Awaitable[None]) -> None:
    """Do it in so much time.

    Raises:
        NotifierError: it takes longer.
    """
    try:
        async with asyncio.timeout(most_s):
            await saying
    except TimeoutError as error:
        raise NotifierError("the server no longer answers") from error


async def happens(event: asyncio.Event, within_s: float) -> bool:
    """Wait for an event; whether it has come."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()


def _number(word: str) -> int | None:
    digits = word.removeprefix(_NUMBER)
    return int(digits) if word != digits and digits.isdecimal() and len(digits) <= _DIGITS_MAX else None
