"""Who listens in this process, and how they are rung from any thread: what every notifier does the same way.

Invariant: listeners are called on one event loop only, that of `hear_on`.
"""

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from headrace.ports.notifier import Hint, Listener

KINDS: Final = ("queue", "job", "sink", "cancel", "upstream")
PLAIN: Final = frozenset({"cancel", "upstream"})  # kinds of one hint
MANY_JOBS: Final = "job:*"
EVERYTHING: Final = frozenset({"queue:*", MANY_JOBS, "sink:*", *PLAIN})  # all listeners look for themselves


def kind_of(hint: Hint) -> str:
    """What a hint is about, one of `KINDS`."""
    return hint.partition(":")[0]


def whole(kind: str) -> Hint:
    """The hint that stands for every one of its kind."""
    return kind if kind in PLAIN else f"{kind}:*"


def concerns(prefix: str, kind: str) -> bool:
    """Whether a hint of this kind may start so."""
    return kind.startswith(prefix) or kind_of(prefix) == kind


@dataclass(slots=True, eq=False)
class Subscription:
    """One listener and the hints that it wants."""

    prefixes: tuple[str, ...]
    listener: Listener
    kinds: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.kinds = frozenset(kind for kind in KINDS if any(concerns(prefix, kind) for prefix in self.prefixes))

    def matching(self, hints: frozenset[Hint]) -> frozenset[Hint]:
        """Those of the hints that it wants; one for a whole kind is for all who want any of it."""
        found = frozenset(hint for hint in hints if hint.startswith(self.prefixes))
        return found | (hints & {whole(kind) for kind in self.kinds})


class Listeners:
    """The subscriptions of one process."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._all: tuple[Subscription, ...] = ()
        self._pending: set[Hint] = set()
        self._lock: Final = threading.Lock()

    def hear_on(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Call them on this loop from now on, or not at all."""
        self.loop = loop
        if loop is None:
            with self._lock:
                self._pending.clear()

    def add(self, prefixes: tuple[str, ...], listener: Listener) -> Subscription:
        """Call `listener` too, until `remove`."""
        subscription = Subscription(prefixes, listener)
        self._all += (subscription,)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """End a subscription; nothing if it has ended."""
        self._all = tuple(each for each in self._all if each is not subscription)

    def kinds(self) -> frozenset[str]:
        """The kinds that somebody wants."""
        return frozenset[str]().union(*(subscription.kinds for subscription in self._all))

    def ring(self, hints: Iterable[Hint]) -> None:
        """Have them called soon, from any thread; many rings may be one call."""
        loop = self.loop
        if loop is None or not self._all:
            return
        with self._lock:
            scheduled = bool(self._pending)
            self._pending.update(hints)
        if scheduled:
            return
        try:
            loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # that loop is closed: nobody hears any more
            with self._lock:
                self._pending.clear()

    def call(self, hints: frozenset[Hint]) -> None:
        """Call them at once, on their loop."""
        for subscription in self._all:
            if found := subscription.matching(hints):
                subscription.listener(found)

    def _deliver(self) -> None:
        with self._lock:
            hints, self._pending = frozenset(self._pending), set()
        self.call(hints)
