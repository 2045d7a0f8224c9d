"""What a seed draws of the services outside: how each version of the code defines them, and how they fare."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from headrace.core.breaker import Breaker
from headrace.core.budget import RetryBudget
from headrace.core.bulkhead import Adaptive
from headrace.core.fleet import Terms
from headrace.core.limits import RateLimit
from headrace.runtime.guard import UpstreamPolicy

SHARE = 0.2  # of all worlds have upstreams
NAMES = ("bank", "mail")
NEEDS: dict[str, tuple[str, ...]] = {"pay": ("bank",), "post": ("mail",), "ship": ("bank", "mail")}
VERSIONS = (1, 2)


class Mood(StrEnum):
    """How a service fares."""

    WELL = "well"
    DOWN = "down"  # it refuses at once
    HANGS = "hangs"  # it answers nobody
    SLOW = "slow"
    ERRS = "errs"  # now and then


@dataclass(frozen=True, slots=True)
class Plan:
    """One service outside: what it does, and how the versions of the code guard it."""

    name: str
    policies: Mapping[int, UpstreamPolicy]  # a version that is not here knows no such upstream
    moods: tuple[Mood, ...]  # that befall it
    well_s: float  # between two of them, on average
    call_s: float  # that a call takes, on average
    forced_s: float | None  # between two times that a person sets its breaker, on average; None: nobody does

    @property
    def permitted(self) -> int:
        """How many calls any version permits at half-open."""
        breakers = [policy.terms.breaker for policy in self.policies.values()]
        return max(it.permitted_number_of_calls_in_half_open_state for it in breakers if it is not None)

    @property
    def most(self) -> int | None:
        """How many calls at once any version that bounds them lets go."""
        return max((policy.terms.max_concurrency or 0 for policy in self.policies.values()), default=0) or None


@dataclass(frozen=True, slots=True, eq=False)
class Outages:
    """All that a world has of upstreams."""

    plans: tuple[Plan, ...]
    needy: float  # how many of the jobs need one
    callers: int  # in each API process, who call without a job
    kept_open: str | None  # one that a person holds open until all jobs have ended that don't need it

    @property
    def names(self) -> frozenset[str]:
        """The services."""
        return frozenset(plan.name for plan in self.plans)

    @property
    def tasks(self) -> dict[str, tuple[str, ...]]:
        """The tasks that call them, and which each needs."""
        return {task: needs for task, needs in NEEDS.items() if self.names.issuperset(needs)}

    def plan(self, name: str) -> Plan:
        """One of them."""
        return next(plan for plan in self.plans if plan.name == name)

    def policy(self, name: str, version: int) -> UpstreamPolicy:
        """How a version of the code that knows it guards it."""
        return self.plan(name).policies[version]

    def needs(self, task: str, version: int) -> tuple[str, ...]:
        """What a task needs, as this version knows."""
        return tuple(plan.name for plan in self.plans if plan.name in NEEDS.get(task, ()) and version in plan.policies)


def draw(seed: int, *, always: bool = False) -> Outages | None:
    """What the world of a seed has; None: nothing, as most."""
    rng = random.Random(f"{seed} upstreams")  # noqa: S311 - a seed's draws are to be repeatable
    own = random.Random(f"{seed} each process")  # noqa: S311
    if rng.random() >= SHARE and not always:
        return None
    plans = tuple(_draw_plan(rng, own, name) for name in NAMES[: rng.choice((1, 2, 2))])
    kept_open = rng.choice((None, *(plan.name for plan in plans))) if len(plans) > 1 else None
    return Outages(plans, rng.choice((0.3, 0.7, 1.0)), rng.choice((0, 0, 1, 4)), kept_open)


def _draw_plan(rng: random.Random, own: random.Random, name: str) -> Plan:
    newer = _draw_policy(rng, own)
    older = rng.choice((newer, newer, _draw_policy(rng, own), None))
    moods = [mood for mood in Mood if mood is not Mood.WELL]
    return Plan(
        name,
        {2: newer} if older is None else {1: older, 2: newer},
        tuple(rng.sample(moods, rng.randint(1, len(moods)))),
        rng.choice((3.0, 10.0, 30.0)),
        rng.choice((0.05, 0.3, 1.0)),
        rng.choice((None, None, 10.0, 30.0)),
    )


def _draw_policy(rng: random.Random, own: random.Random) -> UpstreamPolicy:
    """`own` draws what each process keeps for itself."""
    size = rng.choice((5, 10, 30))
    breaker = Breaker(
        failure_rate_threshold=rng.choice((30, 50, 80)),
        slow_call_duration_threshold=rng.choice((1, 2, 60)),
        slow_call_rate_threshold=rng.choice((50, 100)),
        sliding_window_type=rng.choice(("count", "count", "time")),
        sliding_window_size=size,
        minimum_number_of_calls=rng.choice((2, 3, 5)),
        wait_duration_in_open_state=rng.choice((0.5, 2, 10)),
        permitted_number_of_calls_in_half_open_state=rng.choice((1, 2, 3, 5)),
        max_wait_duration_in_half_open_state=rng.choice((0, 0, 5, 20)),
        ramp=rng.choice((0, 3, 10)),
    )
    timeout_s = rng.choice((0.5, 2.0, 4.0))
    return UpstreamPolicy(
        Terms(
            breaker,
            rng.choice((None, None, 1, 3, 8)),
            rng.choice((None, None, RateLimit(5, 1.0), RateLimit(20, 10.0, burst=2))),
            timeout_s,
            f"{rng.randrange(1 << 30):x}",
        ),
        own.choice((None, None, Adaptive(2, 1, 4), Adaptive(5, 2, 40))),
        timeout_s=timeout_s,
        retry_budget=RetryBudget(own.choice((0, 0.2, 1)), own.choice((0, 0.5, 5)), own.choice((1, 10))),
        snoozes_max=rng.choice((50, 50, 2)),
    )
