"""What one seed draws: the fleet, its load, and which faults it suffers how often.

Swarm testing: each kind of fault is left out of most worlds, so that the others get far without it.
"""

import random
from dataclasses import dataclass, field, replace
from enum import StrEnum

from headrace.core.limits import Limit, RateLimit, TaskLimit
from headrace.testing.sim import outages
from headrace.testing.sim import strain as strains
from headrace.testing.sim.outages import Outages
from headrace.testing.sim.strain import Strain

UNLIMITED = 0.7  # so many worlds are
ORDERED = 0.1  # in so many the task is, whatever its limits
HEARTBEATS_PER_LEASE = 20  # as in production: a lease of 10 s, renewed every 0.5 s


class FaultKind(StrEnum):
    """What can go wrong."""

    WORKER_CRASH = "worker crash"
    TREE_CRASH = "tree crash"
    POWER_CUT = "power cut"
    PAUSE = "pause"
    LONG_PAUSE = "pause longer than the lease"
    FREEZE = "frozen machine"
    STORE_DOWN = "store down"
    STORE_SLOW = "store slow"
    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost after commit"
    HANGING = "answer never comes"
    PARTITION = "machine cut off from the store"
    HINTS_DROPPED = "hints dropped"
    HINTS_REPEATED = "hints repeated and reordered"
    CLOCK_STEP = "clock step"
    STORE_CLOCK_STEP = "store clock step"
    DRIFT = "clock drift"
    DEPLOY = "deploy"
    BLOCKED = "blocked loop"
    CANCELS = "cancels"
    REVIVALS = "retries by a person"
    HOLDS = "paused queues"
    POISON = "poison jobs"
    DISCONNECTS = "readers disconnect"
    REFUSALS = "outcomes that the store refuses"
    SHORT_RETENTION = "short retention"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One world before it begins. Durations are seconds of world time."""

    seed: int
    pace_s: float  # one production second takes so long here
    machines: int
    trees: int  # supervisors with their children
    processes: int  # workers per tree
    slots: int
    prefetch_max: int
    suspects_max: int
    apis: int
    jobs: int
    load_s: float  # jobs are enqueued, and faults happen, for so long
    faults: dict[FaultKind, float] = field(default_factory=dict[FaultKind, float])  # intensity, 0 to 1
    limits: tuple[TaskLimit, ...] = ()
    outages: Outages | None = None  # of services outside, and how they are guarded
    strain: Strain | None = None  # too many jobs, and too little time

    @property
    def lease_s(self) -> float:
        """Of a worker whose supervisor went silent."""
        return 10.0 * self.pace_s

    @property
    def retention_s(self) -> float:
        """Of ended jobs; where that is short, they are deleted while others still run."""
        days_s = 7 * 86_400.0
        return self.pace_s * (20.0 + 200.0 * self.faults.get(FaultKind.SHORT_RETENTION, days_s))

    @property
    def work_s(self) -> float:
        """How long all jobs may take with all their retries, one after the other where only one may run."""
        at_once = float(self.trees * self.processes)
        for limit in self.limits:
            at_once = min(at_once, at_once if limit.concurrency is None else limit.concurrency.n)
            at_once = min(at_once, 0.5 if limit.ordered else at_once)  # the others wait while one of them waits too
        spread_s = sum(0.0 if limit.rate is None else 9 * limit.rate.interval_s for limit in self.limits)
        return self.jobs * ((30.0 + 8 * 60.0) * self.pace_s / at_once + spread_s)

    def has(self, kind: FaultKind) -> bool:
        """Whether this world suffers it."""
        return kind in self.faults


def draw(seed: int, *, upstreams: bool | None = None, strained: bool | None = None) -> Scenario:
    """The scenario of a seed; `upstreams` and `strained` say whether it has such, whatever the seed does.

    Where it has its pace is 1: what is kept of them is not scaled.
    """
    drawn = _draw(seed)
    outside = None if upstreams is False else outages.draw(seed, always=upstreams is True)
    strain = None
    if strained or (strained is None and (outside is not None or drawn.pace_s == 1)):
        strain = strains.draw(seed, always=strained is True)
    if outside is not None or strain is not None:
        drawn = replace(drawn, pace_s=1.0, load_s=drawn.load_s / drawn.pace_s, limits=_draw_limits(seed, 1.0))
    return replace(drawn, outages=outside, strain=strain)


def _draw(seed: int) -> Scenario:
    rng = _rng(f"scenario {seed}")
    pace_s = rng.choice((1.0, 10.0, 60.0, 600.0))
    share = rng.choice((0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 1.0))
    return Scenario(
        seed=seed,
        pace_s=pace_s,
        machines=rng.choice((1, 2, 2, 3)),
        trees=rng.choice((1, 2, 2, 3, 4)),
        processes=rng.choice((1, 2, 3)),
        slots=rng.choice((1, 2, 4, 10)),
        prefetch_max=rng.choice((0, 0, 4, 20)),
        suspects_max=rng.choice((1, 2, 4)),
        apis=rng.choice((1, 2)),
        jobs=rng.choice((10, 30, 60, 120)),
        load_s=rng.uniform(20, 90) * pace_s,
        faults=_draw_faults(seed, share),
        limits=_draw_limits(seed, pace_s),
    )


def _draw_faults(seed: int, share: float) -> dict[FaultKind, float]:
    """Each kind by a generator of its own: a kind more leaves the others of a seed as they were."""
    drawn = {kind: _rng(f"{seed} {kind.value}") for kind in FaultKind}
    return {kind: rng.uniform(0.05, 1.0) for kind, rng in drawn.items() if rng.random() < share}


def _draw_limits(seed: int, pace_s: float) -> tuple[TaskLimit, ...]:
    """Of the task that every version knows; most worlds have none. A job's lane key is drawn with it."""
    rng, ordered = _rng(f"{seed} limits"), _rng(f"{seed} order").random() < ORDERED
    if rng.random() < UNLIMITED:
        return (TaskLimit("both", ordered=True),) if ordered else ()
    concurrency = Limit(rng.choice((1, 2, 5)), rng.choice((None, "steps")))
    rate = RateLimit(
        rng.choice((1, 5)), rng.uniform(0.2, 5.0) * pace_s, rng.choice((None, 1)), rng.choice((None, "steps"))
    )
    chosen = rng.choice(((concurrency, None), (None, rate), (concurrency, rate)))
    return (TaskLimit("both", chosen[0], chosen[1], ordered),)


def _rng(name: str) -> random.Random:
    return random.Random(name)  # noqa: S311 - a seed's draws are to be repeatable
