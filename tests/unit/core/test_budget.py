"""A budget against a list of every call and every retry."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.budget import Budget, RetryBudget
from headrace.core.errors import InvalidConfig

NAN, INF = float("nan"), float("inf")
POLICY = st.builds(
    RetryBudget,
    ratio=st.one_of(st.just(0.0), st.floats(0, 3)),
    floor=st.one_of(st.just(0.0), st.floats(0, 2)),
    ttl=st.sampled_from([1.0, 4.0, 10.0, 60.0]),
)
# Gaps in tenths of the ttl, many of them smaller than one: bursts on both sides of every border.
GAP = st.one_of(st.floats(0, 4), st.floats(0, 4), st.floats(0, 30))
STEPS = st.lists(st.tuples(GAP, st.sampled_from(["call", "retry", "retries"])), max_size=120)
AT_LEAST = 1e-6


@given(POLICY, st.floats(0, 1e6), STEPS)
def test_over_any_ttl_retries_stay_within_the_share_and_the_floor(
    policy: RetryBudget, start: float, steps: list[tuple[float, str]]
) -> None:
    budget, now = Budget(policy), start
    calls: list[float] = []
    retries: list[float] = []
    for gap, what in steps:
        now += gap * policy.ttl_s / 10
        if what == "call":
            budget.deposit(now)
            calls.append(now)
            continue
        retries += [now for _ in range(1 if what == "retry" else 50) if budget.try_withdraw(now)]
    for end in retries:
        begin = end - policy.ttl_s
        made = sum(begin + AT_LEAST < retry <= end for retry in retries)
        of = sum(begin - AT_LEAST < call <= end for call in calls)
        assert made <= policy.ratio * of + policy.floor * policy.ttl_s + AT_LEAST


@given(POLICY, st.floats(0, 1e6), STEPS)
def test_what_nine_tenths_of_a_ttl_allow_is_granted(
    policy: RetryBudget, start: float, steps: list[tuple[float, str]]
) -> None:
    budget, now = Budget(policy), start
    calls: list[float] = []
    retries: list[float] = []
    for gap, what in steps:
        now += gap * policy.ttl_s / 10
        if what == "call":
            budget.deposit(now)
            calls.append(now)
        elif budget.try_withdraw(now):
            retries.append(now)
        else:
            of = sum(now - call < 0.9 * policy.ttl_s - AT_LEAST for call in calls)
            made = sum(now - retry < 1.1 * policy.ttl_s + AT_LEAST for retry in retries)
            assert made + 1 > policy.ratio * of + policy.floor * policy.ttl_s - AT_LEAST


@given(POLICY, st.floats(0, 1e6), STEPS)
def test_the_balance_is_what_can_be_withdrawn(policy: RetryBudget, now: float, steps: list[tuple[float, str]]) -> None:
    budget = Budget(policy)
    for gap, what in steps:
        now += gap * policy.ttl_s / 10
        if what == "call":
            before = budget.balance(now)
            budget.deposit(now)
            assert budget.balance(now) >= before
        else:
            before = budget.balance(now)
            assert budget.try_withdraw(now) is (before >= 1)
            assert budget.balance(now) == max(0, before - 1)


def test_the_defaults_are_a_fifth_and_ten_a_second() -> None:
    budget = Budget(RetryBudget())
    assert budget.balance(0.0) == 100
    for _ in range(50):
        budget.deposit(0.0)
    assert sum(budget.try_withdraw(0.0) for _ in range(1000)) == 110


def test_a_burst_does_not_return_before_its_ttl_is_over() -> None:
    budget = Budget(RetryBudget(ratio=0, floor=1))
    assert sum(budget.try_withdraw(0.9) for _ in range(100)) == 10
    assert not budget.try_withdraw(10.8)
    assert sum(budget.try_withdraw(11.0) for _ in range(100)) == 10


def test_credit_for_calls_expires() -> None:
    budget = Budget(RetryBudget(ratio=1, floor=0, ttl=timedelta(seconds=10)))
    budget.deposit(5.5)
    assert budget.balance(14.9) == 1
    assert budget.balance(15.0) == 0


def test_no_share_is_lost_to_rounding() -> None:
    budget = Budget(RetryBudget(ratio=0.29, floor=0))
    for _ in range(100):
        budget.deposit(1.0)
    assert budget.balance(1.0) == 29


def test_nothing_allows_nothing() -> None:
    budget = Budget(RetryBudget(ratio=0, floor=0))
    budget.deposit(1.0)
    assert not budget.try_withdraw(1.0)


def test_time_that_goes_back_gives_nothing_back() -> None:
    budget = Budget(RetryBudget(ratio=0, floor=1))
    assert sum(budget.try_withdraw(100.0) for _ in range(20)) == 10
    assert not any(budget.try_withdraw(now) for now in (99.0, 0.0, -5.0, 100.5))


def test_a_call_that_is_seen_late_counts_as_the_latest() -> None:
    budget = Budget(RetryBudget(ratio=1, floor=0))
    budget.deposit(100.0)
    budget.deposit(50.0)
    assert budget.balance(100.0) == budget.balance(109.9) == 2
    assert budget.balance(110.0) == 0


def test_after_a_long_silence_everything_is_forgotten() -> None:
    for silence in range(10, 25):
        budget = Budget(RetryBudget(ratio=1, floor=0))
        for second in range(20):
            budget.deposit(float(second))
        assert budget.balance(19.0 + silence) == 0


def test_an_upstream_that_is_down_gets_at_most_a_fifth_more_calls() -> None:
    budget, made = Budget(RetryBudget(floor=0)), 0
    for now in (tick / 100 for tick in range(10_000)):
        budget.deposit(now)
        made += sum(budget.try_withdraw(now) for _ in range(4))
    assert made <= 0.2 * 10_000
    assert made >= 0.17 * 10_000


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"ratio": -0.1}, r"RetryBudget\.ratio must be between 0 and 10, not -0\.1"),
        ({"ratio": NAN}, r"RetryBudget\.ratio"),
        ({"floor": -1}, r"RetryBudget\.floor must be between 0 and 1e\+06 retries a second, not -1"),
        ({"floor": INF}, r"RetryBudget\.floor"),
        ({"ttl": 0.5}, r"RetryBudget\.ttl must be between 1 and 60 seconds, not 0\.5"),
        ({"ttl": timedelta(minutes=2)}, r"RetryBudget\.ttl"),
        ({"ttl": NAN}, r"RetryBudget\.ttl"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(fields: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidConfig, match=told):
        RetryBudget(**fields)  # type: ignore[arg-type]
