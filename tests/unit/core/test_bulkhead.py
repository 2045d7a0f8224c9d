"""An adaptive limit against simulated upstreams that do so many calls at once and queue the rest."""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.bulkhead import Adaptive, AdaptiveLimit
from headrace.core.errors import InvalidConfig

MANY = 14  # calls in the queue that Vegas puts up with at limits around 100
BASE_S = 0.1


@dataclass
class Upstream:
    """Does `places` calls at once, first come, first served; its callers always fill the limit."""

    limit: AdaptiveLimit
    places: int
    call_s: float = BASE_S
    callers: int = 10_000
    rng: random.Random | None = None
    now: float = 1000.0
    flying: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    waiting: list[float] = field(default_factory=list[float])

    def run(self, for_s: float, *, dropped: float = 0.0) -> list[int]:
        """The limit after each call that ended."""
        until, limits, rng = self.now + for_s, [], self.rng or random.Random(0)
        while self.now < until:
            inflight = len(self.flying) + len(self.waiting)
            self.waiting += [self.now] * (min(self.limit.limit, self.callers) - inflight)
            while self.waiting and len(self.flying) < self.places:
                took = rng.expovariate(1 / self.call_s) if self.rng else self.call_s * rng.uniform(0.9, 1.1)
                heapq.heappush(self.flying, (self.now + took, self.waiting.pop(0)))
            inflight = len(self.flying) + len(self.waiting)
            self.now, began = heapq.heappop(self.flying)
            drop = rng.random() < dropped
            limits.append(self.limit.record(self.now, self.now - began, inflight, dropped=drop))
        return limits


def upstream(places: int, **changes: object) -> Upstream:
    return Upstream(AdaptiveLimit(Adaptive()), places, **changes)  # type: ignore[arg-type]


def halves(limits: list[int]) -> Iterator[int]:
    """The last half of them, sorted."""
    yield from sorted(limits[len(limits) // 2 :])


@pytest.mark.parametrize("places", [10, 20, 60, 120])
def test_it_settles_a_few_calls_above_what_the_upstream_does_at_once(places: int) -> None:
    settled = list(halves(upstream(places).run(120)))
    assert places * 0.95 <= settled[len(settled) // 2] <= places + MANY
    assert settled[-1] <= places + 2 * MANY


def test_it_does_not_creep_up_in_an_hour() -> None:
    served = upstream(10)
    served.run(3000)
    assert max(served.run(600)) <= 10 + MANY


def test_an_upstream_that_does_one_at_a_time_is_not_buried() -> None:
    served = upstream(1)
    served.run(2000)
    assert max(served.run(600)) <= 2 * 6 + 2


def test_it_follows_the_upstream_down_and_up() -> None:
    served = upstream(60)
    served.run(60)
    served.places = 10
    served.run(60)
    assert max(served.run(60)) <= 10 + 2 * MANY
    served.places = 100
    served.run(60)
    settled = list(halves(served.run(60)))
    assert 95 <= settled[len(settled) // 2] <= 100 + MANY


def test_an_upstream_that_is_slower_for_good_is_not_throttled_for_good() -> None:
    served = upstream(50)
    served.run(60)
    served.call_s = 4 * BASE_S
    served.run(200)
    settled = list(halves(served.run(100)))
    assert settled[len(settled) // 2] >= 45


@pytest.mark.parametrize(("places", "call_s"), [(10, 1.0), (100, 0.5)])
def test_calls_of_very_different_lengths_do_not_starve_it(places: int, call_s: float) -> None:
    settled = list(halves(upstream(places, call_s=call_s, rng=random.Random(3)).run(400)))
    assert settled[len(settled) // 2] >= 0.9 * places
    assert settled[-1] <= places + 3 * MANY


def test_what_is_not_used_does_not_grow() -> None:
    served = upstream(50, callers=5)
    assert set(served.run(25)) == {20}


def test_an_upstream_that_drops_calls_gets_fewer() -> None:
    served = upstream(50)
    before = served.run(25)[-1]
    assert served.run(10, dropped=0.2)[-1] < before / 2
    assert served.run(300, dropped=0.2)[-1] == 1


def test_a_timeout_in_a_hundred_calls_is_no_overload() -> None:
    settled = list(halves(upstream(40).run(200, dropped=0.01)))
    assert settled[len(settled) // 2] >= 38


def test_when_every_call_is_dropped_it_goes_to_the_least() -> None:
    limit = AdaptiveLimit(Adaptive(initial=50, min=5))
    for call in range(10_000):
        limit.record(call / 100, 0.001, 50, dropped=True)
    assert limit.limit == 5


def test_now_and_then_it_halves_to_measure_and_comes_back() -> None:
    limit = AdaptiveLimit(Adaptive(initial=100, max=100))
    seen = [limit.record(call / 100, BASE_S, 100) for call in range(6000)]
    assert set(seen) == {50, 100}
    assert 150 <= seen.count(50) <= 450
    assert seen[-1] == 100


def test_measuring_does_not_go_below_the_least() -> None:
    limit = AdaptiveLimit(Adaptive(initial=100, min=60, max=100))
    assert {limit.record(call / 100, BASE_S, 100) for call in range(6000)} == {60, 100}


def test_an_upstream_that_breaks_down_to_a_twentieth_is_not_buried_for_long() -> None:
    served = upstream(100)
    served.run(100)
    served.places = 5
    served.run(100)
    assert max(served.run(20)) <= 5 + 2 * MANY


@given(
    policy=st.builds(
        lambda least, more, most: Adaptive(initial=least + more, min=least, max=least + more + most),
        st.integers(1, 50),
        st.integers(0, 50),
        st.integers(0, 50),
    ),
    calls=st.lists(st.tuples(st.floats(-0.1, 1), st.floats(-1, 100), st.integers(0, 300), st.booleans()), max_size=300),
    repeat=st.integers(1, 20),
)
def test_it_never_leaves_its_bounds(policy: Adaptive, calls: list[tuple[float, float, int, bool]], repeat: int) -> None:
    limit, now = AdaptiveLimit(policy), 0.0
    for gap, rtt_s, inflight, dropped in calls * repeat:
        now += gap
        assert policy.min <= limit.record(now, rtt_s, inflight, dropped=dropped) <= policy.max


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"min": 0}, r"Adaptive\.min must be a whole number between 1"),
        ({"max": 0}, r"Adaptive\.max"),
        ({"initial": 2.5}, r"Adaptive\.initial"),
        ({"initial": 5, "min": 6}, r"Adaptive\.initial must be between min and max \(6 and 200\), not 5"),
        ({"initial": 300}, r"Adaptive\.initial must be between min and max \(1 and 200\), not 300"),
        ({"initial": 5, "min": 6, "max": 4}, r"Adaptive\.initial must be between min and max"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(fields: dict[str, int], told: str) -> None:
    with pytest.raises(InvalidConfig, match=told):
        Adaptive(**fields)
