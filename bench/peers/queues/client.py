"""What the producer asks of a peer: put one job in, put many in, and make what it needs first."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence


class AsyncClient(ABC):
    """A peer that is awaited."""

    bulk = 100
    """Jobs to a call of `many`."""

    async def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Make the tables."""

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def one(self, task: str, n: float) -> None: ...

    async def many(self, task: str, numbers: Sequence[float]) -> None:
        """The documented bulk call; where there is none, as many single ones together."""
        await asyncio.gather(*[self.one(task, n) for n in numbers])


class SyncClient(ABC):
    """A peer that blocks; concurrent callers are threads."""

    bulk = 100
    threads = 8

    @abstractmethod
    def close(self) -> None:
        """Say goodbye: what was sent without confirmation may else be lost with the process."""

    @abstractmethod
    def one(self, task: str, n: float) -> None: ...

    def many(self, task: str, numbers: Sequence[float]) -> None:
        """The documented bulk call; where there is none, one after the other."""
        for n in numbers:
            self.one(task, n)
