"""A ladder against a model that looks at every value that was ever observed."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import takewhile
from operator import gt, le

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import InvalidConfig
from headrace.core.ladder import Climber, Ladder, Level

NAN, INF = float("nan"), float("inf")
LADDER = Ladder(
    (
        Level("slower", enter=10, leave=5, rise=1, fall=10),
        Level("shed", enter=20, leave=15, rise=2, fall=20),
        Level("closed", enter=40, leave=30, rise=0, fall=5),
    )
)
VALUE = st.one_of(st.floats(0, 50), st.sampled_from([0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 100.0, NAN, INF, -INF]))
STEPS = st.lists(st.tuples(st.sampled_from([0, 0.5, 1, 1, 2, 5, 20]), VALUE, st.integers(1, 12)), max_size=40)


def series(steps: list[tuple[float, float, int]]) -> list[tuple[float, float]]:
    """Instants and values; a step repeats its value so often."""
    now, seen = 0.0, list[tuple[float, float]]()
    for gap, value, times in steps:
        for _ in range(times):
            now += gap
            seen.append((now, value))
    return seen


def held(seen: list[tuple[float, float]], for_s: float, within: Callable[[float], bool]) -> bool:
    """Whether the values up to the last one have been so for so long, without a break."""
    run = [at for at, _ in takewhile(lambda each: within(each[1]), reversed(seen))]
    return bool(run) and run[0] - run[-1] >= for_s


class Naive:
    """Looks back over everything at each observation."""

    def __init__(self) -> None:
        self.level = 0
        self.seen: list[tuple[float, float]] = []
        self.own: list[tuple[float, float]] = []  # what was seen since the present level was reached

    def observe(self, now: float, value: float) -> int:
        self.seen.append((now, value))
        self.own.append((now, value))
        called = [
            at
            for at, level in enumerate(LADDER.levels, 1)
            if at > self.level and held(self.seen, level.rise_s, partial(le, level.enter))
        ]
        if called:
            self.level, self.own = max(called), []
        elif self.level:
            level = LADDER.levels[self.level - 1]
            if held(self.own, level.fall_s, partial(gt, level.leave)):
                self.level, self.own = self.level - 1, [(now, value)]
        return self.level


@given(STEPS)
def test_it_stands_where_a_look_over_everything_would_put_it(steps: list[tuple[float, float, int]]) -> None:
    climber, naive = Climber(LADDER), Naive()
    for now, value in series(steps):
        assert climber.observe(now, value) == naive.observe(now, value)


@given(STEPS)
def test_it_never_flaps_faster_than_its_dwell(steps: list[tuple[float, float, int]]) -> None:
    climber, entered = Climber(LADDER), 0.0
    for now, value in series(steps):
        before = climber.level
        after = climber.observe(now, value)
        if after < before:
            assert after == before - 1
            assert now - entered >= LADDER.levels[before - 1].fall_s
        if after != before:
            entered = now


def test_a_peak_is_ridden_out_and_what_lasts_is_not() -> None:
    climber = Climber(LADDER)
    assert [climber.observe(at, 15) for at in (0, 0.9)] == [0, 0]
    assert climber.observe(0.95, 9) == 0
    assert [climber.observe(at, 10) for at in (1.0, 1.9, 2.0)] == [0, 0, 1]


def test_up_it_skips_levels_and_down_it_does_not() -> None:
    climber = Climber(LADDER)
    assert climber.observe(0, 100) == 3
    falls = [climber.observe(float(at), 0) for at in range(1, 60)]
    assert [falls.index(level) + 1 for level in (2, 1, 0)] == [6, 26, 36]


def test_each_level_is_held_for_its_own_fall() -> None:
    climber = Climber(LADDER)
    assert [climber.observe(at, 25) for at in (0.0, 2.0)] == [0, 2]
    assert [climber.observe(at, 10) for at in (3.0, 22.9, 23.0)] == [2, 2, 1]
    assert [climber.observe(at, 0) for at in (24.0, 33.9, 34.0)] == [1, 1, 0]


def test_between_leave_and_enter_it_stays() -> None:
    climber = Climber(LADDER)
    climber.observe(0, 12)
    assert climber.observe(1, 12) == 1
    assert {climber.observe(float(at), 5 + at % 5) for at in range(2, 1000)} == {1}


def test_what_is_no_number_breaks_a_run_and_moves_nothing() -> None:
    climber = Climber(LADDER)
    assert [climber.observe(at, value) for at, value in ((0, 12), (0.5, NAN), (1.0, 12), (1.5, 12))] == [0] * 4
    assert climber.observe(2.0, 12) == 1
    assert [climber.observe(at, value) for at, value in ((3, 0), (8, NAN), (14, 0), (23, 0))] == [1] * 4
    assert climber.observe(24, 0) == 0


def test_levels_have_names() -> None:
    assert [LADDER.name(level) for level in range(4)] == ["normal", "slower", "shed", "closed"]
    assert Level("x", 1, 0, rise=timedelta(seconds=2), fall=timedelta(minutes=1)) == Level("x", 1.0, 0.0, 2, 60)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"leave": 10}, r"Level\.leave of x must be less than its enter \(10\), not 10: without a gap it flaps"),
        ({"leave": 11}, r"Level\.leave of x"),
        ({"enter": NAN}, r"Level\.enter of x must be between"),
        ({"leave": -INF}, r"Level\.leave of x must be between"),
        ({"rise": -1}, r"Level\.rise of x must be between 0 and 86400 seconds, not -1"),
        ({"fall": 0}, r"Level\.fall of x must be more than 0"),
        ({"fall": INF}, r"Level\.fall of x"),
    ],
    ids=str,
)
def test_a_level_that_cannot_work_is_refused(fields: dict[str, float], told: str) -> None:
    with pytest.raises(InvalidConfig, match=told):
        Level("x", **{"enter": 10, "leave": 5} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "levels",
    [
        (),
        (Level("a", 10, 5), Level("b", 10, 6)),
        (Level("a", 10, 5), Level("b", 9, 5)),
        (Level("a", 10, 5), Level("b", 11, 4)),
    ],
    ids=str,
)
def test_levels_out_of_order_are_refused(levels: tuple[Level, ...]) -> None:
    with pytest.raises(InvalidConfig, match=r"Ladder\.levels must"):
        Ladder(levels)
