"""What is judged of upstreams: each checker bites on a broken promise, and lets the lawful neighbour pass."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from headrace.core.breaker import CallCounts
from headrace.core.budget import RetryBudget
from headrace.core.bulkhead import Adaptive
from headrace.core.fleet import BreakerState, Fleet, Member, Probe, Said
from headrace.core.model import Cause, Failure, Retried, Snoozed
from headrace.testing.sim import call_events as c
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers import Checker
from headrace.testing.sim.checkers.bounds import CallsAreBounded, HalfOpenIsBounded, OutcomesAreTrue
from headrace.testing.sim.checkers.calls import CallsFitTheirProcess
from headrace.testing.sim.checkers.held import CallsLeaveNothing, HeldJobsWait, OutagesBurnNothing
from headrace.testing.sim.checkers.lent import TheDeadHoldNothing
from headrace.testing.sim.outages import Outages, draw
from tests.simulation.court import JOB, Court, returned

NODE = "node of w1"


def outages() -> Outages:
    """Of one service, of which every version permits two probes and two calls at once."""
    drawn = draw(1, always=True)
    assert drawn is not None
    plan = drawn.plans[0]
    policy = plan.policies[2]
    breaker = replace(policy.terms.breaker, permitted_number_of_calls_in_half_open_state=2)  # type: ignore[type-var]
    policy = replace(policy, terms=replace(policy.terms, breaker=breaker, max_concurrency=2), snoozes_max=1)
    return replace(drawn, plans=(replace(plan, policies={1: policy, 2: policy}),))


class Bench(Court):
    """A court with an upstream, the bank."""

    def __init__(self, make: type[Checker]) -> None:
        super().__init__(make)
        self.scenario.outages = outages()
        node = SimpleNamespace(name=NODE, paused_until=0.0, dead=False)
        node.calls = SimpleNamespace(node=node, version=2, upstreams=SimpleNamespace(guards={}))
        self.workers["w1"] = node  # type: ignore[assignment]
        self.outside = SimpleNamespace(calls={NODE: node.calls}, plan=self.scenario.outages)
        self.checker = make(self)  # type: ignore[arg-type]
        self.fleet = Fleet(seen_at=self.server.wall())

    def amend(self, said: Said | None = None, **fields: Any) -> c.Amended:
        before = self.fleet.text
        self.fleet.seen_at = self.server.wall()
        for name, value in fields.items():
            setattr(self.fleet, name, value)
        return c.Amended("bank", before, self.fleet.text, said)

    def call(self, number: int, permit: str | None = None, generation: int = 1) -> c.Called:
        return c.Called(number, "bank", NODE, 2, "a", generation, permit, self.timeline.now)


def test_half_open_lets_through_what_is_permitted() -> None:
    court = Bench(HalfOpenIsBounded)
    at = court.server.wall() + 10
    half_open = BreakerState.HALF_OPEN
    court.tell(court.amend(state=half_open, permits={"a/1": at, "a/2": at, "a/3": at}))
    court.tell(court.call(1, "a/1"))
    court.tell(court.call(2, "a/2"))
    assert court.breaks(court.call(4, "a/4"))  # nobody granted it
    assert court.breaks(court.call(3, "a/3"))
    court = Bench(HalfOpenIsBounded)
    court.tell(court.amend(state=half_open, permits={"a/1": at, "a/2": at, "a/3": at}))
    court.tell(court.call(1, "a/1"))
    court.tell(court.call(2, "a/2"))
    court.tell(c.Served(1))
    court.tell(c.CallEnded(1, None))  # without an outcome: another may take its place
    court.tell(court.call(3, "a/3"))
    assert court.broken == []


def test_a_probe_whose_lease_has_ended_makes_room() -> None:
    court = Bench(HalfOpenIsBounded)
    at = court.server.wall()
    court.tell(court.amend(state=BreakerState.HALF_OPEN, permits={"a/1": at + 5, "a/2": at + 20, "a/3": at + 20}))
    court.tell(court.call(1, "a/1"))
    court.tell(court.call(2, "a/2"))
    court.wait(6)
    assert court.breaks(court.call(4, "a/1"))  # it begins too late
    court.tell(court.amend())
    court.tell(court.call(3, "a/3"))
    assert court.broken == []


def test_calls_at_once_fit() -> None:
    court = Bench(CallsAreBounded)
    assert court.breaks(court.call(1))  # without a slice
    court = Bench(CallsAreBounded)
    members = {"a": Member(0.0, slots=2, until_at=court.server.wall() + 5)}
    court.tell(court.amend(members=members))
    court.tell(court.call(1))
    court.tell(court.call(2))
    court.tell(c.Served(1))
    court.tell(court.call(3))
    assert court.broken == []
    court.tell(court.call(4))
    assert court.broken


def test_what_the_dead_held_makes_room() -> None:
    court = Bench(CallsAreBounded)
    later = court.server.wall() + 5
    court.tell(court.amend(members={name: Member(0.0, slots=2, until_at=later) for name in ("a", "b")}))
    court.tell(court.call(1))
    court.tell(replace(court.amend(members={"b": court.fleet.members["b"]}), forgot="a"))
    court.tell(replace(court.call(2), process="b"))
    court.tell(replace(court.call(3), process="b"))
    assert court.broken == []
    assert court.breaks(replace(court.call(4), process="b"))
    court = Bench(HalfOpenIsBounded)
    court.tell(court.amend(state=BreakerState.HALF_OPEN, permits={"a/1": later, "b/1": later}))
    court.tell(court.call(1, "a/1"))
    court.tell(replace(court.amend(permits={"b/1": later, "b/2": later}), forgot="a"))
    court.tell(court.call(2, "b/1"))
    assert not court.breaks(court.call(3, "b/2"))


def test_retries_fit_their_budget_and_calls_an_adaptive_limit() -> None:
    def made() -> Bench:
        court = Bench(CallsFitTheirProcess)
        plan = court.scenario.outages.plans[0]
        policy = replace(plan.policies[2], retry_budget=RetryBudget(0.2, 0.1, 10), adaptive=Adaptive(1, 1, 2))
        court.scenario.outages = replace(court.scenario.outages, plans=(replace(plan, policies={2: policy}),))
        return court

    again = c.Retrying("bank", 2, "a", 100.0)
    court = made()
    court.tell(again)  # the floor
    assert court.breaks(again)
    court = made()
    for number in range(5):
        court.tell(replace(court.call(number), began=100.0))
        court.tell(c.CallEnded(number, failed=True))
    court.tell(again)
    court.tell(replace(again, at=105.0))
    assert court.breaks(replace(again, at=105.0))
    court = made()
    court.tell(again)
    assert not court.breaks(replace(again, at=111.0))
    court = made()
    court.tell(court.call(10))
    court.tell(replace(court.call(11), process="b"))
    court.tell(court.call(12))
    court.tell(c.CallEnded(10, failed=None))
    assert not court.breaks(court.call(13))
    assert court.breaks(court.call(14))


def test_the_dead_hold_nothing() -> None:
    def court(*, supervised: bool = True) -> Bench:
        made = Bench(TheDeadHoldNothing)
        made.workers["w1"].parent = SimpleNamespace(dead=not supervised, paused_until=0.0)  # type: ignore[assignment]
        made.tell(made.amend(members={"w1": Member(0.0, slots=1)}, late={"w1/1": 1e12}))
        return made

    living = court()
    living.wait(60)
    assert not living.breaks(living.amend())
    assert living.breaks(replace(living.amend(members={}), forgot="w1"))
    dead = court()
    dead.workers["w1"].dead = True
    dead.tell(e.Died(NODE, "w1", -9))
    assert not dead.breaks(dead.amend())
    dead.wait(10)
    assert dead.breaks(dead.amend())
    assert dead.breaks(dead.amend(members={}))  # a permit of its is still counted
    assert not dead.breaks(replace(dead.amend(late={}), forgot="w1"))
    alone = court(supervised=False)
    alone.tell(e.Died(NODE, "w1", -9))
    alone.wait(60)
    assert not alone.breaks(alone.amend())


def test_breakers_count_what_calls_came_to() -> None:
    court = Bench(OutcomesAreTrue)
    court.tell(court.call(1, "a/1"))
    court.tell(c.CallEnded(1, failed=False))
    said = Said("a", 1, CallCounts(1))
    assert not court.breaks(court.amend(said))
    assert court.breaks(court.amend(replace(said, counts=CallCounts(2))))
    assert court.breaks(court.amend(replace(said, counts=CallCounts(1, 1))))
    assert not court.breaks(court.amend(replace(said, probes=(Probe("a/1", failed=False),))))
    assert court.breaks(court.amend(replace(said, probes=(Probe("a/1", failed=True),))))
    court.fleet.generation = 5
    assert court.breaks(court.amend(said, state=BreakerState.OPEN))


def test_held_jobs_wait() -> None:
    court = Bench(HeldJobsWait)
    court.register()
    court.enqueue(task="pay")
    may = c.Allowed(JOB, "pay", NODE, (("bank", BreakerState.CLOSED, False),))
    start = e.Started(JOB, 1, 1, "w1", NODE)
    court.tell(e.Up(NODE))
    assert court.breaks(start)  # nobody asked
    assert not court.breaks(may, start)
    assert court.breaks(replace(may, known=(("bank", BreakerState.OPEN, False),)))
    assert court.breaks(replace(may, known=(("bank", BreakerState.HALF_OPEN, False),)))
    assert not court.breaks(replace(may, known=(("bank", BreakerState.HALF_OPEN, True),)))
    court.wait(5)
    court.tell(court.amend(state=BreakerState.OPEN))
    assert not court.breaks(may)  # it has not looked
    court.wait(2)
    assert court.breaks(may)


def test_outages_burn_no_attempts() -> None:
    court = Bench(OutagesBurnNothing)
    court.register()
    court.enqueue(task="pay")
    failure = Failure("ServiceFailed", "the upstream 'bank' failed", Cause.UPSTREAM)
    ends = replace(returned(Retried(failure)), node=NODE)
    assert court.breaks(ends)
    assert not court.breaks(replace(ends, outcome=Retried(replace(failure, message="its own"))))
    assert not court.breaks(replace(ends, outcome=Snoozed(1.0, "", failure)))
    court.checker._snoozes[JOB] = 1  # type: ignore[attr-defined]  # as often as it may
    assert not court.breaks(ends)


def test_calls_leave_nothing_behind() -> None:
    court = Bench(CallsLeaveNothing)
    permits = SimpleNamespace(bound=set(), busy=set(), parting={})
    waiting = SimpleNamespace(in_use=0, waiting=0)
    core = SimpleNamespace(_permits=permits, in_flight=0, slots=waiting, starts=SimpleNamespace(waiting=0))
    guard = SimpleNamespace(core=core, _waiting=[], probing=0, name="bank")
    court.outside.calls[NODE].upstreams.guards["bank"] = guard
    assert court.drains()
    guard.probing = 1
    assert not court.drains()
    guard.probing, waiting.waiting = 0, 1
    assert not court.drains()
