"""Limits: what is refused at definition, the rate against a naive model, and what a claim may take."""

from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import InvalidConfig
from headrace.core.limits import (
    N_MAX,
    Gate,
    Limit,
    RateLimit,
    ScopeState,
    TaskLimit,
    kept_back,
    may_start,
    next_start_s,
    scope_of,
    scopes,
    started,
    turn_of,
)

rates = st.builds(RateLimit, st.integers(1, 20), st.floats(0.01, 100.0), st.none() | st.integers(1, 30))
pauses = st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 8)), min_size=1, max_size=60)
BASE_AT = 1_800_000_000.0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Limit(0), "Limit.n is a whole number between 1"),
        (lambda: Limit(True), "Limit.n"),
        (lambda: Limit(2.5), "Limit.n"),  # type: ignore[arg-type]
        (lambda: Limit(2, key=7), "Limit.key is the name of a parameter"),  # type: ignore[arg-type]
        (lambda: RateLimit(0, 1), "RateLimit.n"),
        (lambda: RateLimit(-1, 1), "RateLimit.n"),
        (lambda: RateLimit(1, 0), "RateLimit.per is a number of seconds"),
        (lambda: RateLimit(1, -5), "RateLimit.per"),
        (lambda: RateLimit(1, float("nan")), "RateLimit.per"),
        (lambda: RateLimit(1, "1s"), "RateLimit.per"),  # type: ignore[arg-type]
        (lambda: RateLimit(1, 1, burst=0), "RateLimit.burst"),
    ],
)
def test_what_cannot_work_is_refused_by_name(make: Any, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        make()


def test_a_rate_is_said_in_seconds_or_as_a_timedelta() -> None:
    assert RateLimit(30, timedelta(minutes=1)).interval_s == RateLimit(30, 60).interval_s == 2.0
    assert (RateLimit(30, 60).at_once, RateLimit(30, 60, burst=1).at_once) == (30, 1)


@given(rates, pauses)
def test_no_interval_has_more_starts_than_the_burst_and_its_share(rate: RateLimit, asked: Any) -> None:
    now, at = BASE_AT, None
    starts: list[float] = []
    for pause_s, wanted in asked:
        now += pause_s * rate.interval_s
        count = min(wanted, may_start(rate, at, now))
        starts += [now] * count
        at = started(rate, at, now, count) if count else at
    for first in range(len(starts)):
        for last in range(first, len(starts)):
            length_s = starts[last] - starts[first]
            assert last - first + 1 <= rate.at_once + length_s / rate.interval_s + 1e-3


@given(rates, pauses)
def test_it_refuses_no_more_than_a_bucket_of_tokens_would(rate: RateLimit, asked: Any) -> None:
    now, at, tokens = BASE_AT, None, float(rate.at_once)
    for pause_s, wanted in asked:
        now += pause_s * rate.interval_s
        tokens = min(float(rate.at_once), tokens + pause_s)
        allowed = may_start(rate, at, now)
        assert tokens - 1.001 < allowed < tokens + 0.001
        count = min(wanted, allowed)
        tokens -= count
        at = started(rate, at, now, count) if count else at


@given(rates, st.floats(0.0, 3.0))
def test_the_next_start_is_allowed_when_it_is_said_to_be_and_not_before(rate: RateLimit, later: float) -> None:
    at = started(rate, None, BASE_AT, rate.at_once)
    now = BASE_AT + later * rate.interval_s
    wait_s = next_start_s(rate, at, now)
    if wait_s == 0:
        assert may_start(rate, at, now)
    else:
        assert wait_s <= rate.interval_s + 1e-6
        assert may_start(rate, at, now + wait_s + 1e-6)
        assert not may_start(rate, at, now + wait_s * 0.99 - 1e-5)


def test_a_clock_that_steps_back_or_a_slower_rate_of_before_do_not_stop_it_for_long() -> None:
    rate = RateLimit(1, 10)
    assert next_start_s(rate, BASE_AT + 86_400, BASE_AT) == 10.0


def test_starts_at_an_even_pace_are_never_refused() -> None:
    rate, at, now = RateLimit(3, 1, burst=1), None, BASE_AT
    for _ in range(10_000):
        assert may_start(rate, at, now) >= 1
        at = started(rate, at, now, 1)
        now += 1 / 3


class Scopes:
    def __init__(self, **running: int) -> None:
        self.running = running
        self.looks: list[str] = []

    def look(self, scope: str) -> tuple[int, float | None]:
        self.looks.append(scope)
        return self.running.get(scope.replace("\x1f", "_"), 0), None


def test_a_limit_over_the_task_is_shared_by_its_keys() -> None:
    scopes = Scopes(charge=1)
    gate = Gate([TaskLimit("charge", Limit(3))], BASE_AT, scopes.look)
    assert (gate.limited("charge"), gate.limited("refund")) == (True, False)
    assert gate.start("charge", "a", 1) == "charge"
    assert gate.room("charge", "b") == 1
    assert scopes.looks == ["charge"]


def test_a_limit_with_a_key_counts_each_apart() -> None:
    gate = Gate([TaskLimit("charge", Limit(2, key="tenant"))], BASE_AT, Scopes(charge_a=2).look)
    assert (gate.room("charge", "a"), gate.room("charge", "b")) == (0, 2)
    assert gate.start("charge", "b", 2) == scope_of("charge", "b")
    assert gate.room("charge", "b") == 0


def test_the_closer_of_two_limits_counts_and_only_a_rate_tells_when() -> None:
    limit = TaskLimit("charge", Limit(3, key="tenant"), RateLimit(4, 8))
    gate = Gate([limit], BASE_AT, Scopes().look)
    assert gate.room("charge", "a") == 3
    gate.start("charge", "a", 3)
    assert gate.next_start_s("charge", "a") is None
    assert gate.room("charge", "b") == 1
    gate.start("charge", "b", 1)
    assert gate.room("charge", "b") == 0
    assert gate.next_start_s("charge", "b") == pytest.approx(2.0)
    assert gate.rates == {"charge": pytest.approx(BASE_AT + 8)}


def test_scopes_of_different_tasks_and_keys_differ() -> None:
    names = [scope_of(task, key) for task in ("a", "ab") for key in (None, "", "b", "bb")]
    assert len(set(names)) == len(names)
    assert all(one != other for one, other in pairwise(sorted(names)))


def gate(limit: TaskLimit, found: dict[str, tuple[int, float | None]], now: float = 100.0) -> Gate:
    return Gate((limit,), now, lambda scope: found.get(scope, (0, None)))


def test_a_gate_lets_through_what_both_limits_allow() -> None:
    limit = TaskLimit("charge", Limit(3, key="tenant"), RateLimit(10, 1, burst=2))
    allowed = gate(limit, {scope_of("charge", "a"): (1, None)})
    assert allowed.limited("charge")
    assert not allowed.limited("mail")
    assert allowed.room("charge", "a") == 2
    assert allowed.start("charge", "a", 2) == scope_of("charge", "a")
    assert allowed.rates == {"charge": 100.2}
    assert allowed.room("charge", "a") == 0, "three run"
    assert allowed.next_start_s("charge", "a") is None, "until one of them ends"
    assert allowed.room("charge", "b") == 0, "the rate is everybody's"
    assert allowed.next_start_s("charge", "b") == pytest.approx(0.1)


def test_a_gate_with_a_rate_alone_takes_no_slot() -> None:
    limit = TaskLimit("charge", None, RateLimit(1, 60))
    allowed = gate(limit, {})
    assert allowed.next_start_s("charge", "") == 0
    assert allowed.start("charge", "", 1) is None
    assert allowed.next_start_s("charge", "") == pytest.approx(60)
    only = gate(TaskLimit("charge", Limit(1)), {})
    assert only.next_start_s("charge", "") == 0
    assert scopes(limit, "a") == ["charge"]
    assert scopes(TaskLimit("t", Limit(1, key="k"), RateLimit(1, 1)), "a") == [scope_of("t", "a"), "t"]


@pytest.mark.parametrize(
    ("limit", "found", "why"),
    [
        (TaskLimit("t", Limit(2)), {"t": (1, None)}, None),
        (TaskLimit("t", Limit(1)), {"t": (1, None)}, "1 attempt of 't' runs, which is its limit"),
        (TaskLimit("t", Limit(2)), {"t": (2, None)}, "2 attempts of 't' run, which is its limit"),
        (
            TaskLimit("t", Limit(2, key="k")),
            {scope_of("t", "a"): (2, None)},
            "2 attempts of 't' of the key 'a' run, which is its limit",
        ),
        (
            TaskLimit("t", None, RateLimit(1, 10)),
            {"t": (0, 4.0)},
            "the rate of 't' lets the next one start in 4.0 seconds",
        ),
        (
            TaskLimit("t", None, RateLimit(1, 10, key="k")),
            {scope_of("t", "a"): (0, 4.0)},
            "the rate of 't' of the key 'a' lets the next one start in 4.0 seconds",
        ),
    ],
)
def test_why_a_job_is_kept_back(limit: TaskLimit, found: dict[str, tuple[int, float | None]], why: str | None) -> None:
    assert kept_back(limit, "a", {name: ScopeState(*each) for name, each in found.items()}) == why


def test_why_a_job_of_an_ordered_task_waits() -> None:
    limit = TaskLimit("t", Limit(2), ordered=True)
    lane, first, second = turn_of("t", "0a"), bytes(16), bytes(15) + b"\1"
    assert scopes(limit, "0a") == ["t", lane]
    for holder, job, why in ((None, second, None), (first, first, None), (first, second, "has begun and not ended")):
        said = kept_back(limit, "0a", {"t": ScopeState(0, None), lane: ScopeState(0, None, holder)}, job)
        assert (said is None) if why is None else (said is not None and why in said and str(UUID(bytes=first)) in said)


def test_turns_are_no_scope_of_a_limit() -> None:
    gate = Gate([TaskLimit("t", ordered=True)], BASE_AT, Scopes().look)
    assert (gate.ordered("t"), gate.ordered("other"), gate.room("t", "a")) == (True, False, N_MAX)
    assert gate.start("t", "a", 1) is None
    assert turn_of("t", "a") not in {scope_of("t", "a"), scope_of("t", None), scope_of("ta", "")}
