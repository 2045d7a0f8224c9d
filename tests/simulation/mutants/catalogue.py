"""Every safeguard that is removed, cheap ones first."""

from tests.simulation.mutants import in_fleet, in_sqlite, in_store, in_worker

CATALOGUE = {
    mutant.name: mutant for mutant in (*in_store.MUTANTS, *in_sqlite.MUTANTS, *in_worker.MUTANTS, *in_fleet.MUTANTS)
}
