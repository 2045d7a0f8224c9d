"""Bells for tests: one that remembers what it heard, and one that does its worst.

hr = Headrace("sqlite:///jobs.db", notifier=LossyNotifier(LocalNotifier(None), random.Random(7), drop=1.0))
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from headrace.ports.notifier import Health, Hint, Listener, Notifier


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        """It has heard nothing."""
        self.calls: list[frozenset[Hint]] = []
        self._rang: Final = asyncio.Event()

    def __call__(self, hints: frozenset[Hint]) -> None:
        """Remember."""
        self.calls.append(hints)
        self._rang.set()

    @property
    def heard(self) -> set[Hint]:
        """All that it has ever heard."""
        return set[Hint]().union(*self.calls)

    def times(self, hint: Hint) -> int:
        """How many calls had it."""
        return sum(hint in call for call in self.calls)

    async def hears(self, *hints: Hint, times: int = 1, within_s: float = 15.0) -> None:
        """Wait until every one of them was heard so often."""
        async with asyncio.timeout(within_s):
            while any(self.times(hint) < times for hint in hints):
                self._rang.clear()
                await self._rang.wait()


class LossyNotifier:
    """A notifier whose hints are dropped, repeated, delayed and so reordered on their way to who listens here."""

    def __init__(
        self,
        inner: Notifier,
        rng: random.Random,
        *,
        drop: float = 0.0,
        repeat: float = 0.0,
        delay_s: float = 0.0,
        working: bool | None = None,
    ) -> None:
        """`drop` and `repeat` are probabilities, `delay_s` the longest delay; `working` is what it says of itself."""
        self._inner: Final = inner
        self._rng: Final = rng
        self._drop: Final = drop
        self._repeat: Final = repeat
        self._delay_s: Final = delay_s
        self._working: Final = working
        self.dropped = 0
        """How many calls of listeners there were not."""

    @property
    def working(self) -> bool:
        """As it was told to say, or as the one behind it."""
        return self._inner.working if self._working is None else self._working

    @property
    def health(self) -> Health:
        """As the one behind it."""
        return replace(self._inner.health, working=self.working)

    async def start(self) -> None:
        """As the one behind it."""
        await self._inner.start()

    async def stop(self) -> None:
        """As the one behind it."""
        await self._inner.stop()

    def publish(self, hints: Iterable[Hint]) -> None:
        """As the one behind it."""
        self._inner.publish(hints)

    def wants(self, prefix: str) -> bool:
        """As the one behind it."""
        return self._inner.wants(prefix)

    def subscribe(self, prefixes: tuple[str, ...], listener: Listener) -> Callable[[], None]:
        """Call `listener` less often than it should be called, more often, late and out of order."""

        def heard(hints: frozenset[Hint]) -> None:
            for hint in sorted(hints):
                self._carry(hint, listener)

        return self._inner.subscribe(prefixes, heard)

    def _carry(self, hint: Hint, listener: Listener) -> None:
        if self._rng.random() < self._drop:
            self.dropped += 1
            return
        for _ in range(1 + (self._rng.random() < self._repeat)):
            if self._delay_s:
                delay_s = self._rng.uniform(0.0, self._delay_s)
                asyncio.get_running_loop().call_later(delay_s, listener, frozenset({hint}))
            else:
                listener(frozenset({hint}))
