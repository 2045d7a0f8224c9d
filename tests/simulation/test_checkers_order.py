"""What is judged of ordered tasks: the checker bites, and lets the neighbour pass."""

from typing import cast

from headrace.core.limits import TaskLimit
from headrace.core.model import ClaimedJob, Failed, Retried
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers import Checker
from headrace.testing.sim.checkers.order import OrderIsKept
from headrace.testing.sim.world import World
from tests.simulation.court import DONE, JOB, OOPS, ORDINARY, OTHER, Court

THIRD = bytes(15) + b"\3"


def judged(world: World) -> Checker:
    cast("Court", world).scenario.limits = (TaskLimit("t", ordered=True),)
    return OrderIsKept(world)


def claimed(job: bytes, fence: int = 1) -> e.Claimed:
    given = ClaimedJob(job, fence, "t", "q", "{}", fence, 0, 0, 0, 3, 60.0, None, (), "", 2)
    return e.Claimed("w1", given, suspicion=ORDINARY)


def court_with(*jobs: bytes, **fields: object) -> Court:
    court = Court(judged)  # type: ignore[arg-type]
    court.register()
    for job in jobs:
        court.enqueue(job, max_attempts=3, **fields)
    return court


def test_nobody_starts_beside_one_that_has_begun_and_not_ended() -> None:
    court = court_with(JOB, OTHER, lane_key="a")
    court.enqueue(THIRD, lane_key="b")
    court.claim()
    assert court.breaks(claimed(OTHER))
    assert not court.breaks(claimed(THIRD))
    court.settle(Retried(OOPS, 100.0))
    assert court.breaks(claimed(OTHER))
    assert not court.breaks(claimed(JOB, 2))
    court.cancel()
    assert not court.breaks(claimed(OTHER))


def test_nobody_starts_before_one_that_came_earlier() -> None:
    court = court_with(JOB, OTHER, THIRD)
    assert court.breaks(claimed(OTHER))
    court.claim()
    court.settle(DONE)
    assert court.breaks(claimed(THIRD))
    court.cancel(OTHER)
    assert not court.breaks(claimed(THIRD))


def test_one_that_is_made_ready_again_comes_last_or_goes_on() -> None:
    court = court_with(JOB, OTHER, THIRD)
    court.claim()
    court.settle(Failed(OOPS))
    court.retry()
    assert court.breaks(claimed(OTHER))  # it goes on: nobody has started since
    court.cancel()
    court.claim()
    court.retry()
    court.settle(DONE, job=OTHER)
    assert court.breaks(claimed(JOB, 2))
    assert not court.breaks(claimed(THIRD))


def test_priorities_and_what_is_due_later_have_lines_of_their_own() -> None:
    court = court_with(JOB)
    court.enqueue(OTHER, priority=5)
    court.enqueue(THIRD, delay_s=10.0)
    assert court.breaks(claimed(JOB))
    assert not court.breaks(claimed(OTHER))
    court.cancel(OTHER)
    assert not court.breaks(claimed(JOB))
    court.cancel(JOB)
    assert not court.breaks(claimed(THIRD))
