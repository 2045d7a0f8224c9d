"""Every safeguard that is removed, cheap ones first."""

from tests.simulation.mutants import in_sqlite

CATALOGUE = {mutant.name: mutant for mutant in (*in_sqlite.MUTANTS,)}
