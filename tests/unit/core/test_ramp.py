from fractions import Fraction
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.ramp import allowance

SECONDS = st.floats(-10, 1e4)
RAMP = st.floats(0, 1e4)
COUNT = st.integers(-1, 10_000)


def room(allowed: int | None, slots: int) -> int:
    """What an allowance comes to, where there are so many slots."""
    return slots if allowed is None else min(allowed, slots)


@given(SECONDS, SECONDS, RAMP, COUNT, st.integers(1, 10_000))
def test_it_never_shrinks(one: float, other: float, ramp_s: float, start: int, slots: int) -> None:
    earlier, later = sorted((one, other))
    before, after = allowance(earlier, ramp_s, start, slots), allowance(later, ramp_s, start, slots)
    assert room(before, slots) <= room(after, slots)
    assert before is not None or after is None


@given(SECONDS, RAMP, COUNT, COUNT)
def test_it_is_at_least_one_and_restrains_while_it_lasts(
    elapsed_s: float, ramp_s: float, start: int, slots: int
) -> None:
    allowed = allowance(elapsed_s, ramp_s, start, slots)
    if allowed is None:
        assert max(elapsed_s, 0) >= ramp_s or max(start, 1) >= slots
    else:
        assert max(start, 1) <= allowed <= slots


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(1, 100), st.integers(1, 1000))
def test_it_grows_evenly(elapsed_s: int, ramp_s: int, start: int, slots: int) -> None:
    allowed = allowance(elapsed_s, ramp_s, start, slots)
    if allowed is not None:
        assert allowed == floor(start + Fraction((slots - start) * elapsed_s, ramp_s))


def test_it_begins_at_start_and_ends_without_restraint() -> None:
    assert [allowance(second, 10, 10, 110) for second in (-1, 0, 1, 5, 9, 9.99)] == [10, 10, 20, 60, 100, 109]
    assert allowance(10, 10, 10, 110) is None
    assert allowance(1e9, 10, 10, 110) is None


def test_without_a_ramp_all_comes_back_at_once() -> None:
    assert allowance(0, 0, 1, 100) is None


def test_a_start_of_nothing_is_one() -> None:
    assert allowance(0, 10, 0, 100) == allowance(0, 10, -5, 100) == 1
