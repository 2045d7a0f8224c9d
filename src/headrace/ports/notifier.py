"""Hints between processes. A notifier may lose, repeat, reorder and delay them; nothing depends on it.

A hint is a short text: `queue:<name>` (something may be claimable), `queue:*` (in any queue),
`job:<32 hex digits>` (its feed grew), `job:*` (many did), `sink:<name>` (an event waits
in its outbox), `sink:*`, `cancel` (a running job should stop), `upstream` (a breaker turned).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Hint: TypeAlias = str
Listener: TypeAlias = Callable[[frozenset[Hint]], None]


@dataclass(frozen=True, slots=True)
class Health:
    """How well hints of other processes arrive here, as far as that is felt; in words without passwords."""

    kind: str
    working: bool | None  # None: it is never known
    echo_s: float | None = None  # how long the last probe took to come back
    trouble: str | None = None


class Notifier(Protocol):
    """A bell. Publishing never blocks, never raises, and may be done from any thread."""

    @property
    def working(self) -> bool:
        """Whether hints of other processes are known to arrive here now; who listens is rung when that ends."""
        ...

    @property
    def health(self) -> Health:
        """`working`, and what more is known; for people."""
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
