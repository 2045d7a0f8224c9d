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

    Progress is kept only if nothing newer supersedes it: the last one, at the place it was made.
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
    if merged and (merged[0].offset != after + 1 or merged[-1].offset != after + len(merged)):
        return None
    if progress is not None:
        end = merged[-1].offset if merged else after
        if progress.offset > end:
            return None
        if progress.offset == end and not (merged and merged[-1].kind is UpdateKind.END):
            merged.append(progress)
    return merged
