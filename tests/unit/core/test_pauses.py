"""Pauses double, up to a bound, and differ from process to process."""

import random

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.pauses import Pause


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.integers())
def test_pauses_double_up_to_their_bound(first_s: float, most_s: float, seed: int) -> None:
    pause = Pause(first_s, most_s, random.Random(seed))
    for _ in range(2):
        for n in range(20):
            length_s = min(first_s * 2**n, most_s)
            assert length_s / 2 <= pause.next_s() <= length_s
        pause.reset()


def test_they_have_jitter() -> None:
    assert len({Pause(1, 1, random.Random(seed)).next_s() for seed in range(10)}) == 10
