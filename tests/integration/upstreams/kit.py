"""A service that fails when it is told to, and counts; and the members of a fleet."""

import asyncio
from dataclasses import dataclass, field

from headrace import Headrace
from headrace.core.fleet import BreakerState


class DownError(Exception):
    """What the service's own library raises."""


@dataclass
class Service:
    """Called by everybody in this process."""

    down: bool = False
    takes_s: float = 0.0
    calls: int = 0
    failed: int = 0
    under_way: int = 0
    most: int = 0
    began: list[float] = field(default_factory=list[float])
    held: asyncio.Event | None = None  # if there is one, calls end when it is set

    async def call(self) -> None:
        """One call."""
        self.calls += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.began.append(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(self.takes_s)
            if self.held is not None:
                await self.held.wait()
            if self.down:
                self.failed += 1
                raise DownError("the bank is down")
        finally:
            self.under_way -= 1


@dataclass
class Fleet:
    """Several Headraces on one store."""

    url: str
    members: list[Headrace] = field(default_factory=list[Headrace])

    def join(self) -> Headrace:
        """One more."""
        self.members.append(Headrace(self.url))
        return self.members[-1]


async def state_of(hr: Headrace, name: str = "bank") -> BreakerState | None:
    """The fleet's state."""
    return next((each.state for each in await hr.upstreams() if each.name == name), None)
