"""What an attempt's context writes to.

Invariant: whatever goes through it is guarded by `(job, fence)`.
"""

from typing import Protocol

from headrace.core.event import Event
from headrace.core.model import Json, UpdateKind


class Channel(Protocol):
    """Where an attempt's context writes to: the worker's own, a pipe, or a test's record."""

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop."""
        ...

    @property
    def lease_lost(self) -> bool:
        """Whether its writes are refused from now on."""
        ...

    def progress(self, data: Json) -> None:
        """Note the latest progress; never blocks. On the channel's own loop, if it has one."""
        ...

    async def emit(self, kind: UpdateKind, data: Json, key: str | None) -> int:
        """Add an item or a log line; the feed's offset once it is durable, or -1: the feed is full."""
        ...

    async def succeed(self, result: object, using: object | None) -> None:
        """Settle as succeeded, now and for good."""
        ...

    async def check(self) -> None:
        """Refuse, by an exception, unless the attempt runs: before what is written elsewhere on its behalf."""
        ...

    async def publish(self, event: Event, using: object | None) -> None:
        """Put an event into its outbox, once for its id; with `using`, in that transaction."""
        ...
