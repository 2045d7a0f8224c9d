"""Every safeguard that is removed, cheap ones first."""

from tests.simulation.mutants import in_fleet, in_sqlite, in_store, in_upstreams, in_worker

CATALOGUE = {
    mutant.name: mutant for each in (in_store, in_sqlite, in_worker, in_fleet, in_upstreams) for mutant in each.MUTANTS
}
