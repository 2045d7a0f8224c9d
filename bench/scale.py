"""How much of everything a run does."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts and durations; medians are over `runs`."""

    runs: int
    drain_jobs: int
    sustained_s: float
    sustained_warm_s: float
    enqueue_s: float
    callers: int
    rest_s: float
    pickup_jobs: int
    pickup_every_s: float
    idle_s: float
    idle_settle_s: float
    growth_pairs: int
    growth_rows: int
    growth_jobs: int
    growth_claims: int
    kills: int
    huey_jobs: int


FULL = Scale(
    runs=3,
    drain_jobs=100_000,
    sustained_s=20.0,
    sustained_warm_s=3.0,
    enqueue_s=5.0,
    callers=100,
    rest_s=1.0,
    pickup_jobs=500,
    pickup_every_s=0.02,
    idle_s=20.0,
    idle_settle_s=3.0,
    growth_pairs=5,
    growth_rows=1_000_000,
    growth_jobs=30_000,
    growth_claims=100,
    kills=12,
    huey_jobs=10_000,
)

TINY = Scale(
    runs=1,
    drain_jobs=500,
    sustained_s=0.5,
    sustained_warm_s=0.2,
    enqueue_s=0.3,
    callers=20,
    rest_s=0.1,
    pickup_jobs=10,
    pickup_every_s=0.02,
    idle_s=0.5,
    idle_settle_s=0.2,
    growth_pairs=1,
    growth_rows=500,
    growth_jobs=200,
    growth_claims=5,
    kills=1,
    huey_jobs=50,
)
