"""Every safeguard that is removed, cheap ones first."""

from tests.simulation.mutants import in_fleet, in_sqlite, in_store, in_strain, in_upstreams, in_worker

ROOMS = (in_store, in_sqlite, in_worker, in_fleet, in_upstreams, in_strain)
CATALOGUE = {mutant.name: mutant for each in ROOMS for mutant in each.MUTANTS}
