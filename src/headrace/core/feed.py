"""Feed positions and the merge of history with live updates.

Invariant: offsets of one feed have no gap. Whoever sees one reads the store; whoever holds a
position of another epoch, or past the end, takes a snapshot.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from headrace.core.errors import PositionLost
from headrace.core.model import Update, UpdateKind

_POSITION = re.compile(r"([0-9a-z]{1,32}):(0|[1-9][0-9]{0,17})", re.ASCII)


@dataclass(frozen=True, slots=True, order=False)
class Position:
    """A place in a feed: `offset` counts within `epoch`, which changes when history was lost."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        """The opaque text that clients keep."""
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read what `str` wrote.

        Raises:
            PositionLost: the text is no position.
        """
        match = _POSITION.fullmatch(text)
        if match is None:
            raise PositionLost("this is not a position of a Headrace feed")
        return cls(match[1], int(match[2]))

    def resumes(self, epoch: str, end: int) -> bool:
        """Whether a feed of `epoch` that ends at `end` can go on from here."""
        return self.epoch == epoch and self.offset <= end


def merge(after: int, history: Iterable[Update], live: Iterable[Update]) -> list[Update] | None:
    """History and live updates after offset `after`, each once, in order; None where a gap shows.

    Of progress only the latest is kept, at the place where it was made, and only if no state that
    came later ended its attempt.
    """
    numbered: dict[int, Update] = {}
    progress: Update | None = None
    for update in (*history, *live):
        if update.kind is UpdateKind.PROGRESS:
            if progress is None or (update.offset, update.at) >= (progress.offset, progress.at):
                progress = update
        elif update.offset > after:
            numbered.setdefault(update.offset, update)
    merged = [numbered[offset] for offset in sorted(numbered)]
    end = after + len(merged)
    if merged and (merged[0].offset != after + 1 or merged[-1].offset != end):
        return None
    if progress is None or progress.offset < after:
        return merged
    if progress.offset > end:
        return None
    place = progress.offset - after
    if not any(update.kind in _STATES for update in merged[place:]):
        merged.insert(place, progress)
    return merged


_STATES = frozenset({UpdateKind.STATE, UpdateKind.END})
