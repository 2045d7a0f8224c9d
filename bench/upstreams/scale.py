"""How much of everything a run does."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts and durations."""

    guard_runs: int
    guard_calls: int
    statements_s: float
    processes: int
    callers: int
    half_open_upstreams: int
    half_open_s: float
    half_open_rounds: int
    held_jobs: int
    turns: int
    claim_pairs: int
    claims: int
    trips: int
    outage_jobs: int
    outage_s: float


FULL = Scale(
    guard_runs=15,
    guard_calls=20_000,
    statements_s=5.0,
    processes=4,
    callers=100,
    half_open_upstreams=8,
    half_open_s=60.0,
    half_open_rounds=1_000,
    held_jobs=1_000_000,
    turns=20,
    claim_pairs=5,
    claims=500,
    trips=20,
    outage_jobs=10_000,
    outage_s=30.0,
)

QUICK = Scale(
    guard_runs=3,
    guard_calls=500,
    statements_s=0.5,
    processes=2,
    callers=20,
    half_open_upstreams=2,
    half_open_s=4.0,
    half_open_rounds=4,
    held_jobs=2_000,
    turns=3,
    claim_pairs=1,
    claims=20,
    trips=2,
    outage_jobs=100,
    outage_s=4.0,
)
