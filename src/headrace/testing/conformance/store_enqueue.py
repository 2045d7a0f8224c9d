# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Enqueue: durable, idempotent by id and by key, all or none."""

import pytest

from headrace.core.errors import Conflict, UsageError
from headrace.core.model import Cancelled, Enqueued, Failed, Failure, Retried, Succeeded, Suspicion
from headrace.core.states import JobState
from headrace.ports.store import StoreSettings
from headrace.testing.conformance.store_base import (
    FOREVER_S,
    FullStore,
    MakeStore,
    StoreSuite,
    TimeControl,
    claim,
    claim_one,
    enqueue_claimed,
    new_job,
    opened,
    record_of,
    register,
    settle,
    told,
)


class EnqueueSuite(StoreSuite):
    """What `enqueue` promises."""

    async def test_new_jobs_are_ready_or_scheduled_in_order(self, store: FullStore) -> None:
        now, later = new_job(), new_job(delay_s=FOREVER_S)
        assert await store.enqueue([now, later]) == [
            Enqueued(now.id, JobState.READY, 1, created=True),
            Enqueued(later.id, JobState.SCHEDULED, 1, created=True),
        ]

    async def test_nothing_to_enqueue_is_no_error(self, store: FullStore) -> None:
        assert await store.enqueue([]) == []

    async def test_every_field_arrives_at_the_worker(self, store: FullStore) -> None:
        text = '{"naïve":"日本\\u0000🎉","n":[1,2.5,null]}'
        job = new_job(
            args=text,
            priority=3,
            timeout_s=12.5,
            deadline_s=FOREVER_S,
            max_attempts=4,
            tags=("a", "b c", "é"),
            signature="(int)",
            traceparent="00-1-2-01",
        )
        await store.enqueue([job])
        got = await claim_one(store)
        assert (got.id, got.task, got.queue, got.args) == (job.id, "charge", "billing", text)
        assert (got.timeout_s, got.max_attempts, got.tags) == (12.5, 4, ("a", "b c", "é"))
        assert (got.signature, got.traceparent) == ("(int)", "00-1-2-01")
        assert (got.attempt, got.failures, got.crashes, got.snoozes, got.suspect) == (1, 0, 0, 0, Suspicion.NONE)
        assert got.emitted == frozenset()
        assert got.deadline_in_s is not None
        assert FOREVER_S - 60 < got.deadline_in_s <= FOREVER_S
        record = await record_of(store, job.id)
        assert (record.priority, record.tags, record.args, record.key) == (3, ("a", "b c", "é"), text, None)

    async def test_a_job_without_deadline_has_none(self, store: FullStore) -> None:
        assert (await enqueue_claimed(store)).deadline_in_s is None

    async def test_an_id_lands_once_in_every_state(self, store: FullStore) -> None:
        job = new_job()
        await store.enqueue([job])
        assert await store.enqueue([job]) == [Enqueued(job.id, JobState.READY, 1, created=False)]
        claimed = await claim_one(store)
        assert await store.enqueue([job]) == [Enqueued(job.id, JobState.RUNNING, 2, created=False)]
        await settle(store, claimed, Succeeded("1"))
        assert await store.enqueue([job]) == [Enqueued(job.id, JobState.SUCCEEDED, 3, created=False)]
        assert await claim(store) == []
        assert await told(store, job.id) == ["ready#0", "running#1", "end:succeeded#1"]

    async def test_an_id_twice_in_one_batch_lands_once(self, store: FullStore) -> None:
        job = new_job()
        answers = await store.enqueue([job, job])
        assert [(answer.id, answer.created) for answer in answers] == [(job.id, True), (job.id, False)]
        assert len(await claim(store)) == 1

    async def test_known_and_new_ids_mix_in_one_batch(self, store: FullStore) -> None:
        ended, live, new = new_job(), new_job(), new_job()
        await store.enqueue([ended])
        await settle(store, await claim_one(store), Succeeded())
        await store.enqueue([live])
        answers = await store.enqueue([new, ended, live])
        assert [(answer.id, answer.created) for answer in answers] == [
            (new.id, True),
            (ended.id, False),
            (live.id, False),
        ]

    async def test_the_caller_may_change_its_objects_afterwards(self, store: FullStore) -> None:
        job = new_job()
        await store.enqueue([job])
        job.args = '"changed"'
        assert (await claim_one(store)).args == "[7]"

    # -- keys ---------------------------------------------------------------------------------

    async def test_a_key_hit_answers_with_the_job_that_holds_it(self, store: FullStore) -> None:
        first, second = new_job(key="k", key_digest="d"), new_job(key="k", key_digest="d")
        await store.enqueue([first])
        assert await store.enqueue([second]) == [Enqueued(first.id, JobState.READY, 1, created=False)]
        assert await store.get([second.id]) == [None]
        assert (await record_of(store, first.id)).key == "k"

    async def test_a_key_twice_in_one_batch_hits(self, store: FullStore) -> None:
        first, second = new_job(key="k", key_digest="d"), new_job(key="k", key_digest="d")
        answers = await store.enqueue([first, second])
        assert [(answer.id, answer.created) for answer in answers] == [(first.id, True), (first.id, False)]

    async def test_a_key_with_other_arguments_conflicts_and_adds_nothing(self, store: FullStore) -> None:
        holder, other, bystander = new_job(key="k", key_digest="d"), new_job(key="k", key_digest="e"), new_job()
        await store.enqueue([holder])
        with pytest.raises(Conflict) as raised:
            await store.enqueue([bystander, other])
        assert raised.value.job_id == holder.id
        assert await store.get([bystander.id, other.id]) == [None, None]

    async def test_a_conflict_inside_one_batch_adds_nothing(self, store: FullStore) -> None:
        first, second = new_job(key="k", key_digest="d"), new_job(key="k", key_digest="e")
        with pytest.raises(Conflict) as raised:
            await store.enqueue([first, second])
        assert raised.value.job_id == first.id
        assert await store.get([first.id, second.id]) == [None, None]
        assert (await store.enqueue([second]))[0].created

    async def test_keys_belong_to_their_task(self, store: FullStore) -> None:
        jobs = [new_job(task=task, key="k", key_digest=task) for task in ("charge", "refund")]
        assert [answer.created for answer in await store.enqueue(jobs)] == [True, True]

    async def test_the_same_id_with_its_key_is_a_repeat_and_no_conflict(self, store: FullStore) -> None:
        job = new_job(key="k", key_digest="d")
        await store.enqueue([job])
        assert await store.enqueue([job]) == [Enqueued(job.id, JobState.READY, 1, created=False)]

    @pytest.mark.parametrize("outcome", [Succeeded(), Failed(Failure("E", "no")), Cancelled()])
    async def test_a_key_outlives_its_job(self, store: FullStore, outcome: Succeeded | Failed | Cancelled) -> None:
        job = await enqueue_claimed(store, key="k", key_digest="d")
        await settle(store, job, outcome)
        answer = (await store.enqueue([new_job(key="k", key_digest="d")]))[0]
        assert (answer.id, answer.created) == (job.id, False)
        with pytest.raises(Conflict):
            await store.enqueue([new_job(key="k", key_digest="e")])

    async def test_a_key_does_not_expire_while_its_job_lives(self, make_store: MakeStore, time: TimeControl) -> None:
        async with opened(make_store, StoreSettings(key_retention_s=time.tick)) as store:
            await register(store)
            job = await enqueue_claimed(store, key="k", key_digest="d")
            await settle(store, job, Retried(Failure("E", "no"), FOREVER_S))
            await time.pass_time(2 * time.tick)
            await store.prune(100)
            assert (await store.enqueue([new_job(key="k", key_digest="d")]))[0].id == job.id

    async def test_an_expired_key_is_taken_over(self, make_store: MakeStore, time: TimeControl) -> None:
        async with opened(make_store, StoreSettings(key_retention_s=time.tick)) as store:
            await register(store)
            await settle(store, await enqueue_claimed(store, key="k", key_digest="d"), Succeeded())
            await time.pass_time(time.tick)
            job = new_job(key="k", key_digest="e")
            assert await store.enqueue([job]) == [Enqueued(job.id, JobState.READY, 1, created=True)]
            assert (await store.enqueue([new_job(key="k", key_digest="e")]))[0].id == job.id

    # -- time ---------------------------------------------------------------------------------

    async def test_a_delayed_job_waits(self, store: FullStore, time: TimeControl) -> None:
        soon, late = new_job(delay_s=2 * time.tick), new_job(delay_s=FOREVER_S)
        await store.enqueue([late, soon])
        record = await record_of(store, soon.id)
        assert record.state is JobState.SCHEDULED
        assert record.run_at == pytest.approx(record.created_at + 2 * time.tick, abs=1e-3)
        assert await claim(store) == []
        await time.pass_time(2 * time.tick)
        assert (await store.promote(10))[0] == 1
        assert (await claim_one(store)).id == soon.id
        assert (await record_of(store, soon.id)).run_at is None

    async def test_a_short_delay_is_a_delay(self, store: FullStore) -> None:
        assert (await store.enqueue([new_job(delay_s=0.5)]))[0].state is JobState.SCHEDULED
        assert (await store.enqueue([new_job(delay_s=-0.5)]))[0].state is JobState.READY

    async def test_run_at_is_an_instant(self, store: FullStore) -> None:
        probe = new_job()
        await store.enqueue([probe])
        now = (await record_of(store, probe.id)).created_at
        past, future = new_job(run_at=now - 5), new_job(run_at=now + FOREVER_S)
        answers = await store.enqueue([past, future])
        assert [answer.state for answer in answers] == [JobState.READY, JobState.SCHEDULED]
        assert (await record_of(store, future.id)).run_at == pytest.approx(now + FOREVER_S, abs=1e-3)

    async def test_the_earlier_deadline_counts(self, store: FullStore) -> None:
        probe = new_job()
        await store.enqueue([probe])
        now = (await record_of(store, probe.id)).created_at
        await store.enqueue([new_job(deadline_s=FOREVER_S, deadline_at=now + 500)])
        left = {job.deadline_in_s for job in await claim(store) if job.deadline_in_s is not None}
        assert len(left) == 1
        assert 400 < left.pop() <= 500

    async def test_a_deadline_that_passed_shows_at_the_claim(self, store: FullStore, time: TimeControl) -> None:
        await store.enqueue([new_job(deadline_s=time.tick)])
        await time.pass_time(2 * time.tick)
        left = (await claim_one(store)).deadline_in_s
        assert left is not None
        assert left < 0

    # -- durability ---------------------------------------------------------------------------

    async def test_what_was_written_survives_the_store(self, make_store: MakeStore) -> None:
        waiting, running, ended = new_job(key="k", key_digest="d"), new_job(), new_job()
        async with opened(make_store) as store:
            if not store.capabilities.durable:
                pytest.skip("this store is not durable, and says so")
            epoch = store.epoch
            await register(store)
            await store.enqueue([ended])
            await settle(store, await claim_one(store), Succeeded('"done"'))
            await store.enqueue([running])
            claimed = await claim_one(store)
            await store.enqueue([waiting])
        async with opened(make_store) as store:
            assert store.epoch == epoch
            states = [record.state for record in await store.get([waiting.id, running.id, ended.id]) if record]
            assert states == [JobState.READY, JobState.RUNNING, JobState.SUCCEEDED]
            assert (await record_of(store, ended.id)).result == '"done"'
            assert await told(store, ended.id) == ["ready#0", "running#1", "end:succeeded#1"]
            assert await settle(store, claimed, Succeeded()) == "settled"
            assert not (await store.enqueue([new_job(key="k", key_digest="d")]))[0].created

    async def test_two_stores_on_one_place_share_it(self, make_store: MakeStore) -> None:
        async with opened(make_store) as one, opened(make_store) as two:
            if not one.capabilities.shared:
                pytest.skip("this store is not shared, and says so")
            assert one.epoch == two.epoch
            await register(one)
            job = new_job()
            await one.enqueue([job])
            assert not (await two.enqueue([job]))[0].created
            claimed = await claim_one(two)
            assert await settle(one, claimed, Succeeded()) == "settled"
            assert (await record_of(two, job.id)).state is JobState.SUCCEEDED

    async def test_close_is_idempotent_and_the_store_opens_again(self, make_store: MakeStore) -> None:
        store = make_store(StoreSettings())
        await store.open()
        await store.close()
        await store.close()
        await store.open()
        assert await store.enqueue([]) == []
        await store.close()

    async def test_join_without_the_capability_says_what_to_do(self, store: FullStore) -> None:
        with pytest.raises(UsageError, match=r"\w+ \w+ \w+"):
            store.join(object())
