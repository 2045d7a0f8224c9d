"""The worker core, one decision at a time, and under random histories."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.model import (
    Cancelled,
    Cause,
    ClaimedJob,
    Exchanged,
    Failed,
    Failure,
    GivenBack,
    JobId,
    Lease,
    Retried,
    Settle,
    SettleResult,
    Succeeded,
    Suspicion,
)
from headrace.core.worker import WorkerCore
from headrace.core.worker_events import (
    CancelAsked,
    DrainAsked,
    Drained,
    Drop,
    Effect,
    Ended,
    Event,
    Exchange,
    ExchangeAnswered,
    ExchangeFailed,
    Idle,
    LeaseGone,
    PoolSettings,
    Promote,
    Promoted,
    Reconciled,
    Start,
    Stop,
    StopReason,
    Woken,
    WorkerSettings,
)
from tests.effort import effort

TASK = "work"
OOPS = Failure("Oops", "no")
T = TypeVar("T")


def job(number: int, fence: int = 1, **changes: object) -> ClaimedJob:
    """A claimed job numbered `number`."""
    claimed = ClaimedJob(
        id=number.to_bytes(16),
        fence=fence,
        task=TASK,
        queue="default",
        args="{}",
        attempt=1,
        failures=0,
        crashes=0,
        snoozes=0,
        max_attempts=3,
        timeout_s=60.0,
        deadline_in_s=None,
        tags=(),
        signature="",
        offset=2,
    )
    for name, value in changes.items():
        setattr(claimed, name, value)
    return claimed


def core(slots: int = 2, prefetch_max: int = 0, **changes: object) -> WorkerCore:
    """A core at time 0 with one pool."""
    pools = {"async": PoolSettings(frozenset({TASK}), slots, prefetch_max)}
    return WorkerCore(WorkerSettings(pools=pools, **changes), 0.0)  # type: ignore[arg-type]


def only(effects: Sequence[Effect], kind: type[T]) -> list[T]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def claimed(worker: WorkerCore, *jobs: ClaimedJob, now: float = 0.0, **answer: object) -> list[Effect]:
    """Wake the worker and answer its claim with `jobs`."""
    (exchange,) = only(worker.handle(Woken(), now), Exchange)
    settled = tuple(SettleResult.SETTLED for _ in exchange.settles)
    return worker.handle(ExchangeAnswered(exchange.token, Exchanged(settled, jobs, **answer)), now)  # type: ignore[arg-type]


class TestClaims:
    """How much is asked for, and when."""

    def test_claims_as_many_as_there_are_slots(self) -> None:
        (exchange,) = only(core(slots=3).handle(Woken(), 0.0), Exchange)
        assert exchange.claim is not None
        assert [pool.limit for pool in exchange.claim.pools] == [3]

    def test_one_exchange_at_a_time(self) -> None:
        worker = core()
        assert only(worker.handle(Woken(), 0.0), Exchange)
        assert not worker.handle(Woken(), 0.0)

    def test_full_slots_ask_for_nothing_and_a_free_one_settles_and_claims_at_once(self) -> None:
        worker = core(slots=1)
        claimed(worker, job(1), more=True)
        assert not only(worker.handle(Woken(), 1.0), Exchange)
        (exchange,) = only(worker.handle(Ended(job(1).id, 1, Succeeded()), 2.0), Exchange)
        assert exchange.settles == (Settle(job(1).id, 1, Succeeded()),)
        assert exchange.claim is not None

    def test_an_empty_answer_waits_for_a_hint_or_the_poll(self) -> None:
        worker = core(poll_s=5.0)
        claimed(worker)
        assert not worker.handle_timeout(4.9)
        effects = worker.handle_timeout(5.0)
        assert only(effects, Exchange)
        assert only(effects, Promote)

    def test_prefetches_by_time_and_starts_what_waited_without_asking(self) -> None:
        worker = core(slots=1, prefetch_max=10)
        effects = claimed(worker, job(1), more=True)
        number, now = 1, 0.0
        for _ in range(40):  # 200 bodies a second: ten of them fit into 50 ms
            now += 1 / 200
            effects = worker.handle(Ended(job(number).id, 1, Succeeded()), now)
            (exchange,) = only(effects, Exchange)
            number += 1
            settled = tuple(SettleResult.SETTLED for _ in exchange.settles)
            effects = worker.handle(ExchangeAnswered(exchange.token, Exchanged(settled, (job(number),))), now)
            assert len(only(effects, Start)) == 1
            if more := only(worker.handle(Woken(), now), Exchange):
                break
        assert more[0].claim is not None
        assert 0 < more[0].claim.pools[0].limit <= 10
        worker.handle(ExchangeAnswered(more[0].token, Exchanged((), (job(100), job(101)))), now)
        effects = worker.handle(Ended(job(number).id, 1, Succeeded()), now)
        assert [start.job.id for start in only(effects, Start)] == [job(100).id]

    def test_stops_claiming_while_too_many_outcomes_wait(self) -> None:
        worker = core(slots=2, settles_max=1)
        (exchange,) = only(worker.handle(Woken(), 0.0), Exchange)
        worker.handle(ExchangeAnswered(exchange.token, Exchanged((), (job(1), job(2)), more=True)), 0.0)
        (exchange,) = only(worker.handle(Ended(job(1).id, 1, Succeeded()), 1.0), Exchange)
        worker.handle(ExchangeFailed(exchange.token, transient=True), 1.0)
        (exchange,) = only(worker.handle_timeout(20.0), Exchange)
        assert exchange.claim is None
        assert exchange.settles

    def test_scheduled_work_is_promoted_when_it_is_due_and_then_claimed(self) -> None:
        worker = core(poll_s=60.0)
        claimed(worker, next_due_s=2.0)
        worker.handle_timeout(0.0)
        assert worker.next_deadline() == 2.0
        assert worker.handle_timeout(2.0) == [Promote()]
        assert only(worker.handle(Promoted(1, None), 2.1), Exchange)

    def test_an_unknown_task_is_given_back_unstarted(self) -> None:
        effects = claimed(core(), job(1, task="other"))
        (exchange,) = only(effects, Exchange)
        assert exchange.settles[0].outcome == GivenBack(started=False)


class TestTime:
    """Timeouts, deadlines and spurious calls."""

    def test_a_spurious_timeout_changes_nothing(self) -> None:
        worker = core()
        claimed(worker, job(1))
        worker.handle_timeout(0.5)
        assert worker.handle_timeout(0.5) == []

    def test_a_body_past_its_timeout_is_stopped_once_and_may_then_be_killed(self) -> None:
        worker = core(kill_grace_s=10.0)
        claimed(worker, job(1, timeout_s=30.0))
        assert worker.kill_at == 40.0
        assert only(worker.handle_timeout(30.0), Stop) == [Stop(job(1).id, 1, StopReason.TIMEOUT)]
        assert not only(worker.handle_timeout(31.0), Stop)
        assert worker.running == 1
        worker.handle(Ended(job(1).id, 1, Succeeded()), 32.0)
        assert worker.running == 0
        assert worker.kill_at == 0.0

    def test_the_jobs_deadline_comes_before_the_attempts_timeout(self) -> None:
        worker = core()
        claimed(worker, job(1, deadline_in_s=5.0), now=100.0)
        assert only(worker.handle_timeout(105.0), Stop) == [Stop(job(1).id, 1, StopReason.DEADLINE)]

    def test_a_deadline_that_has_passed_fails_without_a_start(self) -> None:
        effects = claimed(core(), job(1, deadline_in_s=-1.0))
        assert not only(effects, Start)
        (exchange,) = only(effects, Exchange)
        outcome = exchange.settles[0].outcome
        assert isinstance(outcome, Failed)
        assert outcome.failure.cause is Cause.DEADLINE

    def test_old_timeouts_do_not_pile_up(self) -> None:
        worker = core(slots=1)
        effects = claimed(worker, job(1), more=True)
        for number in range(1, 2_000):
            (exchange,) = only(worker.handle(Ended(job(number).id, 1, Succeeded()), 0.0), Exchange)
            answer = Exchanged((SettleResult.SETTLED,), (job(number + 1),), more=True)
            effects = worker.handle(ExchangeAnswered(exchange.token, answer), 0.0)
        assert only(effects, Start)
        assert len(worker._stops) < 100


class TestTrouble:
    """Answers that do not come, leases that go, people who cancel."""

    def test_an_answer_that_never_comes_sends_the_settles_again_and_asks_what_it_holds(self) -> None:
        worker = core(slots=2, answer_s=30.0)
        claimed(worker, job(1), job(2), more=True)
        (lost,) = only(worker.handle(Ended(job(1).id, 1, Succeeded()), 1.0), Exchange)
        worker.handle_timeout(31.0)
        (again,) = only(worker.handle_timeout(32.0), Exchange)
        assert again.settles == lost.settles
        assert again.token != lost.token
        assert set(again.reconcile or ()) == {Lease(job(1).id, 1), Lease(job(2).id, 1)}

    def test_claims_of_an_answer_that_came_too_late_are_given_back_by_reconciling(self) -> None:
        worker = core(slots=2, answer_s=30.0)
        (late,) = only(worker.handle(Woken(), 0.0), Exchange)
        worker.handle_timeout(30.0)
        (second,) = only(worker.handle_timeout(31.0), Exchange)
        assert not only(worker.handle(ExchangeAnswered(late.token, Exchanged((), (job(1),))), 31.5), Start)
        (third,) = only(
            worker.handle(ExchangeAnswered(second.token, Exchanged((), (job(2),), more=True)), 32.0), Exchange
        )
        assert third.reconcile == (Lease(job(2).id, 1),)

    def test_a_refused_batch_is_halved_until_the_bad_settle_stands_alone(self) -> None:
        worker = core(slots=4)
        claimed(worker, *(job(number) for number in range(1, 5)))
        effects: list[Effect] = []
        effects = worker.handle_all([Ended(job(number).id, 1, Succeeded()) for number in range(1, 5)], 1.0)
        dropped: list[Drop] = []
        written: set[JobId] = set()
        for _ in range(20):
            exchanges = only(effects, Exchange)
            dropped += only(effects, Drop)
            if not exchanges:
                break
            (exchange,) = exchanges
            ids = {settle.id for settle in exchange.settles}
            if job(3).id in ids:
                effects = worker.handle(ExchangeFailed(exchange.token, transient=False), 1.0)
            else:
                written |= ids
                answer = Exchanged(tuple(SettleResult.SETTLED for _ in ids), ())
                effects = worker.handle(ExchangeAnswered(exchange.token, answer), 1.0)
        assert [drop.settle.id for drop in dropped] == [job(3).id]
        assert written == {job(1).id, job(2).id, job(4).id}

    def test_a_job_whose_outcome_is_refused_alone_fails_instead(self) -> None:
        """Else it would run again and again, and no attempt of it would count."""
        worker = core(slots=1)
        claimed(worker, job(1))
        (exchange,) = only(worker.handle(Ended(job(1).id, 1, Succeeded()), 1.0), Exchange)
        while isinstance(exchange.settles[0].outcome, Succeeded):
            effects = worker.handle(ExchangeFailed(exchange.token, transient=False), 1.0)
            assert only(effects, Drop) == []
            (exchange,) = only(effects, Exchange)
        (settle,) = exchange.settles
        assert isinstance(settle.outcome, Failed)
        assert (settle.id, settle.fence, settle.outcome.failure.type) == (job(1).id, 1, "headrace.NotStored")

    def test_a_failed_exchange_backs_off_and_grows(self) -> None:
        worker = core(backoff_s=0.1, backoff_max_s=0.3, poll_s=100.0)
        waits: list[float] = []
        now = 0.0
        (exchange,) = only(worker.handle(Woken(), now), Exchange)
        for _ in range(4):
            assert not only(worker.handle(ExchangeFailed(exchange.token, transient=True), now), Exchange)
            waits.append(round(worker.next_deadline() - now, 6))
            now = worker.next_deadline()
            (exchange,) = only(worker.handle_timeout(now), Exchange)
        assert waits[1:] == [0.2, 0.3, 0.3]

    def test_a_cancel_stops_a_running_body_and_settles_a_waiting_one(self) -> None:
        worker = core(slots=1, prefetch_max=5)
        claimed(worker, job(1), job(2))
        effects = worker.handle(CancelAsked((Lease(job(1).id, 1), Lease(job(2).id, 1))), 1.0)
        assert only(effects, Stop) == [Stop(job(1).id, 1, StopReason.CANCEL)]
        (exchange,) = only(effects, Exchange)
        assert [(settle.id, type(settle.outcome)) for settle in exchange.settles] == [(job(2).id, Cancelled)]

    def test_a_cancel_of_another_fence_is_ignored(self) -> None:
        worker = core()
        claimed(worker, job(1, fence=7))
        assert not only(worker.handle(CancelAsked((Lease(job(1).id, 6),)), 1.0), Stop)

    def test_a_lost_lease_stops_the_body_and_settles_nothing(self) -> None:
        worker = core()
        claimed(worker, job(1))
        effects = worker.handle(LeaseGone(Lease(job(1).id, 1)), 1.0)
        assert only(effects, Stop) == [Stop(job(1).id, 1, StopReason.LOST)]
        assert worker.running == 1
        assert not any(
            exchange.settles for exchange in only(worker.handle(Ended(job(1).id, 1, Succeeded()), 2.0), Exchange)
        )
        assert worker.running == 0

    def test_draining_gives_back_what_waits_and_after_the_grace_what_runs(self) -> None:
        worker = core(slots=1, prefetch_max=5)
        claimed(worker, job(1), job(2))
        (exchange,) = only(worker.handle(DrainAsked(10.0), 0.0), Exchange)
        assert exchange.claim is None
        assert [settle.outcome for settle in exchange.settles] == [GivenBack(started=False)]
        worker.handle(ExchangeAnswered(exchange.token, Exchanged((SettleResult.SETTLED,), ())), 1.0)
        assert only(worker.handle_timeout(10.0), Stop) == [Stop(job(1).id, 1, StopReason.DRAIN)]
        (exchange,) = only(worker.handle(Ended(job(1).id, 1, GivenBack(started=True)), 11.0), Exchange)
        effects = worker.handle(ExchangeAnswered(exchange.token, Exchanged((SettleResult.SETTLED,), ())), 12.0)
        assert effects == [Drained()]

    def test_a_claim_that_arrives_while_draining_is_given_back(self) -> None:
        worker = core()
        (exchange,) = only(worker.handle(Woken(), 0.0), Exchange)
        worker.handle(DrainAsked(10.0), 0.0)
        effects = worker.handle(ExchangeAnswered(exchange.token, Exchanged((), (job(1),))), 1.0)
        assert not only(effects, Start)
        (exchange,) = only(effects, Exchange)
        assert exchange.settles[0].outcome == GivenBack(started=False)

    def test_a_suspects_worker_says_when_it_is_idle(self) -> None:
        worker = core(slots=1, suspects=True)
        assert not only(claimed(worker, job(1), more=False), Idle)
        (exchange,) = only(worker.handle(Ended(job(1).id, 1, Succeeded()), 1.0), Exchange)
        effects = worker.handle(ExchangeAnswered(exchange.token, Exchanged((SettleResult.SETTLED,), ())), 1.0)
        assert only(effects, Idle)


class TestSuspectsOnly:
    """A child for suspects: among themselves, and one that runs alone has nothing beside it."""

    @staticmethod
    def worker() -> WorkerCore:
        """Two pools."""
        pools = {"async": PoolSettings(frozenset({"a"}), 3), "cpu": PoolSettings(frozenset({"c"}), 2)}
        return WorkerCore(WorkerSettings(pools=pools, suspects=True), 0.0)

    @staticmethod
    def asked(effects: Sequence[Effect]) -> tuple[Exchange, tuple[Suspicion, ...]]:
        """The exchange, and which kind it asks for."""
        (exchange,) = only(effects, Exchange)
        assert exchange.claim is not None
        return exchange, exchange.claim.suspicion

    def test_asks_for_company_then_for_one_alone_and_then_is_idle(self) -> None:
        worker = self.worker()
        first, kind = self.asked(worker.handle(Woken(), 0.0))
        assert kind == (Suspicion.SHARED,)
        assert first.claim is not None
        assert [pool.limit for pool in first.claim.pools] == [3, 2]
        second, kind = self.asked(worker.handle(ExchangeAnswered(first.token, Exchanged((), ())), 0.0))
        assert kind == (Suspicion.ALONE,)
        assert second.claim is not None
        assert [(pool.tasks, pool.limit) for pool in second.claim.pools] == [({"a", "c"}, 1)]
        assert worker.handle(ExchangeAnswered(second.token, Exchanged((), ())), 0.0) == [Idle()]

    def test_one_that_runs_alone_waits_until_the_company_has_ended(self) -> None:
        worker = self.worker()
        first, _ = self.asked(worker.handle(Woken(), 0.0))
        company = tuple(replace(job(number, task="a"), suspect=Suspicion.SHARED) for number in (1, 2))
        assert not only(worker.handle(ExchangeAnswered(first.token, Exchanged((), company)), 0.0), Exchange)
        (second,) = only(worker.handle(Ended(job(1).id, 1, Succeeded()), 1.0), Exchange)
        assert second.claim is None
        worker.handle(ExchangeAnswered(second.token, Exchanged((SettleResult.SETTLED,), ())), 1.0)
        _, kind = self.asked(worker.handle(Ended(job(2).id, 1, Succeeded()), 2.0))
        assert kind == (Suspicion.ALONE,)

    def test_beside_one_that_runs_alone_nothing_is_asked_for(self) -> None:
        worker = self.worker()
        first, _ = self.asked(worker.handle(Woken(), 0.0))
        second, _ = self.asked(worker.handle(ExchangeAnswered(first.token, Exchanged((), ())), 0.0))
        alone = Exchanged((), (replace(job(1, task="c"), suspect=Suspicion.ALONE),))
        assert only(worker.handle(ExchangeAnswered(second.token, alone), 0.0), Start)
        assert not only(worker.handle(Woken(), 0.1), Exchange)
        _, kind = self.asked(worker.handle(Ended(job(1).id, 1, Succeeded()), 1.0))
        assert kind == (Suspicion.SHARED,)


@dataclass
class World:
    """A store of a few jobs that may lose answers, and the bodies that run."""

    ready: list[int]
    fences: dict[int, int] = field(default_factory=dict[int, int])
    held: set[int] = field(default_factory=set[int])
    done: list[int] = field(default_factory=list[int])
    running: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    flights: list[Exchange] = field(default_factory=list[Exchange])
    started: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    slots: int = 3

    def perform(self, effects: list[Effect]) -> None:
        """Note what the core wants; a start beyond the slots or twice under one fence is a bug."""
        for effect in effects:
            if isinstance(effect, Start):
                lease = (int.from_bytes(effect.job.id), effect.job.fence)
                assert lease not in self.started
                self.started.add(lease)
                self.running.append(lease)
                assert len(self.running) <= self.slots
            elif isinstance(effect, Exchange):
                self.flights.append(effect)  # one that the core gave up on may still be under way

    def commit(self, exchange: Exchange) -> Exchanged:
        """What the store does with it."""
        if exchange.reconcile is not None:
            known = {(int.from_bytes(lease.id), lease.fence) for lease in exchange.reconcile}
            for number, fence in sorted({(number, self.fences[number]) for number in self.held} - known):
                assert (number, fence) not in self.started, "given back as unstarted while it runs"
                self.held.discard(number)
                self.ready.append(number)
        settled = []
        for settle in exchange.settles:
            number = int.from_bytes(settle.id)
            if self.fences.get(number) != settle.fence or number not in self.held:
                result = SettleResult.REPEATED if number in self.done else SettleResult.LOST
            else:
                self.held.discard(number)
                result = SettleResult.SETTLED
                if isinstance(settle.outcome, Succeeded):
                    self.done.append(number)
                else:
                    self.ready.append(number)
            settled.append(result)
        taken: list[ClaimedJob] = []
        limit = exchange.claim.pools[0].limit if exchange.claim is not None else 0
        while self.ready and len(taken) < limit:
            number = self.ready.pop(0)
            self.fences[number] = self.fences.get(number, 0) + 1
            self.held.add(number)
            taken.append(job(number, fence=self.fences[number]))
        return Exchanged(tuple(settled), tuple(taken), more=bool(self.ready))


@given(st.lists(st.sampled_from(["answer", "lose", "fail", "end", "retry", "tick", "wake"]), max_size=200))
@settings(max_examples=effort(100, at_night=1_000), deadline=None)
def test_whatever_answers_are_lost_every_job_ends_exactly_once(script: list[str]) -> None:
    world = World(ready=list(range(1, 9)))
    worker = core(slots=world.slots, prefetch_max=4, answer_s=5.0, poll_s=1.0)
    now = 0.0
    world.perform(worker.handle(Woken(), now))
    for step in [*script, *["tick", "answer", "end"] * 120]:
        now += 0.1
        event: Event | None = None
        if step in {"answer", "lose", "fail"} and world.flights:
            exchange = world.flights.pop(0)
            if step == "answer":
                event = ExchangeAnswered(exchange.token, world.commit(exchange))
            elif step == "fail":
                event = ExchangeFailed(exchange.token, transient=True)
            else:
                world.commit(exchange)  # the answer is lost: the core hears nothing until it gives up
                now += 5.0
                world.perform(worker.handle_timeout(now))
                if exchange.reconcile is not None:  # a step of its own, and bounded in time
                    event = Reconciled(exchange.token)
        elif step in {"end", "retry"} and world.running:
            number, fence = world.running.pop(0)
            event = Ended(number.to_bytes(16), fence, Succeeded() if step == "end" else Retried(OOPS))
        elif step == "wake":
            event = Woken()
        elif step == "tick":
            now = max(now, worker.next_deadline())
            world.perform(worker.handle_timeout(now))
            assert worker.next_deadline() > now  # or the shell would call it again and again
        if event is not None:
            world.perform(worker.handle(event, now))
    assert sorted(world.done) == list(range(1, 9))
    assert not world.held
