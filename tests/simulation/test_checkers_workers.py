"""What is judged of workers, their leases and what they leave: each checker bites, and lets the neighbour pass."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from headrace.core.model import (
    Cancelled,
    Failed,
    GivenBack,
    Lease,
    Settle,
    SettleResult,
    Suspicion,
)
from headrace.core.states import JobState
from headrace.core.worker import WorkerCore
from headrace.core.worker_events import PoolSettings, WorkerSettings
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.effects import EffectsOnce
from headrace.testing.sim.checkers.leaks import NothingLeaks
from headrace.testing.sim.checkers.leases import BeginsWithinLease, LeasesHold
from headrace.testing.sim.checkers.quarantine import OnlyPoisonIsQuarantined, is_poison
from headrace.testing.sim.checkers.reaps import OnlyTheDeadAreReaped
from headrace.testing.sim.checkers.slots import Slots
from headrace.testing.sim.checkers.work import WorkIsKept
from headrace.testing.sim.sessions import Session
from tests.simulation.court import DONE, JOB, LEASE_S, OOPS, ORDINARY, OTHER, SUSPECTS, Court, returned

# -- workers ------------------------------------------------------------------------------------------


def test_only_the_dead_are_reaped() -> None:
    court = Court(OnlyTheDeadAreReaped)
    court.running_job()
    assert court.breaks(e.Reaped((), ("w1",), ((JOB, JobState.READY),)))  # its lease lasts
    assert court.breaks(e.Reaped(("w1",), ("w1",), ((JOB, JobState.READY),)))  # it lives
    assert court.breaks(e.Reaped((), ("unknown",), ()))
    court.die()
    assert not court.breaks(e.Reaped(("w1",), ("w1",), ((JOB, JobState.READY),)))
    assert court.breaks(e.Reaped(("w1",), ("w1",), ()))  # its job stays behind
    court.timeline.run(LEASE_S)
    assert not court.breaks(e.Reaped((), ("w1",), ((JOB, JobState.READY),)))


def test_who_ends_in_order_leaves_no_body_behind() -> None:
    court = Court(OnlyTheDeadAreReaped)
    court.running_job()
    assert court.breaks(e.Unregistered("w1"))
    court.tell(returned())
    assert not court.breaks(e.Unregistered("w1"))
    court.book.jobs[JOB].claims[-1].returned = False
    court.die()
    assert not court.breaks(e.Unregistered("w1"))


def test_leases_last_as_long_as_they_were_given() -> None:
    court = Court(LeasesHold)
    court.running_job()
    kept, lost = e.Renewed("w1", LEASE_S, (), lost=False), e.Renewed("w1", LEASE_S, (), lost=True)
    assert not court.breaks(kept)
    assert court.breaks(lost)
    court.timeline.run(LEASE_S)
    assert court.breaks(kept)
    assert not court.breaks(lost)
    court.reap()
    assert court.breaks(kept)
    assert not court.breaks(lost)


def test_nothing_begins_past_its_lease() -> None:
    court = Court(BeginsWithinLease)
    court.running_job()
    court.timeline.run(LEASE_S - 0.1)
    started = e.Started(JOB, 1, 1, "w1", "n1")
    assert not court.breaks(started)
    court.timeline.run(LEASE_S + 0.1)
    assert court.breaks(started)
    assert not court.breaks(e.Renewed("w1", LEASE_S, (), lost=True))
    assert court.breaks(started)
    assert not court.breaks(e.Renewed("w1", LEASE_S, (), lost=False))
    assert not court.breaks(started)


def test_a_renewal_brings_every_cancel() -> None:
    court = Court(LeasesHold)
    court.running_job()
    told = e.Renewed("w1", LEASE_S, (Lease(JOB, 1),), lost=False)
    assert court.breaks(told)
    court.cancel()
    assert not court.breaks(told)
    assert court.breaks(e.Renewed("w1", LEASE_S, (), lost=False))


def test_bodies_fit_the_slots() -> None:
    court = Court(Slots)
    court.running_job()
    for job in (OTHER, bytes(16)):
        court.enqueue(job)
        court.claim()
    court.start(job=OTHER)
    third = e.Started(bytes(16), 1, 1, "w1", "node of w1")
    assert court.breaks(third)
    court.die()
    assert not court.breaks(third)


def test_nothing_runs_beside_one_that_runs_alone() -> None:
    court = Court(Slots)
    court.register()
    for job in (JOB, OTHER):
        court.enqueue(job)
    court.claim(limit=2)
    one, other = (e.Started(job, 1, 1, "w1", "node of w1") for job in (JOB, OTHER))
    assert not court.breaks(one, other)
    court.book.jobs[JOB].fences[1].job.suspect = Suspicion.ALONE
    court.checker.see(e.Returned(OTHER, 1, "w1", "node of w1", DONE, lease_lost=False))
    assert court.breaks(other)
    court.checker.see(e.Returned(JOB, 1, "w1", "node of w1", DONE, lease_lost=False))
    assert not court.breaks(other)


def test_suspects_and_others_are_kept_apart() -> None:
    court = Court(OnlyPoisonIsQuarantined)
    first = court.running_job()
    court.reap("w1")
    court.register("s1", "suspects")
    court.register("w2")
    again = replace(first, fence=2, attempt=2, suspect=Suspicion.SHARED)
    assert not court.breaks(e.Claimed("s1", again, suspicion=SUSPECTS))
    for other in (Suspicion.NONE, Suspicion.ALONE):
        assert court.breaks(e.Claimed("s1", replace(again, suspect=other), suspicion=(other,)))
    assert court.breaks(e.Claimed("w2", again, suspicion=ORDINARY))
    assert court.breaks(e.Claimed("w2", again, suspicion=tuple(Suspicion)))


def test_suspects_run_beside_each_other_but_for_those_that_run_alone() -> None:
    court = Court(OnlyPoisonIsQuarantined)
    first = court.running_job()
    court.enqueue(OTHER)
    court.claim()
    court.reap("w1")
    court.register("s1", "suspects")
    court.claim("s1", suspects=True)
    (left,) = {JOB, OTHER} - set(court.book.workers["s1"].holds)
    beside = replace(first, id=left, fence=2, attempt=2, suspect=Suspicion.SHARED)
    assert not court.breaks(e.Claimed("s1", beside, suspicion=SUSPECTS))
    court.book.jobs[left].suspect = Suspicion.ALONE
    alone = e.Claimed("s1", replace(beside, suspect=Suspicion.ALONE), suspicion=SUSPECTS)
    assert court.breaks(alone)
    court.settle(worker="s1", job=JOB if left == OTHER else OTHER, fence=2)
    assert not court.breaks(alone)


def test_only_deaths_alone_count_towards_quarantine() -> None:
    court = Court(OnlyPoisonIsQuarantined)
    court.running_job()
    assert court.breaks(e.Reaped((), ("w1",), ((JOB, JobState.FAILED),)))
    assert court.breaks(e.Reaped((), ("w1",), ((JOB, JobState.SCHEDULED),)))
    court.reap("w1")
    for number in range(4):
        court.wait(60.0)
        court.register(f"s{number}", "suspects")
        assert court.claim(f"s{number}", suspects=True)
        end = JobState.SCHEDULED if number in {0, 3} else JobState.FAILED
        assert court.breaks(e.Reaped((), (f"s{number}",), ((JOB, end),)))
        court.checker._quarantined.clear()  # type: ignore[attr-defined]
        court.reap(f"s{number}")
    assert court.broken == []
    assert court.server.state(JOB) is JobState.FAILED
    assert court.drains()
    court.checker._quarantined.clear()  # type: ignore[attr-defined]
    assert not court.drains()


def test_poison_never_succeeds() -> None:
    deadly = json.dumps({"steps": json.dumps([{"do": "die"}])})
    assert is_poison(deadly)
    assert not is_poison(json.dumps({"steps": json.dumps([{"do": "die", "until": 1}])}))
    court = Court(OnlyPoisonIsQuarantined)
    court.running_job(args=deadly)
    assert court.breaks(e.Settled("w1", Settle(JOB, 1, DONE), SettleResult.SETTLED))
    assert court.breaks(e.Joined(JOB, 1, SettleResult.SETTLED))
    assert not court.breaks(e.Settled("w1", Settle(JOB, 1, Failed(OOPS)), SettleResult.SETTLED))


def test_what_a_body_came_to_is_settled() -> None:
    court = Court(WorkIsKept)
    court.running_job()
    court.tell(returned(Failed(OOPS)))
    assert not court.drains()
    assert court.breaks(e.Unregistered("w1"))
    court.tell(returned(Failed(OOPS)))
    assert court.breaks(e.Reconciled("w1", frozenset({Lease(JOB, 2)}), 1))
    assert not court.breaks(e.Reconciled("w1", frozenset({Lease(JOB, 1)}), 0))
    assert court.breaks(e.Settled("w1", Settle(JOB, 1, GivenBack(started=True)), SettleResult.SETTLED))
    court.tell(returned(Failed(OOPS)))
    assert not court.breaks(e.Settled("w1", Settle(JOB, 1, Failed(OOPS)), SettleResult.SETTLED))
    assert court.drains()


def test_work_of_the_dead_and_of_the_late_may_be_lost() -> None:
    court = Court(WorkIsKept)
    court.running_job()
    court.tell(returned())
    court.die()
    assert court.drains()
    court.tell(returned(lease_lost=True))
    assert court.drains()


def test_a_success_that_was_under_way_may_be_quicker_than_a_cancel() -> None:
    court = Court(WorkIsKept)
    court.running_job()
    court.tell(returned(Cancelled()))
    assert not court.breaks(e.Settled("w1", Settle(JOB, 1, DONE), SettleResult.SETTLED))
    court.tell(returned(Cancelled()))
    assert not court.breaks(e.Joined(JOB, 1, SettleResult.SETTLED))
    assert court.drains()


def test_an_effect_has_one_success() -> None:
    court = Court(EffectsOnce)
    court.running_job()
    assert court.breaks(e.Succeeded(JOB, 1))
    court.server.apply("commit", (Session(JOB, 1), Settle(JOB, 1, DONE)), {})
    assert not court.breaks(e.Succeeded(JOB, 1))
    assert court.breaks(e.Succeeded(JOB, 2))
    assert court.drains()
    court.server.effects.append((JOB, 1))
    assert not court.drains()
    court.server.effects[:] = []
    assert not court.drains()
    court.server.effects[:] = [(JOB, 1), (OTHER, 1)]
    assert not court.drains()


# -- what is left behind ------------------------------------------------------------------------------


def worker(court: Court, name: str = "w1") -> Any:
    """A worker as the checker looks at it, with a real core that has done nothing yet."""
    core = WorkerCore(WorkerSettings({"async": PoolSettings(frozenset({"t"}), 2)}), 0.0)
    made = SimpleNamespace(_core=core, running=0, _closing={}, record=SimpleNamespace(id=name))
    court.running[f"node of {name}"] = made
    return made


def test_an_idle_worker_keeps_nothing() -> None:
    court = Court(NothingLeaks)
    court.register()
    made = worker(court)
    assert court.drains()
    pool = made._core._pools[0]
    pool.running = 1
    assert not court.drains()
    pool.running = 0
    made._closing[JOB] = None
    assert not court.drains()
    made._closing.clear()
    made._core._settles.append(Settle(JOB, 1, DONE))
    assert not court.drains()
    made._core._settles.clear()
    assert court.drains()


def test_nobody_waits_for_ever() -> None:
    court = Court(NothingLeaks)
    court.register()
    made = worker(court)
    made._core.handle_timeout(0.0)
    assert made._core._flight is not None
    assert court.drains()
    court.timeline.run(1_000.0)
    assert not court.drains()


def test_who_was_drained_has_brought_everything_back() -> None:
    court = Court(NothingLeaks)
    made = worker(court)
    made._core._drained = True
    court.checker.ended("node of w1", made, 0)
    assert court.broken == []
    made._core._pools[0].running = 1
    court.checker.ended("node of w1", made, 1)
    assert court.broken == []
    court.checker.ended("node of w1", made, 0)
    assert court.broken


def test_jobs_that_ended_are_held_by_nobody() -> None:
    court = Court(NothingLeaks)
    court.running_job()
    assert not court.drains()
    court.settle()
    assert court.drains()


def test_feeds_that_nobody_reads_are_not_followed() -> None:
    court = Court(NothingLeaks)
    loop_reader = SimpleNamespace(_followed={JOB: object()})
    api = SimpleNamespace(node=SimpleNamespace(dead=False), reader=SimpleNamespace(_loops={1: loop_reader}))
    court.apis.append(api)
    assert not court.drains()
    court.readers.append(SimpleNamespace(done=False))
    assert court.drains()


def test_who_ended_in_order_is_not_registered() -> None:
    court = Court(NothingLeaks)
    court.register()
    court.die(code=-9)
    court.checker.closed()
    assert court.broken == []
    court.tell(e.Died("node of w1", "w1", 0))
    court.checker.closed()
    assert court.broken
