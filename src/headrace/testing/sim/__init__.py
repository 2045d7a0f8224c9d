"""Whole fleets under a seeded virtual clock: producers, supervisors, workers, readers, a store that fails.

The code that runs is that of production, on event loops whose time is not real. `python -m
headrace.testing.sim SEED` replays one history; the same seed always has the same one.
"""

from headrace.testing.sim.world import Report, Violation, World, run

__all__ = ["Report", "Violation", "World", "run"]
