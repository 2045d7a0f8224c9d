"""How long a source was taken from, by all its processes together: a clock that stands still while nobody does.

Invariant: it never runs faster than the store's, so who is older than a window by it has been for a window of taking.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

PARTS: Final = 16
"""So many marks in a window: what is to be forgotten is, by a part of it late."""


@dataclass(frozen=True, slots=True)
class Mark:
    """At this instant of the store, it had been taken from for so long."""

    at: float
    taken_s: float


@dataclass(frozen=True, slots=True)
class Consumed:
    """How far the clock has come, up to when it was told, and where it stood earlier."""

    taken_s: float = 0.0
    told_at: float = 0.0
    marks: tuple[Mark, ...] = ()

    def after(self, spans: Sequence[tuple[float, float]], window_s: float) -> "Consumed":
        """When a process tells from when to when it took messages; what others told already is not counted again."""
        taken_s, told_at = self.taken_s, self.told_at
        for begin, end in spans:
            taken_s += max(0.0, end - max(begin, told_at))
            told_at = max(told_at, end)
        marks = self.marks
        if spans and (not marks or taken_s - marks[-1].taken_s >= window_s / PARTS):
            marks = (*marks, Mark(told_at, taken_s))
        old = sum(mark.taken_s <= taken_s - window_s for mark in marks)
        return Consumed(taken_s, told_at, marks[max(0, old - 1) :])

    def past(self, window_s: float) -> float | None:
        """The latest instant known since which it was taken from for a whole window; None: there is none."""
        return max((mark.at for mark in self.marks if mark.taken_s <= self.taken_s - window_s), default=None)

    def document(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "taken_s": self.taken_s,
            "told_at": self.told_at,
            "marks": [[mark.at, mark.taken_s] for mark in self.marks],
        }

    @classmethod
    def read(cls, document: Mapping[str, Any] | None) -> "Consumed":
        """What was kept; None: nothing."""
        if document is None:
            return cls()
        marks = tuple(Mark(at, taken_s) for at, taken_s in document["marks"])
        return cls(document["taken_s"], document["told_at"], marks)
