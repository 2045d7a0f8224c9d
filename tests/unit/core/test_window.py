"""A window against a list of all that was ever recorded."""

from dataclasses import dataclass, field
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.breaker import Breaker, CallCounts, WindowType
from headrace.core.window import Window

CALL = st.tuples(st.booleans(), st.booleans())
GAP = st.one_of(st.just(0.0), st.floats(0, 3), st.floats(0, 100), st.floats(-3, 0))
ACTION = st.one_of(CALL, CALL, CALL, st.just("look"), st.just("clear"))


def policy(kind: WindowType, size: int) -> Breaker:
    return Breaker(sliding_window_type=kind, sliding_window_size=size, minimum_number_of_calls=1)


@dataclass
class Naive:
    """Every call with its second, counted anew each time."""

    kind: WindowType
    size: int
    calls: list[tuple[int, bool, bool]] = field(default_factory=list[tuple[int, bool, bool]])
    latest: int | None = None

    def see(self, now: float) -> int:
        self.latest = floor(now) if self.latest is None else max(self.latest, floor(now))
        return self.latest

    def counts(self, now: float) -> CallCounts:
        if self.kind is WindowType.COUNT:
            held = self.calls[-self.size :]
        else:
            second = self.see(now)
            held = [call for call in self.calls if second - self.size < call[0] <= second]
        return CallCounts(len(held), sum(call[1] for call in held), sum(call[2] for call in held))


@pytest.mark.parametrize("kind", list(WindowType))
@given(
    size=st.integers(1, 12),
    start=st.one_of(st.floats(0, 2e9), st.floats(-50, 50)),
    steps=st.lists(st.tuples(GAP, ACTION), max_size=80),
)
def test_it_counts_as_a_list_does(
    kind: WindowType, size: int, start: float, steps: list[tuple[float, tuple[bool, bool] | str]]
) -> None:
    window, naive, now = Window(policy(kind, size)), Naive(kind, size), start
    for gap, action in steps:
        now += gap
        if action == "look":
            assert window.counts(now) == naive.counts(now)
        elif action == "clear":
            window.clear()
            naive.calls.clear()
        else:
            failed, slow = action
            window.record(now, failed=bool(failed), slow=bool(slow))
            naive.calls.append((naive.see(now), bool(failed), bool(slow)))
    assert window.counts(now) == naive.counts(now)


def test_a_count_window_forgets_the_oldest_call() -> None:
    window = Window(policy(WindowType.COUNT, 3))
    for failed in (True, False, True, False):
        window.record(0.0, failed=failed, slow=not failed)
    assert window.counts(1e9) == CallCounts(3, 1, 2)


def test_a_time_window_is_this_second_and_those_before() -> None:
    window = Window(policy(WindowType.TIME, 10))
    window.record(100.9, failed=True, slow=True)
    window.record(101.0, failed=False, slow=False)
    assert window.counts(109.99) == CallCounts(2, 1, 1)
    assert window.counts(110.0) == CallCounts(1, 0, 0)
    assert window.counts(111.0) == CallCounts()


def test_a_late_call_counts_in_the_latest_second() -> None:
    window = Window(policy(WindowType.TIME, 2))
    window.record(50.0, failed=False, slow=False)
    window.record(10.0, failed=True, slow=False)
    assert window.counts(10.0) == window.counts(51.9) == CallCounts(2, 1, 0)
    assert window.counts(52.0) == CallCounts()


def test_clearing_forgets_and_goes_on() -> None:
    for kind in WindowType:
        window = Window(policy(kind, 5))
        window.record(7.0, failed=True, slow=True)
        window.clear()
        assert window.counts(7.0) == CallCounts()
        window.record(7.5, failed=False, slow=True)
        assert window.counts(7.5) == CallCounts(1, 0, 1)
