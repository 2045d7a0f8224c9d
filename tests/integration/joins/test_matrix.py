"""Writing in the user's transaction, by every kind of connection: both land, or neither."""

import pytest

from headrace.core.errors import Conflict, LeaseLost, StoreUnavailable, UsageError
from headrace.core.model import Cause, Failed, Failure, Lease, Retried, Settle, SettleResult, Snoozed
from headrace.core.states import JobState
from tests.integration.joins.kit import Shop, User

ODD = '{"text": "100 % of $1 \'smith\\\\ \\"sons\\" %s %(a)s :b ?  北京 🦉"}'


async def test_a_commit_lands_both(shop: Shop, user: User) -> None:
    job = shop.job(key="k", key_digest="d", args=ODD, tags=("a, {b}", 'c "d" \\ 北京'), deadline_s=3600.0)
    later = shop.job(queue="new " + shop.task, delay_s=60.5, traceparent="00-1-2-3", priority=7)
    dated = shop.job(run_at=2e9 + 0.25, deadline_at=2e9 + 1.5, timeout_s=1.5, max_attempts=3)
    await user.pay(shop.amount)
    answers = await shop.store.join(user.using).enqueue([job, later, dated])
    assert [(answer.id, answer.created, answer.offset) for answer in answers] == [
        (each.id, True, 1) for each in (job, later, dated)
    ]
    assert await shop.store.get([job.id]) == [None]
    await user.commit()
    assert await shop.payments() == 1
    one, two, three = await shop.store.get([job.id, later.id, dated.id])
    assert one is not None
    assert two is not None
    assert three is not None
    assert (one.state, one.args, one.tags, one.key) == (JobState.READY, ODD, job.tags, "k")
    assert (two.state, two.queue, two.priority) == (JobState.SCHEDULED, later.queue, 7)
    assert two.run_at is not None
    assert two.run_at - two.created_at == pytest.approx(60.5, abs=1e-3)
    assert (three.run_at, three.deadline_at, three.timeout_s, three.max_attempts) == (2e9 + 0.25, 2e9 + 1.5, 1.5, 3)
    (again,) = await shop.store.enqueue([shop.job(key="k", key_digest="d")])
    assert (again.id, again.created) == (job.id, False)


async def test_enqueue_twice_then_the_users_own_write(shop: Shop, user: User) -> None:
    joined = shop.store.join(user.using)
    jobs = [shop.job(key="k", key_digest="d"), shop.job(), shop.job(key="k", key_digest="d")]
    first = await joined.enqueue(jobs)
    assert [answer.id for answer in first] == [jobs[0].id, jobs[1].id, jobs[0].id]
    assert [answer.created for answer in first] == [True, True, False]
    second = await shop.store.join(user.using).enqueue([jobs[1], shop.job()])
    assert [answer.created for answer in second] == [False, True]
    assert await joined.enqueue([]) == []
    await user.pay(shop.amount)
    await user.commit()
    assert await shop.payments() == 1
    assert None not in await shop.store.get([job.id for job in jobs[:2]])


async def test_a_rollback_lands_neither(shop: Shop, user: User) -> None:
    job = shop.job(key="k", key_digest="d")
    await user.pay(shop.amount)
    await shop.store.join(user.using).enqueue([job])
    await user.rollback()
    assert await shop.payments() == 0
    assert await shop.store.get([job.id]) == [None]
    assert job.queue not in {queue.name for queue in await shop.store.queues()}
    assert (await shop.store.enqueue([job]))[0].created  # no number of the lost transaction is remembered
    settle = await shop.claimed(priority=9)
    assert (await shop.store.exchange(shop.worker, [settle], None)).settled == (SettleResult.SETTLED,)


async def test_a_conflict_leaves_the_users_transaction_usable(shop: Shop, user: User) -> None:
    holder = shop.job(key="k", key_digest="d")
    await shop.store.enqueue([holder])
    await user.pay(shop.amount)
    free = shop.job(key="free", key_digest="d")
    with pytest.raises(Conflict) as caught:
        await shop.store.join(user.using).enqueue([free, shop.job(key="k", key_digest="other")])
    assert caught.value.job_id == holder.id
    await user.commit()
    assert await shop.payments() == 1
    assert await shop.store.get([free.id]) == [None]


async def test_a_success_lands_with_the_writes(shop: Shop, user: User) -> None:
    settle = await shop.claimed()
    await user.pay(shop.amount)
    joined = shop.store.join(user.using)
    assert await joined.settle(settle) is SettleResult.SETTLED
    assert (await shop.record(settle.id)).state is JobState.RUNNING
    shop.rung.clear()
    await joined.commit()
    assert f"job:{settle.id.hex()}" in shop.rung
    assert await shop.payments() == 1
    record = await shop.record(settle.id)
    assert (record.state, record.result) == (JobState.SUCCEEDED, '"paid"')
    assert (await shop.store.exchange(shop.worker, [settle], None)).settled == (SettleResult.REPEATED,)


async def test_a_success_that_is_rolled_back_leaves_the_job_running(shop: Shop, user: User) -> None:
    settle = await shop.claimed()
    await user.pay(shop.amount)
    joined = shop.store.join(user.using)
    assert await joined.settle(settle) is SettleResult.SETTLED
    await joined.rollback()
    assert await shop.payments() == 0
    assert (await shop.record(settle.id)).state is JobState.RUNNING
    assert (await shop.store.exchange(shop.worker, [settle], None)).settled == (SettleResult.SETTLED,)


async def test_a_lost_lease_writes_nothing(shop: Shop, user: User) -> None:
    settle = await shop.claimed()
    await shop.store.reap([shop.worker])
    await user.pay(shop.amount)
    joined = shop.store.join(user.using)
    assert await joined.settle(settle) is SettleResult.LOST
    await joined.rollback()
    assert await shop.payments() == 0
    assert (await shop.record(settle.id)).state is JobState.READY


async def test_other_ends_land_with_the_transaction_too(shop: Shop, user: User) -> None:
    failure = Failure("ValueError", ODD, Cause.ERROR)
    first, second, third = [await shop.claimed() for _ in range(3)]
    joined = shop.store.join(user.using)
    assert await joined.settle(Settle(first.id, first.fence, Snoozed(30.0, "later"))) is SettleResult.SETTLED
    assert await joined.settle(Settle(second.id, second.fence, Retried(failure))) is SettleResult.SETTLED
    assert await joined.settle(Settle(third.id, third.fence, Failed(failure))) is SettleResult.SETTLED
    await joined.commit()
    records = [await shop.record(settle.id) for settle in (first, second, third)]
    assert [record.state for record in records] == [JobState.SCHEDULED, JobState.READY, JobState.FAILED]
    assert records[2].failure.message == ODD


async def test_what_settled_before_is_told_as_repeated(shop: Shop, user: User) -> None:
    settle = await shop.claimed()
    await shop.store.exchange(shop.worker, [settle], None)
    joined = shop.store.join(user.using)
    assert await joined.settle(settle) is SettleResult.REPEATED
    await joined.rollback()


async def test_events_land_with_the_writes(shop: Shop, user: User) -> None:
    settle = await shop.claimed()
    lease = Lease(settle.id, settle.fence)
    mine, keyed, other = shop.event(), shop.event(b"", "k ü"), shop.event(sink="another " + shop.task)
    await user.pay(shop.amount)
    joined = shop.store.join(user.using)
    assert await joined.publish([mine, other, mine], lease, once=True) == [True, True, False]
    assert await joined.publish([keyed, mine]) == [True, True]
    assert await joined.publish([]) == []
    assert await shop.waiting() == []
    shop.rung.clear()
    await joined.commit()
    assert f"sink:{mine.sink}" in shop.rung
    assert await shop.payments() == 1
    assert (await shop.waiting(), await shop.waiting(other.sink)) == ([mine, keyed, mine], [other])
    assert await shop.store.publish([mine], once=True) == [False]


async def test_events_are_rolled_back_with_the_writes(shop: Shop, user: User) -> None:
    mine = shop.event()
    await user.pay(shop.amount)
    assert await shop.store.join(user.using).publish([mine], once=True) == [True]
    await user.rollback()
    assert (await shop.payments(), await shop.waiting()) == (0, [])
    assert mine.sink not in {sink.name for sink in await shop.store.sinks()}
    assert await shop.store.publish([mine], once=True) == [True]


async def test_an_attempt_that_lost_its_lease_publishes_nothing(shop: Shop, user: User) -> None:
    settle = await shop.claimed()
    await shop.store.reap([shop.worker])
    await user.pay(shop.amount)
    with pytest.raises(LeaseLost):
        await shop.store.join(user.using).publish([shop.event()], Lease(settle.id, settle.fence), once=True)
    await user.commit()
    assert (await shop.payments(), await shop.waiting()) == (1, [])


async def test_hints_ring_after_the_commit(shop: Shop, user: User) -> None:
    joined = shop.store.join(user.using)
    job = shop.job()
    await joined.enqueue([job])
    shop.rung.clear()
    await joined.commit()
    assert f"queue:{job.queue}" in shop.rung


async def test_a_transaction_that_has_failed_must_be_rolled_back_first(shop: Shop, user: User) -> None:
    with pytest.raises(Exception, match="division by zero"):
        await user.execute("SELECT 1 / 0")
    with pytest.raises(UsageError, match="roll it back"):
        await shop.store.join(user.using).enqueue([shop.job()])


async def test_a_connection_that_is_lost_says_so_and_is_written_by_no_more(shop: Shop, user: User) -> None:
    joined = shop.store.join(user.using)
    job = shop.job()
    await joined.enqueue([job])
    await shop.throw_users_out()
    with pytest.raises(StoreUnavailable):
        await joined.enqueue([shop.job()])
    await joined.rollback()
    assert await shop.store.get([job.id]) == [None]


async def test_a_commit_on_a_connection_that_is_lost_says_so(shop: Shop, user: User) -> None:
    settle = await shop.claimed()
    joined = shop.store.join(user.using)
    await user.pay(shop.amount)
    await joined.settle(settle)
    await shop.throw_users_out()
    with pytest.raises(StoreUnavailable):
        await joined.commit()
    assert await shop.payments() == 0
    assert (await shop.record(settle.id)).state is JobState.RUNNING
