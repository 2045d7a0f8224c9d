"""What the producer asks of a peer: put one job in, put many in, and make what it needs first."""

import asyncio
from collections.abc import Sequence


class AsyncClient:
    """A peer that is awaited."""

    bulk = 100
    """Jobs to a call of `many`."""

    async def prepare(self) -> None:
        """Make the tables."""

    async def open(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def one(self, task: str, n: float) -> None:
        raise NotImplementedError

    async def many(self, task: str, numbers: Sequence[float]) -> None:
        """The documented bulk call; where there is none, as many single ones together."""
        await asyncio.gather(*[self.one(task, n) for n in numbers])


class SyncClient:
    """A peer that blocks; concurrent callers are threads."""

    bulk = 100
    threads = 8

    def close(self) -> None:
        """Say goodbye: what was sent without confirmation may else be lost with the process."""
        raise NotImplementedError

    def one(self, task: str, n: float) -> None:
        raise NotImplementedError

    def many(self, task: str, numbers: Sequence[float]) -> None:
        """The documented bulk call; where there is none, one after the other."""
        for n in numbers:
            self.one(task, n)
