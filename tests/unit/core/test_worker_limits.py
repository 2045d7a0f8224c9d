"""What a worker asks for when some of its tasks have limits: no more than it can start, and again when it may."""

from collections.abc import Sequence

from headrace.core.limits import Limit, TaskLimit
from headrace.core.model import ClaimedJob, ClaimRequest, Exchanged, Pool, SettleResult, Succeeded
from headrace.core.worker import WorkerCore
from headrace.core.worker_events import (
    Effect,
    Ended,
    Exchange,
    ExchangeAnswered,
    PoolSettings,
    Promote,
    Start,
    Woken,
    WorkerSettings,
)

LIMITS = (TaskLimit("a", Limit(3)),)


def job(number: int, task: str = "a") -> ClaimedJob:
    return ClaimedJob(number.to_bytes(16), 1, task, "default", "{}", 1, 0, 0, 0, 3, 60.0, None, (), "", 2)


def core(slots: int = 2, prefetch_max: int = 0) -> WorkerCore:
    """Tasks a, which has limits, and b share some slots; t, without, has its own."""
    pools = {
        "async": PoolSettings(frozenset({"a", "b"}), slots, prefetch_max),
        "thread": PoolSettings(frozenset({"t"}), 2, prefetch_max),
    }
    return WorkerCore(WorkerSettings(pools=pools, limits=LIMITS), 0.0)


def asked(effects: Sequence[Effect]) -> tuple[Exchange, ClaimRequest]:
    (exchange,) = [effect for effect in effects if isinstance(effect, Exchange)]
    assert exchange.claim is not None
    return exchange, exchange.claim


def answered(
    exchange: Exchange, *jobs: ClaimedJob, more: bool = False, next_start_s: float | None = None
) -> ExchangeAnswered:
    settled = (SettleResult.SETTLED,) * len(exchange.settles)
    return ExchangeAnswered(exchange.token, Exchanged(settled, jobs, more=more, next_start_s=next_start_s))


def started(effects: Sequence[Effect]) -> list[str]:
    return [effect.job.task for effect in effects if isinstance(effect, Start)]


def test_a_claim_brings_the_limits_and_says_how_many_it_can_start() -> None:
    _, claim = asked(core().handle(Woken(), 0.0))
    assert claim.limits == LIMITS
    assert set(claim.pools) == {Pool(frozenset({"a", "b"}), 2, limited=2), Pool(frozenset({"t"}), 2, limited=None)}


def test_what_is_claimed_ahead_has_no_limits() -> None:
    worker = core(slots=1, prefetch_max=20)
    exchange, _ = asked(worker.handle(Woken(), 0.0))
    now = 0.0
    for number in range(40):  # fast work: some is claimed ahead
        now += 0.01
        effects = worker.handle(answered(exchange, job(number, "b"), more=True), now)
        now += 0.01
        effects += worker.handle(Ended(job(number, "b").id, 1, Succeeded()), now)
        exchange, claim = asked(effects[-1:])
    pool = next(pool for pool in claim.pools if "a" in pool.tasks)  # while the slot is taken
    assert (pool.limit > 0, pool.limited) == (True, 0)


def test_jobs_with_limits_start_before_others_that_came_with_them() -> None:
    worker = core(slots=2)
    exchange, _ = asked(worker.handle(Woken(), 0.0))
    effects = worker.handle(answered(exchange, job(1, "b"), job(2, "b"), job(3, "a")), 0.0)
    assert started(effects) == ["a", "b"]


def test_an_end_makes_it_ask_again_in_the_same_exchange() -> None:
    worker = core()
    exchange, _ = asked(worker.handle(Woken(), 0.0))
    worker.handle(answered(exchange, job(1)), 0.0)
    _, claim = asked(worker.handle(Ended(job(1).id, 1, Succeeded()), 0.1))
    assert [pool.tasks for pool in claim.pools] == [frozenset({"a", "b"})]


def test_tasks_of_other_pools_are_not_asked_for_more_often() -> None:
    worker = core()
    exchange, _ = asked(worker.handle(Woken(), 0.0))
    worker.handle(answered(exchange, job(1, "t")), 0.0)
    (effect,) = worker.handle(Ended(job(1).id, 1, Succeeded()), 0.1)
    assert isinstance(effect, Exchange)
    assert effect.claim is None


def test_it_asks_when_a_rate_lets_the_next_start_and_not_before() -> None:
    worker = core()
    exchange, _ = asked(worker.handle(Woken(), 0.0))
    assert worker.handle(answered(exchange, next_start_s=0.4), 0.0) == []
    assert 0.4 < worker.next_deadline() < 0.41
    assert worker.handle_timeout(0.4) == []
    effects = worker.handle_timeout(worker.next_deadline())
    assert not [effect for effect in effects if isinstance(effect, Promote)]
    exchange, _ = asked(effects)
    assert worker.handle(answered(exchange), 0.41) == []
    assert worker.next_deadline() == 1.0  # the poll


def test_nothing_left_but_what_is_limited_is_not_asked_for_again() -> None:
    worker = core()
    exchange, _ = asked(worker.handle(Woken(), 0.0))
    assert worker.handle(answered(exchange), 0.0) == []
