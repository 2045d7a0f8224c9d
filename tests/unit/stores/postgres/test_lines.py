"""Where claims start: floors that rise behind what was claimed, and surveys that find what they passed."""

from dataclasses import replace

import pytest

from headrace.core.model import ClaimRequest, Pool
from headrace.stores.postgres.lines import Lines, Mark, Passed

NAME = ("default", "charge", "", 0)
MARK = Mark(0, 1, 1, 1.0)
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


def survey(
    lines: Lines,
    clock: Clock,
    first: int | None,
    cost_s: float = 0.0,
    mark: Mark | None = None,
    *,
    seen: bool = True,
) -> bool:
    """One survey, and whether it was of everything."""
    over, began = lines.passed_over(mark), clock.now
    clock.now += cost_s
    lines.surveyed([] if first is None else [(0, 7, first)], began, whole=over.whole, seen=seen, mark=mark)
    return over.whole


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
    assert lines.passed_over() == Passed(whole=False, floors=[(7, floor(lines))])
    assert not survey(lines, clock, 5, 0.001)
    clock.now += 100 * 0.05
    assert lines.passed_over(MARK).whole


@pytest.mark.parametrize(("cost_s", "rest_s"), [(0.05, 5.0), (1.0, 15.0), (5.0, 50.0)])
def test_a_whole_survey_waits_for_long_but_not_for_ever(
    lines: Lines, clock: Clock, cost_s: float, rest_s: float
) -> None:
    survey(lines, clock, 5, cost_s)
    clock.now += rest_s - 0.01
    assert not lines.passed_over(MARK).whole
    clock.now += 0.02
    assert lines.passed_over(MARK).whole


def test_a_survey_that_was_given_up_costs_its_time_and_forgets_nothing(lines: Lines, clock: Clock) -> None:
    survey(lines, clock, 5)
    assert survey(lines, clock, None, cost_s=30.0, seen=False)
    assert not lines.passed_over(MARK).whole
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
    assert lines.passed_over() == Passed(whole=False, floors=[])


def whole(lines: Lines, clock: Clock, first: int | None, mark: Mark) -> int:
    """The next whole survey, which is dear, and from where on it looks at the line."""
    clock.now += 60.0
    assert lines.marking
    over = lines.passed_over(mark)
    survey(lines, clock, first, 0.05, mark)
    assert over.whole
    return dict(over.floors).get(7, 0)


def test_a_whole_survey_passes_over_what_was_proven_and_only_that(lines: Lines, clock: Clock) -> None:
    assert not lines.marking, "while surveys are cheap"
    survey(lines, clock, None, 0.05)
    assert whole(lines, clock, None, Mark(100, 9, 7, 1.0)) == 0
    assert whole(lines, clock, None, Mark(200, 20, 8, 1.0)) == 0
    assert whole(lines, clock, None, Mark(300, 30, 9, 1.0)) == 0, "one of then, 8, was under way when it began"
    assert whole(lines, clock, 250, Mark(400, 50, 30, 1.0)) == 100
    assert whole(lines, clock, 350, Mark(500, 60, 50, 1.0)) == 249, "a job was ready there"
    assert whole(lines, clock, 350, Mark(600, 60, 60, 1.0)) == 349
    other = lines.learn(9, 1, ("default", "refund", "", 0))
    assert whole(lines, clock, 350, Mark(600, 60, 60, 1.0)) == 349
    assert other.proven == 600, "of lines in which it found nothing too"


def test_a_survey_that_was_given_up_proves_nothing(lines: Lines, clock: Clock) -> None:
    survey(lines, clock, None, 0.05)
    whole(lines, clock, None, Mark(100, 9, 9, 1.0))
    clock.now += 60.0
    survey(lines, clock, None, 30.0, Mark(200, 20, 20, 1.0), seen=False)
    clock.now += 300.0
    assert whole(lines, clock, None, Mark(300, 30, 30, 1.0)) == 0


@pytest.mark.parametrize("back", [Mark(150, 40, 40, 2.0), Mark(150, 40, 40, 1.0), Mark(350, 25, 25, 1.0)])
def test_where_a_server_may_draw_places_again_nothing_is_proven(lines: Lines, clock: Clock, back: Mark) -> None:
    """It took over without the last ones, or was restored."""
    survey(lines, clock, None, 0.05)
    whole(lines, clock, None, Mark(100, 9, 9, 1.0))
    whole(lines, clock, None, Mark(200, 20, 20, 1.0))
    assert whole(lines, clock, None, Mark(300, 30, 30, 1.0)) == 100
    assert whole(lines, clock, 50, back) == 0
    assert whole(lines, clock, None, replace(back, place=360, above=50, oldest=50)) == 0
    assert whole(lines, clock, None, replace(back, place=370, above=60, oldest=60)) == back.place
