"""What a mutant is, and what it means to find one."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum

from tests.simulation.mutants.edits import Change

READS = "what is read afterwards"


class Finder(StrEnum):
    """Who finds it."""

    SIM = "simulator"
    MODEL = "model"

    @property
    def unit(self) -> str:
        """What it tries one after the other."""
        return "seeds" if self is Finder.SIM else "walks"


@dataclass(frozen=True)
class Mutant:
    """A safeguard, how it is removed, and what that breaks.

    `promises` are what may be named when it is found: the simulator's invariants, or the verbs whose
    answers differ from the model's. `bound` counts seeds or walks, from the first on.
    """

    name: str
    safeguard: str
    changes: tuple[Change, ...]
    finder: Finder
    bound: int
    promises: frozenset[str]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Work without the safeguard for now."""
        with ExitStack() as stack:
            for change in self.changes:
                stack.enter_context(change.applied())
            yield


def sim(name: str, safeguard: str, *changes: Change, bound: int, breaks: tuple[str, ...]) -> Mutant:
    """A mutant that the simulator finds."""
    return Mutant(name, safeguard, changes, Finder.SIM, bound, frozenset(breaks))


def model(name: str, safeguard: str, *changes: Change, bound: int, breaks: tuple[str, ...]) -> Mutant:
    """A mutant that the model check finds."""
    return Mutant(name, safeguard, changes, Finder.MODEL, bound, frozenset(breaks))
