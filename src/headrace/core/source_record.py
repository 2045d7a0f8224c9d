"""What is known of one source: its bookmarks, and how the processes that take from it say that they stand."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.core.message import Bookmark


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """What became of the messages that the processes of now have taken.

    `letters` fit their task not; `unnamed` have no id by which a repeat could be known.
    """

    taken: int = 0
    repeated: int = 0
    letters: int = 0
    unnamed: int = 0

    @property
    def unnamed_share(self) -> float:
        """Which part of the new ones, from 0 to 1."""
        return self.unnamed / self.taken if self.taken else 0.0

    @property
    def repeated_share(self) -> float:
        """Which part of all, from 0 to 1."""
        seen = self.taken + self.repeated
        return self.repeated / seen if seen else 0.0


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source. `task` and `queue` are known where it is defined; `state` is None where nobody takes from it.

    `why` says what it waits for. `taken_age_s` is how long ago it last took something.
    """

    name: str
    task: str | None = None
    queue: str | None = None
    state: str | None = None
    why: str = ""
    processes: int = 0
    counts: SourceCounts = SourceCounts()
    bookmarks: Mapping[str, Bookmark] = field(default_factory=dict[str, Bookmark])
    taken_age_s: float | None = None
