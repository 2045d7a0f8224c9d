"""When the next child may be started."""

import pytest

from headrace.runtime.restarts import BURST, BURST_WINDOW_S, DELAY_MAX_S, Restarts


def test_after_a_death_at_once() -> None:
    restarts = Restarts()
    assert restarts.delay_s(0.0) == 0.0
    restarts.note_death(0.0, ready=True)
    assert restarts.delay_s(0.0) == 0.0


def test_children_that_never_come_up_are_started_ever_later() -> None:
    restarts = Restarts()
    delays = []
    for _ in range(8):
        restarts.note_death(0.0, ready=False)
        delays.append(restarts.delay_s(0.0))
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, DELAY_MAX_S, DELAY_MAX_S, DELAY_MAX_S]
    assert restarts.stillborn == 8


def test_one_that_comes_up_ends_that() -> None:
    restarts = Restarts()
    restarts.note_death(0.0, ready=False)
    restarts.note_ready()
    assert restarts.stillborn == 0
    assert restarts.delay_s(0.0) == 0.0


@pytest.mark.parametrize(("deaths", "delay_s"), [(BURST, 0.0), (BURST + 1, 1.0), (BURST + 3, 4.0), (64, DELAY_MAX_S)])
def test_a_burst_of_deaths_is_slowed_down_until_it_is_over(deaths: int, delay_s: float) -> None:
    restarts = Restarts()
    for _ in range(deaths):
        restarts.note_death(0.0, ready=True)
    assert restarts.delay_s(1.0) == delay_s
    assert restarts.delay_s(BURST_WINDOW_S + 1.0) == 0.0
