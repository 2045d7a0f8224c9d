"""How much of everything a run of the peers does."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Durations, counts, and how often each figure is measured; medians are over those."""

    contender_runs: int = 5  # of what is compared, for those that come near; the others as often as below
    enqueue_runs: int = 3
    enqueue_s: float = 1.0
    callers: int = 100
    drain_runs: int = 3  # no-op jobs, one worker process
    drain_pair_runs: int = 2  # two of them
    drain_sleep_runs: int = 2  # jobs of 1 and 10 ms, one worker process
    drain_other_runs: int = 1  # the same with two, and what a peer does by default
    drain_s: float = 3.0
    jobs_min: int = 1_000
    jobs_max: int = 200_000
    sustained_runs: int = 2
    sustained_warm_s: float = 2.0
    sustained_s: float = 6.0
    pickup_runs: int = 2
    pickup_jobs: int = 300
    pickup_every_s: float = 0.02
    rest_s: float = 1.0
    held_runs: int = 1
    held_before_s: float = 8.0
    held_s: float = 60.0
    growth_rows: int = 1_000_000
    growth_jobs: int = 30_000
    growth_pairs: int = 5
    growth_claims: int = 200
    kills: int = 12
    kill_s: float = 60.0
    kill_rest_s: float = 2.0
    budget_s: float = 60 * 60.0


FULL = Scale()

QUICK = Scale(
    contender_runs=1,
    enqueue_runs=1,
    enqueue_s=0.3,
    callers=20,
    drain_runs=1,
    drain_pair_runs=1,
    drain_sleep_runs=1,
    drain_other_runs=1,
    drain_s=1.0,
    jobs_min=200,
    jobs_max=3_000,
    sustained_runs=1,
    sustained_warm_s=0.3,
    sustained_s=1.0,
    pickup_runs=1,
    pickup_jobs=20,
    rest_s=0.3,
    held_before_s=0.7,
    held_s=2.0,
    growth_rows=2_000,
    growth_jobs=500,
    growth_pairs=1,
    growth_claims=5,
    kills=2,
    kill_s=10.0,
    kill_rest_s=1.0,
    budget_s=15 * 60.0,
)
