"""Hints that wait to be sent, and how many of them become one short message.

Invariant: what waits fits into one message of at most `MESSAGE_BYTES_MAX`; where it does not, one hint for a whole kind
takes the place of many.
"""

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

from headrace.notifiers.listeners import EVERYTHING, kind_of, whole
from headrace.ports.notifier import Hint

MESSAGE_BYTES_MAX: Final = 7_000  # PostgreSQL takes a little less than 8,000
HINTS_MAX: Final = 180


class Outbox:
    """What is to be sent next; filled from any thread."""

    def __init__(self) -> None:
        self._hints: set[Hint] = set()
        self._lock: Final = threading.Lock()

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._hints)

    def add(self, hints: Iterable[Hint]) -> bool:
        """Add hints; whether nothing had waited before."""
        with self._lock:
            first = not self._hints
            self._hints.update(hint for hint in hints if whole(kind_of(hint)) not in self._hints)
            while len(self._hints) > HINTS_MAX:
                (kind, _), *_ = Counter(map(kind_of, self._hints)).most_common(1)
                self._hints = _gathered(self._hints, kind)
            return first and bool(self._hints)

    def take(self) -> str:
        """All that waits as one message of printable ASCII without quotes; empty if nothing does."""
        with self._lock:
            hints, self._hints = self._hints, set()
        return written(hints)

    def clear(self) -> None:
        """Forget what waits."""
        with self._lock:
            self._hints.clear()


def written(hints: Iterable[Hint]) -> str:
    """Hints as one message."""
    left = set(hints)
    for kind in ("job", "queue"):
        message = _joined(left)
        if len(message) <= MESSAGE_BYTES_MAX:
            return message
        left = _gathered(left, kind)
    message = _joined(left)
    return message if len(message) <= MESSAGE_BYTES_MAX else _joined(EVERYTHING)


def read(message: str) -> frozenset[Hint]:
    """The hints of a message."""
    return frozenset(unquote(word) for word in message.split())


def _joined(hints: Iterable[Hint]) -> str:
    return " ".join(sorted(quote(hint, safe=":*", errors="replace") for hint in hints))


def _gathered(hints: set[Hint], kind: str) -> set[Hint]:
    """One hint for all of a kind, if there are any."""
    others = {hint for hint in hints if kind_of(hint) != kind}
    return hints if len(others) == len(hints) else others | {whole(kind)}
