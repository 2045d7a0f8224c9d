"""An optional side of a store: what holds back the vacuum that clears its deleted rows away.

Where nothing clears them away, every claim wades through them. A store without such a vacuum does not have this.
"""

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

LAGGARD_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Laggard:
    """Something that keeps an old snapshot, so that no row deleted since then can be cleared away."""

    name: str  # what it is, in words: the session 4711 (psql of ann, idle in transaction)
    age_s: float | None  # of its transaction, where that is known
    transactions: int  # begun since its snapshot
    remedy: str  # the statement that ends it, or what to do

    def __str__(self) -> str:
        begun = "" if self.age_s is None else f", begun {self.age_s:.0f} s ago"
        return f"{self.name}{begun}, {self.transactions} transactions behind"


@runtime_checkable
class Vacuumed(Protocol):
    """A store that knows what holds its vacuum back."""

    async def laggards(self, older_than_s: float) -> list[Laggard]:
        """Whatever has kept a snapshot for longer, the furthest behind first.

        What tells no time is here if it is very far behind, or if it will never go on by itself.
        """
        ...
