"""A worker whose tasks an upstream restrains: held work is left where it is, and comes back by itself."""

from collections.abc import Sequence
from typing import TypeVar

from headrace.core.model import ClaimedJob, Exchanged, GivenBack, Pool, Settle, SettleResult, Succeeded, Suspicion
from headrace.core.worker import WorkerCore
from headrace.core.worker_events import (
    Allowance,
    Effect,
    Ended,
    Exchange,
    ExchangeAnswered,
    Idle,
    PoolSettings,
    Restrained,
    Start,
    Woken,
    WorkerSettings,
)

T = TypeVar("T")
CHARGE, REFUND = frozenset({"charge"}), frozenset({"refund"})
NEEDY = CHARGE | REFUND
FREE = frozenset({"mail"})
UNSTARTED = GivenBack(started=False)


def job(number: int, task: str = "charge", *, suspect: Suspicion = Suspicion.NONE) -> ClaimedJob:
    """A claimed job."""
    return ClaimedJob(
        number.to_bytes(16), 1, task, "default", "{}", 1, 0, 0, 0, 3, 60.0, None, (), "", 2, suspect=suspect
    )  # fmt: skip


def core(slots: int = 4, tasks: frozenset[str] = NEEDY | FREE, *, suspects: bool | None = False) -> WorkerCore:
    """One pool, at time 0."""
    pools = {"async": PoolSettings(tasks, slots, prefetch_max=10)}
    return WorkerCore(WorkerSettings(pools=pools, needy=NEEDY, suspects=suspects), 0.0)


def only(effects: Sequence[Effect], kind: type[T]) -> list[T]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def asked(effects: Sequence[Effect]) -> tuple[Exchange, tuple[Pool, ...]]:
    """The exchange, and what it claims."""
    (exchange,) = only(effects, Exchange)
    return exchange, exchange.claim.pools if exchange.claim is not None else ()


def answer(exchange: Exchange, *jobs: ClaimedJob, more: bool = False) -> ExchangeAnswered:
    """Its answer."""
    return ExchangeAnswered(exchange.token, Exchanged((SettleResult.SETTLED,) * len(exchange.settles), jobs, more=more))


def restrained(*allowances: tuple[frozenset[str], int]) -> Restrained:
    """What upstreams allow."""
    return Restrained(tuple(Allowance(*each) for each in allowances))


def test_held_tasks_are_left_out_and_asked_for_again_when_they_are_free() -> None:
    worker = core()
    exchange, pools = asked(worker.handle(restrained((NEEDY, 0)), 0.0))
    assert pools == (Pool(FREE, 4),)
    assert worker.handle(answer(exchange), 0.0) == []
    exchange, pools = asked(worker.handle(restrained(), 0.1))
    assert pools == (Pool(NEEDY | FREE, 4),)


def test_nothing_is_asked_where_everything_is_held() -> None:
    worker = core(tasks=CHARGE)
    assert worker.handle(restrained((CHARGE, 0)), 0.0) == []
    assert worker.handle(Woken(), 1.0) == []


def test_as_many_as_are_allowed_are_asked_for_and_no_more() -> None:
    worker = core()
    exchange, pools = asked(worker.handle(restrained((CHARGE, 2), (REFUND, 0)), 0.0))
    assert pools == (Pool(CHARGE, 2), Pool(FREE, 2)), "no more than there is room for"
    exchange, pools = asked(worker.handle(answer(exchange, job(1), job(2), more=True), 0.0))
    assert pools == (Pool(FREE, 2),), "what is left is not asked for again and again"
    assert worker.handle(answer(exchange), 0.0) == []
    exchange, pools = asked(worker.handle(Ended(job(1).id, 1, Succeeded()), 0.1))
    assert Pool(CHARGE, 1) in pools


def test_tasks_of_one_allowance_share_it() -> None:
    worker = core()
    exchange, pools = asked(worker.handle(restrained((NEEDY, 2)), 0.0))
    assert pools == (Pool(NEEDY, 2), Pool(FREE, 2))
    started = worker.handle(answer(exchange, job(1), job(2, "refund"), job(3)), 0.0)
    assert [each.job.id for each in only(started, Start)] == [job(1).id, job(2).id]
    exchange, pools = asked(started)
    assert exchange.settles == (Settle(job(3).id, 1, UNSTARTED),), "claimed before it was known"


def test_what_waits_for_a_slot_goes_back_when_it_is_held() -> None:
    worker = core(slots=1)
    exchange, _ = asked(worker.handle(Woken(), 0.0))
    worker.handle(answer(exchange, job(1), job(2), job(3, "mail"), job(4)), 0.0)
    exchange, _ = asked(worker.handle(restrained((NEEDY, 2)), 0.1))
    assert exchange.settles == (Settle(job(4).id, 1, UNSTARTED),), "the last in line"
    worker.handle(answer(exchange), 0.1)
    exchange, _ = asked(worker.handle(restrained((NEEDY, 0)), 0.2))
    assert exchange.settles == (Settle(job(2).id, 1, UNSTARTED),), "the one that runs goes on"
    worker.handle(answer(exchange), 0.2)
    effects = worker.handle(Ended(job(1).id, 1, Succeeded()), 0.3)
    assert [each.job.id for each in only(effects, Start)] == [job(3).id]


def test_suspects_that_are_held_wait_too() -> None:
    worker = core(suspects=True)
    effects = worker.handle(restrained((NEEDY | FREE, 0)), 0.0)
    assert only(effects, Exchange) == []
    worker = core(suspects=True, tasks=CHARGE)
    effects = worker.handle(restrained((CHARGE, 0)), 0.0)
    assert only(effects, Exchange) == []
    assert only(effects, Idle) == [Idle()], "the process of suspects may end; another one is made for what comes back"


def test_a_suspect_that_runs_alone_may_be_a_probe() -> None:
    held = core(suspects=True, tasks=NEEDY)
    assert not only(held.handle(restrained((NEEDY, 0)), 0.0), Exchange)
    exchange, pools = asked(held.handle(restrained((NEEDY, 2)), 0.1))
    assert exchange.claim is not None
    while exchange.claim is not None and Suspicion.ALONE not in exchange.claim.suspicion:
        exchange, pools = asked(held.handle(answer(exchange), 0.2))
        assert exchange.claim is not None
    assert pools == (Pool(NEEDY, 1),)


def test_each_kind_is_asked_for_where_there_is_room_for_one() -> None:
    worker = core(slots=1, tasks=NEEDY | FREE)
    _, pools = asked(worker.handle(restrained((CHARGE, 1), (REFUND, 1)), 0.0))
    assert pools == (Pool(CHARGE, 1), Pool(REFUND, 1), Pool(FREE, 1)), "who has nothing ready keeps nobody out"
