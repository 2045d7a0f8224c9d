"""Each safeguard of the design is removed, one at a time: the simulator or the model check must find it.

Hunts run side by side in processes of their own; a test waits for the hunt of its mutant.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.simulation.mutants.catalogue import CATALOGUE
from tests.simulation.mutants.hunt import Hunt, hunt, unharmed
from tests.simulation.mutants.kinds import Finder
from tests.simulation.mutants_table import PAGE, written

pytestmark = pytest.mark.timeout(300)
BOUND_BY_DAY = 60


class Hunts:
    """Every hunt that a test of this run asks for, under way in the background, in the catalogue's order."""

    def __init__(self, pool: ProcessPoolExecutor, names: list[str]) -> None:
        self.pool = pool
        self.under_way: dict[str, Future[Hunt]] = {name: pool.submit(hunt, name) for name in names}

    def of(self, name: str) -> Hunt:
        return self.under_way[name].result()

    def broken_without_mutants(self, finder: Finder) -> list[str]:
        """What the program as it is breaks in the seeds, or the walks, that found mutants."""
        tries: dict[object, tuple[str, int]] = {}
        for name, found in self.under_way.items():
            mutant, last = CATALOGUE[name], found.result().tries
            if mutant.finder is finder:
                world = mutant.befalls, mutant.upstreams, mutant.strained, last
                tries[world if finder is Finder.SIM else finder] = name, last
        if finder is Finder.MODEL:
            last = max(self.of(name).tries for name in self.under_way if CATALOGUE[name].finder is finder)
            tries = {finder: (tries[finder][0], last)}
        names, lasts = zip(*tries.values(), strict=True)
        return [broken for broken in self.pool.map(unharmed, names, lasts) if broken is not None]


def long(name: str) -> list[pytest.MarkDecorator]:
    """Those that take long or many seeds to be found run at night."""
    mutant = CATALOGUE[name]
    many = mutant.finder is Finder.SIM and mutant.bound > BOUND_BY_DAY
    return [pytest.mark.nightly] if mutant.slow or many else []


@pytest.fixture(scope="module")
def hunts(request: pytest.FixtureRequest) -> Iterator[Hunts]:
    chosen = {item.name for item in request.session.items}
    names = [name for name in CATALOGUE if any(f"[{name}]" in item for item in chosen)] or list(CATALOGUE)
    with ProcessPoolExecutor(os.cpu_count() or 1, get_context("spawn")) as pool:
        yield Hunts(pool, names)
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", [pytest.param(name, marks=long(name)) for name in CATALOGUE])
def test_a_removed_safeguard_is_found(hunts: Hunts, name: str) -> None:
    mutant, found = CATALOGUE[name], hunts.of(name)
    assert found.promise is not None, f"nothing was seen broken in {mutant.bound} {mutant.finder.unit}"
    assert found.promise in mutant.promises, found.detail


@pytest.mark.parametrize("finder", list(dict.fromkeys(mutant.finder for mutant in CATALOGUE.values())))
def test_with_every_safeguard_nothing_is_broken_there(hunts: Hunts, finder: Finder) -> None:
    assert hunts.broken_without_mutants(finder) == []


def test_the_page_tells_of_each_mutant() -> None:
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in written(PAGE.read_text("utf-8")).splitlines()]
    told = [(row[0] + ".", row[1], int(row[3])) for row in rows[2:]]
    assert told == [(mutant.safeguard, mutant.finder, mutant.bound) for mutant in CATALOGUE.values()]
