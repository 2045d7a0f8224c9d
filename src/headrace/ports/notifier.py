"""Hints between processes. A notifier may lose, repeat, reorder and delay them; nothing depends on it.

A hint is a short text: `queue:<name>` (something may be claimable), `queue:*` (in any queue),
`job:<32 hex digits>` (its feed grew), `job:*` (many did), `cancel` (a running job should stop),
`upstream` (a breaker turned).
"""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

Hint: TypeAlias = str
Listener: TypeAlias = Callable[[frozenset[Hint]], None]


class Notifier(Protocol):
    """A bell. Publishing never blocks, never raises, and may be done from any thread."""

    @property
    def working(self) -> bool:
        """Whether hints of other processes are known to arrive here now; who listens is rung when that ends."""
        ...

    async def start(self) -> None:
        """Begin to hear; without it, publishing alone works."""
        ...

    async def stop(self) -> None:
        """Stop hearing and let go of files and connections."""
        ...

    def publish(self, hints: Iterable[Hint]) -> None:
        """Ring for these hints, at most once each."""
        ...

    def wants(self, prefix: str) -> bool:
        """Whether anybody, in any process, may be listening for hints that start so.

        May say True wrongly; says False only when publishing them is certainly useless.
        """
        ...

    def subscribe(self, prefixes: tuple[str, ...], listener: Listener) -> Callable[[], None]:
        """Call `listener` on the event loop of `start` with hints that start with one of `prefixes`.

        Returns what ends the subscription.
        """
        ...
