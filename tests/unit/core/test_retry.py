import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import InvalidConfig
from headrace.core.retry import MAX_ATTEMPTS, Retry

SECONDS = st.floats(0, 1e6)
POLICY = st.builds(
    Retry, initial=SECONDS, factor=st.floats(1, 100), cap=SECONDS, jitter=st.booleans(), max_attempts=st.integers(1, 50)
)


@given(POLICY, st.integers(1, 10_000), st.randoms(use_true_random=False))
def test_a_delay_is_never_negative_nor_over_the_cap(policy: Retry, failures: int, rng: random.Random) -> None:
    assert 0 <= policy.delay_s(failures, rng) <= policy.cap


@given(POLICY, st.integers(1, 200), st.randoms(use_true_random=False))
def test_without_jitter_delays_never_shrink(policy: Retry, failures: int, rng: random.Random) -> None:
    plain = Retry(initial=policy.initial, factor=policy.factor, cap=policy.cap, jitter=False)
    assert plain.delay_s(failures, rng) <= plain.delay_s(failures + 1, rng)
    assert policy.delay_s(failures, rng) <= plain.delay_s(failures, rng)


def test_without_jitter_delays_double_up_to_the_cap() -> None:
    policy = Retry(initial=1, factor=2, cap=10, jitter=False)
    assert [policy.delay_s(n, random.Random(0)) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_full_jitter_fills_the_whole_range() -> None:
    rng = random.Random(7)
    delays = [Retry(initial=8, cap=8).delay_s(1, rng) for _ in range(2000)]
    assert min(delays) < 0.1
    assert max(delays) > 7.9
    assert 3.7 < sum(delays) / len(delays) < 4.3


@given(POLICY, st.integers(1, 100), st.randoms(use_true_random=False))
def test_the_last_failure_is_the_last(policy: Retry, failures: int, rng: random.Random) -> None:
    assert (policy.decide(failures, ValueError, rng) is None) is (failures >= policy.max_attempts)


def test_giving_up_at_once() -> None:
    policy = Retry(give_up_on=(LookupError,))
    assert policy.decide(1, KeyError, random.Random(0)) is None
    assert policy.decide(1, ValueError, random.Random(0)) is not None


def test_the_closest_class_rules() -> None:
    never, often = Retry(max_attempts=1), Retry(max_attempts=9)
    policy = Retry(rules={LookupError: never, KeyError: often}, give_up_on=(OSError,))
    assert policy.policy_for(KeyError) is often
    assert policy.policy_for(IndexError) is never
    assert policy.policy_for(ValueError) is policy
    assert policy.policy_for(FileNotFoundError) is None
    assert Retry(rules={ConnectionError: often}, give_up_on=(OSError,)).policy_for(ConnectionResetError) is often
    assert policy.decide(8, KeyError, random.Random(0)) is not None
    assert policy.decide(9, KeyError, random.Random(0)) is None
    assert policy.decide(1, IndexError, random.Random(0)) is None


@pytest.mark.parametrize("max_attempts", [0, -1, MAX_ATTEMPTS + 1])
def test_attempts_out_of_bounds_are_refused(max_attempts: int) -> None:
    with pytest.raises(InvalidConfig, match=rf"max_attempts must be between 1 and 1000, not {max_attempts}"):
        Retry(max_attempts=max_attempts)


@pytest.mark.parametrize(
    "fields", [{"initial": -1}, {"factor": 0.5}, {"cap": -0.1}, {"initial": float("nan")}], ids=str
)
def test_what_cannot_work_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidConfig, match="initial >= 0"):
        Retry(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("max_attempts", [1, MAX_ATTEMPTS])
def test_the_bounds_themselves_work(max_attempts: int) -> None:
    assert Retry(max_attempts=max_attempts).max_attempts == max_attempts


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=20),
    st.floats(0, 1),
    st.integers(1, 50),
    st.randoms(use_true_random=False),
)
def test_a_schedule_says_each_delay_and_how_many_there_are(
    delays: list[float], jitter: float, failures: int, rng: random.Random
) -> None:
    policy = Retry(schedule=tuple(delays), jitter=jitter)
    assert policy.max_attempts == len(delays) + 1
    upper = delays[min(failures, len(delays)) - 1]
    assert upper * (1 - jitter) <= policy.delay_s(failures, rng) <= upper
    assert (policy.decide(failures, ValueError, rng) is None) is (failures > len(delays))


def test_a_part_of_jitter_is_drawn_from_its_whole_range() -> None:
    rng = random.Random(7)
    delays = [Retry(schedule=(100.0,), jitter=0.2).delay_s(1, rng) for _ in range(2000)]
    assert 80 <= min(delays) < 80.1
    assert 99.9 < max(delays) <= 100


def test_a_schedule_without_jitter_is_kept_to_the_second() -> None:
    policy = Retry(schedule=(5.0, 300.0), jitter=False)
    assert [policy.delay_s(n, random.Random(0)) for n in (1, 2)] == [5, 300]
    assert Retry(schedule=[1.0], max_attempts=2).schedule == (1.0,)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"schedule": (1, 2), "max_attempts": 2}, "makes 3 attempts, and max_attempts says 2"),
        ({"schedule": (-1,)}, "between 0 and"),
        ({"schedule": (float("nan"),)}, "between 0 and"),
        ({"schedule": (1e9,)}, "between 0 and"),
        ({"schedule": (1,) * 1000}, "at most 999 delays"),
        ({"jitter": 1.5}, "between 0 and 1, not 1.5"),
        ({"jitter": -0.1}, "between 0 and 1"),
        ({"jitter": float("nan")}, "between 0 and 1"),
    ],
    ids=str,
)
def test_a_schedule_or_a_jitter_that_cannot_be_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        Retry(**fields)  # type: ignore[arg-type]
