"""Looks for a mutant: runs seeds or walks until a promise is seen broken."""

import logging
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.stores.sqlite import SqliteStore
from headrace.stores.sqlite.chores import Counts
from headrace.testing.conformance import ManualTime
from headrace.testing.conformance.store_model import SETTINGS, WORKERS, StoreWalk
from headrace.testing.sim import Report, World
from headrace.testing.sim.scenario import Scenario, draw
from tests.simulation.mutants.catalogue import CATALOGUE
from tests.simulation.mutants.kinds import READS, Finder, Mutant


@dataclass(frozen=True)
class Hunt:
    """How it went: the promise that was seen broken, by which seed or walk; None: none was, up to the bound."""

    promise: str | None
    detail: str
    tries: int  # seeds or walks, this one included
    wall_s: float

    @property
    def seed(self) -> int:
        """The last one that was tried."""
        return self.tries - 1


def hunt(name: str) -> Hunt:
    """Hunt the mutant of this name."""
    logging.disable(logging.CRITICAL)  # a fleet without a safeguard has much to say
    mutant = CATALOGUE[name]
    began = time.perf_counter()
    with mutant.applied():
        found = by_seeds(mutant) if mutant.finder is Finder.SIM else by_walks(mutant.bound)
    promise, detail, tries = found
    return Hunt(promise, detail, tries, time.perf_counter() - began)


def unharmed(name: str, tries: int) -> str | None:
    """What breaks there without the mutant: in that seed, or in all walks up to that one. None: nothing."""
    logging.disable(logging.CRITICAL)
    mutant = CATALOGUE[name]
    if mutant.finder is Finder.MODEL:
        promise, detail, _ = by_walks(tries)
        return promise and f"{promise}: {detail}"
    broken = live(mutant, tries - 1).violation
    return broken and f"{broken.name}: {broken.detail}"


class Impatient(World):
    """A world that waits less long for what never comes."""

    @property
    def patience_s(self) -> float:
        return min(super().patience_s, PATIENCE * self.scenario.pace_s)


def small(scenario: Scenario) -> bool:
    """Whether its world is run here at all; the large ones take long and show no more."""
    return scenario.jobs <= 60 and scenario.trees * scenario.processes <= 6


def live(mutant: Mutant, seed: int) -> Report:
    """The world of a seed, as this mutant needs it."""
    world = Impatient(seed, upstreams=mutant.upstreams, strained=mutant.strained)
    mutant.befalls(world)
    return world.run()


def by_seeds(mutant: Mutant) -> tuple[str | None, str, int]:
    """Run the simulator's seeds from 0 on."""
    for seed in range(mutant.bound):
        scenario = draw(seed, upstreams=mutant.upstreams, strained=mutant.strained)
        if not small(scenario) or not mutant.worlds(scenario):
            continue
        broken = live(mutant, seed).violation
        if broken is not None:
            return broken.name, broken.detail, seed + 1
    return None, "", mutant.bound


MOVES_PER_WALK = 40
PATIENCE = 400.0
LOOKS = frozenset({"get", "offsets", "find", "queues", "workers", "read_updates", "attempts"})


class Spy:
    """The store under test, and which verb was called last."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.verb = ""

    def __getattr__(self, name: str) -> Any:
        self.verb = name
        return getattr(self._store, name)


def by_walks(bound: int) -> tuple[str | None, str, int]:
    """Walk over SQLite and the memory store, by seeds from 0 on, until their answers differ."""
    for seed in range(bound):
        broken = walk(seed)
        if broken is not None:
            return *broken, seed + 1
    return None, "", bound


def walk(seed: int) -> tuple[str, str] | None:
    """One walk; the verb whose answers differ and how, or None."""
    rng, time = random.Random(seed), ManualTime()
    with tempfile.TemporaryDirectory() as place:
        store = SqliteStore(Path(place) / "jobs.db", SETTINGS, wall=time.wall, synchronous="NORMAL")
        store._counts = Counts(lambda: 0.0)  # counting is never dear, however busy this machine is
        spy = Spy(store)
        both = StoreWalk(spy, time)  # type: ignore[arg-type]
        try:
            both.begin(WORKERS[0])
            for _ in range(MOVES_PER_WALK):
                both.move(rng)
                both.look()
            both.look(everything=True)
        except Exception as difference:  # noqa: BLE001 - what is broken may raise anything
            return READS if spy.verb in LOOKS else spy.verb, repr(difference)[:200]
        finally:
            both.runner.run(store.close())
            both.runner.close()
    return None
