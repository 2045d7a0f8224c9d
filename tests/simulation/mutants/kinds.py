"""What a mutant is, and what it means to find one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from headrace.testing.sim import World
from headrace.testing.sim.scenario import FaultKind, Scenario
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


Worlds: TypeAlias = Callable[[Scenario], bool]


def every_world(_: Scenario) -> bool:
    """It may show anywhere."""
    return True


def where_any(*kinds: FaultKind) -> Worlds:
    """Worlds that suffer one of these."""
    return lambda scenario: any(scenario.has(kind) for kind in kinds)


def limited(scenario: Scenario) -> bool:
    """Worlds whose tasks have limits."""
    return bool(scenario.limits)


def ordered(scenario: Scenario) -> bool:
    """Worlds with an ordered task."""
    return any(limit.ordered for limit in scenario.limits)


Befalls: TypeAlias = Callable[[World], None]


def nothing_more(_: World) -> None:
    """What the seed draws is enough."""


def lost_answers(world: World) -> None:
    """Every third answer is lost after its commit, whatever the seed draws."""
    world.server.answer_lost = 0.33


def endless_answers(world: World) -> None:
    """Every third answer comes late or never, whatever the seed draws."""
    world.server.hangs = 0.33


def busy_people(world: World) -> None:
    """Jobs are cancelled and queues held all the time, whatever the seed draws."""
    world.scenario.faults.update({FaultKind.CANCELS: 1.0, FaultKind.HOLDS: 1.0})


ZOMBIES = where_any(FaultKind.LONG_PAUSE, FaultKind.FREEZE, FaultKind.PARTITION)
CRASHES = where_any(FaultKind.WORKER_CRASH, FaultKind.POISON)


@dataclass(frozen=True)
class Mutant:
    """A safeguard, how it is removed, and what that breaks.

    `promises` are what may be named when it is found: the simulator's invariants, or the verbs whose
    answers differ from the model's. `bound` counts seeds or walks, from the first on. Seeds of which
    `worlds` says that nothing could show there are counted and not run; `befalls` makes the others worse.
    """

    name: str
    safeguard: str
    changes: tuple[Change, ...]
    finder: Finder
    bound: int
    promises: frozenset[str]
    worlds: Worlds = every_world
    befalls: Befalls = nothing_more
    upstreams: bool = False  # in worlds with upstreams; else in worlds without
    strained: bool = False  # and the same of worlds that bear too much
    slow: bool = False  # it takes more than 4 s of a processor to be found: hunted at night

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Work without the safeguard for now."""
        with ExitStack() as stack:
            for change in self.changes:
                stack.enter_context(change.applied())
            yield


def sim(
    name: str,
    safeguard: str,
    *changes: Change,
    bound: int,
    breaks: tuple[str, ...],
    worlds: Worlds = every_world,
    befalls: Befalls = nothing_more,
    upstreams: bool = False,
    strained: bool = False,
    slow: bool = False,
) -> Mutant:
    """A mutant that the simulator finds."""
    return Mutant(
        name, safeguard, changes, Finder.SIM, bound, frozenset(breaks), worlds, befalls, upstreams, strained, slow
    )


def model(
    name: str, safeguard: str, *changes: Change, bound: int, breaks: tuple[str, ...], slow: bool = False
) -> Mutant:
    """A mutant that the model check finds."""
    return Mutant(name, safeguard, changes, Finder.MODEL, bound, frozenset(breaks), slow=slow)
