"""A listener that remembers."""

import asyncio

from headrace.ports.notifier import Hint


class Ear:
    def __init__(self) -> None:
        self.calls: list[frozenset[Hint]] = []
        self.rang = asyncio.Event()

    def __call__(self, hints: frozenset[Hint]) -> None:
        self.calls.append(hints)
        self.rang.set()

    @property
    def heard(self) -> set[Hint]:
        return set[Hint]().union(*self.calls)

    def times(self, hint: Hint) -> int:
        """How many calls had it."""
        return sum(hint in call for call in self.calls)

    async def hears(self, *hints: Hint, times: int = 1) -> None:
        async with asyncio.timeout(15):
            while any(self.times(hint) < times for hint in hints):
                self.rang.clear()
                await self.rang.wait()
