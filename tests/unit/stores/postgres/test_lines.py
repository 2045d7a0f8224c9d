"""Where claims start: floors that rise behind what was claimed, and surveys that find what they passed."""

import pytest

from headrace.core.model import ClaimRequest, Pool
from headrace.stores.postgres.lines import Lines

NAME = ("default", "charge", "", 0)
REQUEST = ClaimRequest((Pool(frozenset({"charge"}), 10),))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(clock: Clock) -> Lines:
    made = Lines(clock)
    made.learn(7, 1, NAME)
    return made


def floor(lines: Lines) -> int:
    (found,) = lines.offer(REQUEST, {}).floors
    return found


def claim(lines: Lines, clock: Clock, *places: int, wait_s: float = 0.0) -> None:
    line = lines.get(NAME)
    assert line is not None
    for place in places:
        line.claimed(place, clock.now)
    clock.now += wait_s


def survey(lines: Lines, clock: Clock, first: int | None, cost_s: float = 0.0, *, seen: bool = True) -> bool:
    """One survey, and whether it was of everything."""
    over, began = lines.passed_over(), clock.now
    clock.now += cost_s
    lines.surveyed([] if first is None else [(0, 7, first)], began, whole=over is None, seen=seen)
    return over is None


def test_a_floor_rises_to_where_all_was_claimed_some_time_ago(lines: Lines, clock: Clock) -> None:
    claim(lines, clock, 1, 2, 3, wait_s=0.11)
    assert floor(lines) == 0
    claim(lines, clock, 4, wait_s=0.11)
    claim(lines, clock, 5)
    assert floor(lines) == 3


def test_what_comes_late_below_the_floor_is_claimed_from_where_it_stands_to_its_end(lines: Lines, clock: Clock) -> None:
    for place in range(100, 110):
        claim(lines, clock, place, wait_s=0.11)
    assert floor(lines) > 100
    survey(lines, clock, 10)
    assert floor(lines) == 9
    for place in range(10, 60):  # many, and it takes a while
        assert floor(lines) < place
        claim(lines, clock, place, wait_s=0.11)


def test_a_survey_raises_the_floor_to_what_it_found_first(lines: Lines, clock: Clock) -> None:
    for _ in range(3):
        survey(lines, clock, 5_000)
        clock.now += 0.11
    assert floor(lines) == 4_999


def test_cheap_surveys_are_of_everything_every_time(lines: Lines, clock: Clock) -> None:
    claim(lines, clock, *range(1, 5), wait_s=0.11)
    assert [survey(lines, clock, 5, 0.001) for _ in range(3)] == [True, True, True]


def test_after_a_dear_one_others_pass_over_what_is_below_the_floors_and_the_next_whole_one_comes_in_time(
    lines: Lines, clock: Clock
) -> None:
    for place in range(1, 5):
        claim(lines, clock, place, wait_s=0.11)
    assert survey(lines, clock, 5, cost_s=0.05)
    clock.now += 1.0
    assert lines.survey_due(empty=False)
    assert lines.passed_over() == [(7, floor(lines))]
    assert not survey(lines, clock, 5, 0.001)
    clock.now += 100 * 0.05
    assert lines.passed_over() is None


@pytest.mark.parametrize(("cost_s", "rest_s"), [(0.05, 5.0), (1.0, 15.0), (5.0, 50.0)])
def test_a_whole_survey_waits_for_long_but_not_for_ever(
    lines: Lines, clock: Clock, cost_s: float, rest_s: float
) -> None:
    survey(lines, clock, 5, cost_s)
    clock.now += rest_s - 0.01
    assert lines.passed_over() is not None
    clock.now += 0.02
    assert lines.passed_over() is None


def test_a_survey_that_was_given_up_costs_its_time_and_forgets_nothing(lines: Lines, clock: Clock) -> None:
    survey(lines, clock, 5)
    assert survey(lines, clock, None, cost_s=30.0, seen=False)
    assert lines.passed_over() is not None
    assert lines._hot == {(0, NAME[:3])}


def test_a_survey_is_due_once_a_second_and_at_once_when_a_claim_comes_back_empty(lines: Lines, clock: Clock) -> None:
    survey(lines, clock, 5)
    clock.now += 0.5
    assert (lines.survey_due(empty=False), lines.survey_due(empty=True)) == (False, True)
    clock.now += 0.51
    assert lines.survey_due(empty=False)


def test_a_line_from_which_nothing_was_claimed_for_long_is_looked_through(lines: Lines, clock: Clock) -> None:
    for place in range(1, 5):
        claim(lines, clock, place, wait_s=0.11)
    clock.now += 700.0
    survey(lines, clock, None, cost_s=0.05)
    assert lines.passed_over() == []
