from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.breaker import WINDOW_SIZE_MAX, Breaker, CallCounts, WindowType, tripped
from headrace.core.errors import InvalidConfig

NAN, INF = float("nan"), float("inf")
RATES = ("failure_rate_threshold", "slow_call_rate_threshold")
DURATIONS = ("slow_call_duration_threshold", "wait_duration_in_open_state")
DURATIONS_OR_NONE = ("max_wait_duration_in_half_open_state", "ramp")
COUNTS = ("sliding_window_size", "minimum_number_of_calls", "permitted_number_of_calls_in_half_open_state")


@st.composite
def call_counts(draw: st.DrawFn) -> CallCounts:
    calls = draw(st.integers(0, 300))
    return CallCounts(calls, draw(st.integers(0, calls)), draw(st.integers(0, calls)))


def test_the_defaults() -> None:
    policy = Breaker()
    assert (policy.slow_s, policy.open_s, policy.half_open_s_max, policy.ramp_s) == (60.0, 10.0, 0.0, 10.0)
    assert policy.sliding_window_type is WindowType.COUNT
    assert (policy.sliding_window_size, policy.minimum_number_of_calls) == (100, 20)


def test_a_duration_may_be_a_timedelta_and_a_window_type_its_name() -> None:
    policy = Breaker(wait_duration_in_open_state=timedelta(seconds=30), ramp=5, sliding_window_type="time")
    assert policy == Breaker(wait_duration_in_open_state=30, ramp=5.0, sliding_window_type=WindowType.TIME)
    assert policy.sliding_window_type is WindowType.TIME
    assert policy.open_s == policy.wait_duration_in_open_state == 30.0
    assert hash(policy) == hash(Breaker(wait_duration_in_open_state=30.0, ramp=5, sliding_window_type="time"))


@pytest.mark.parametrize("value", [-1, 0, 100.1, NAN, INF, "50", True], ids=repr)
@pytest.mark.parametrize("name", RATES)
def test_a_rate_is_a_percentage(name: str, value: object) -> None:
    with pytest.raises(InvalidConfig, match=rf"Breaker\.{name} must be more than 0 and at most 100 percent"):
        Breaker(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, NAN, INF, timedelta(seconds=-1), timedelta(days=2), "1", True], ids=repr)
@pytest.mark.parametrize("name", DURATIONS + DURATIONS_OR_NONE)
def test_a_duration_out_of_bounds_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidConfig, match=rf"Breaker\.{name} must be .* 86400 seconds"):
        Breaker(**{name: value})  # type: ignore[arg-type]


def test_only_what_can_be_left_out_may_be_zero() -> None:
    for name in DURATIONS:
        with pytest.raises(InvalidConfig, match=rf"Breaker\.{name} must be more than 0"):
            Breaker(**{name: 0})  # type: ignore[arg-type]
    for name in DURATIONS_OR_NONE:
        assert getattr(Breaker(**{name: timedelta(0)}), name) == 0.0  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 0, WINDOW_SIZE_MAX + 1, 1.5, True, "1"], ids=repr)
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_a_positive_whole_number(name: str, value: object) -> None:
    with pytest.raises(InvalidConfig, match=rf"Breaker\.{name} must be a whole number between 1 and"):
        Breaker(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["COUNT", "", None, 1], ids=repr)
def test_an_unknown_window_type_is_refused(value: object) -> None:
    with pytest.raises(InvalidConfig, match='sliding_window_type must be "count" or "time"'):
        Breaker(sliding_window_type=value)  # type: ignore[arg-type]


def test_a_count_window_must_hold_the_minimum() -> None:
    with pytest.raises(
        InvalidConfig, match=r"minimum_number_of_calls must be at most sliding_window_size \(10\), not 11"
    ):
        Breaker(sliding_window_size=10, minimum_number_of_calls=11)
    assert Breaker(sliding_window_size=10, minimum_number_of_calls=10)
    assert Breaker(sliding_window_size=10, minimum_number_of_calls=11, sliding_window_type="time")


def test_counts_add_up() -> None:
    assert CallCounts(10, 3, 2) + CallCounts(5, 0, 5) == CallCounts(15, 3, 7)
    assert CallCounts() + CallCounts(1, 1, 1) == CallCounts(1, 1, 1)


def test_below_the_minimum_nothing_trips() -> None:
    policy = Breaker(minimum_number_of_calls=20)
    assert tripped(policy, CallCounts(19, 19, 19)) is None
    assert tripped(policy, CallCounts(20, 20, 0)) is not None
    assert tripped(policy, CallCounts(3, 3, 0), minimum=3) is not None
    assert tripped(policy, CallCounts(2, 2, 0), minimum=3) is None
    assert tripped(policy, CallCounts(), minimum=0) is None


def test_a_rate_at_its_threshold_trips() -> None:
    policy = Breaker(failure_rate_threshold=50, slow_call_rate_threshold=80, minimum_number_of_calls=10)
    assert tripped(policy, CallCounts(20, 9, 15)) is None
    assert tripped(policy, CallCounts(20, 10, 0)) == "10 of 20 calls failed (50 %, threshold 50 %)"
    assert tripped(policy, CallCounts(20, 0, 16)) == "16 of 20 calls took longer than 60 s (80 %, threshold 80 %)"
    both = tripped(policy, CallCounts(20, 20, 20))
    assert both is not None
    assert " and 20 of 20 calls took longer" in both


@pytest.mark.parametrize("percent", range(1, 101))
def test_a_rate_at_any_threshold_trips(percent: int) -> None:
    policy = Breaker(failure_rate_threshold=percent)
    assert tripped(policy, CallCounts(100, percent, 0)) is not None
    assert tripped(policy, CallCounts(100, percent - 1, 0)) is None


@given(call_counts(), st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 50))
def test_it_trips_just_as_exact_arithmetic_says(counts: CallCounts, failures: int, slow: int, minimum: int) -> None:
    policy = Breaker(
        failure_rate_threshold=failures / 10, slow_call_rate_threshold=slow / 10, minimum_number_of_calls=minimum
    )
    expected = counts.calls >= minimum and (
        Fraction(counts.failures * 100, counts.calls) >= Fraction(failures, 10)
        or Fraction(counts.slow * 100, counts.calls) >= Fraction(slow, 10)
    )
    assert (tripped(policy, counts) is not None) is expected
