"""How late an event loop is, and what the live feeds that it serves give up for it: they are the first to.

A request that waits for a loop is not answered; an update that comes a second later is still one. So under pressure
readers are told of news more rarely, and get more of it at a time; in the end no further readers are let in.
Watched only while there are readers.
"""

import asyncio
import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import Context
from typing import Final

from headrace.core.ladder import Climber, Ladder, Level
from headrace.ports.clock import Clock

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.25
LADDER: Final = Ladder(
    (
        Level("sparing", enter=0.2, leave=0.05, rise=1.0, fall=5.0),
        Level("closed", enter=1.0, leave=0.2, rise=3.0, fall=5.0),
    )
)
_PACES_S: Final = (0.0, 1.0, 3.0)  # by level: how far apart readers are told of news
_GIVEN_UP: Final = (
    "nothing is given up any more",
    "readers are told of news once a second",
    "readers are told of news every 3 s, and further ones are asked to come back",
)


class Pressure:
    """Of one event loop: the one on which `watched` is entered first."""

    def __init__(self, clock: Clock) -> None:
        """None."""
        self._clock = clock
        self._climber = Climber(LADDER)
        self._readers = 0
        self._watching: asyncio.Task[None] | None = None
        self._lock = threading.Lock()  # a process may serve from several loops

    @property
    def level(self) -> int:
        """How much is given up: 0 nothing, 1 news at once, 2 further readers too."""
        return self._climber.level if self._alive else 0

    @property
    def _alive(self) -> bool:
        return self._watching is not None and not self._watching.get_loop().is_closed()

    @property
    def pace_s(self) -> float:
        """How far apart readers are told of news; 0: at once."""
        return _PACES_S[self.level]

    @property
    def closed(self) -> bool:
        """Whether no further reader is let in."""
        return self.level == len(LADDER.levels)

    @contextmanager
    def watched(self) -> Generator[None]:
        """While there is a reader."""
        with self._lock:
            self._readers += 1
            if not self._alive:
                self._climber = Climber(LADDER)
                self._watching = asyncio.get_running_loop().create_task(self._watch(), context=Context())
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1

    async def _watch(self) -> None:
        """Look until nobody reads and nothing is given up."""
        try:
            while self._readers or self.level:
                began = self._clock.now()
                await self._clock.sleep(LOOK_EVERY_S)
                now = self._clock.now()
                self._look(now, now - began - LOOK_EVERY_S)
        finally:
            self._watching = None

    def _look(self, now: float, late_s: float) -> None:
        before = self.level
        level = self._climber.observe(now, late_s)
        if level != before:
            logger.log(
                logging.WARNING if level > before else logging.INFO,
                "live feeds: the event loop is %.2f s late; %s",
                late_s,
                _GIVEN_UP[level],
            )
