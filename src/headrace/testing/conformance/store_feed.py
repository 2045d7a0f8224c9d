# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""The feed: gapless, right in every life, items once, progress latest wins."""

import json

import pytest

from headrace.core.errors import StoreUnavailable
from headrace.core.model import (
    Cancelled,
    Cause,
    Failed,
    Failure,
    FeedWrite,
    GivenBack,
    Retried,
    Snoozed,
    Succeeded,
    Update,
    UpdateKind,
)
from headrace.ports.store import StoreSettings
from headrace.testing.conformance.store_base import (
    FOREVER_S,
    WORKER,
    FullStore,
    MakeStore,
    StoreSuite,
    TimeControl,
    accuse,
    claim_one,
    enqueue_claimed,
    feed_of,
    new_job,
    opened,
    record_of,
    register,
    settle,
    told,
)

ITEM, LOG, PROGRESS = UpdateKind.ITEM, UpdateKind.LOG, UpdateKind.PROGRESS
BOOM = Failure("app.Boom", 'say "é"', Cause.TIMEOUT)


class FeedSuite(StoreSuite):
    """What `append` and `read_updates` promise, life by life."""

    async def test_success(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, Succeeded('{"a": [1, "é"]}'))
        assert await told(store, job.id) == ["ready#0", "running#1", "end:succeeded#1"]
        page, record = await feed_of(store, job.id), await record_of(store, job.id)
        assert json.loads(page.updates[-1].data) == {"state": "succeeded", "result": {"a": [1, "é"]}}
        assert [update.at for update in page.updates] == [record.created_at, record.started_at, record.finished_at]
        assert page.progress is None

    async def test_failure(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, Failed(BOOM))
        assert await told(store, job.id) == ["ready#0", "running#1", "end:failed#1"]
        end = json.loads((await feed_of(store, job.id)).updates[-1].data)
        error = {"type": "app.Boom", "message": 'say "é"', "cause": "timeout"}
        assert end == {"state": "failed", "result": None, "error": error}

    async def test_retries(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, Retried(BOOM))
        await settle(store, await claim_one(store), Retried(BOOM, FOREVER_S))
        assert await told(store, job.id) == [
            "ready#0",
            "running#1",
            "ready:retry#1",
            "running#2",
            "scheduled:retry#2",
        ]
        later = json.loads((await feed_of(store, job.id)).updates[-1].data)
        assert later.pop("due_in_s") == FOREVER_S
        assert later == {
            "state": "scheduled",
            "attempt": 2,
            "outcome": "retry",
            "cause": "timeout",
            "error": {"type": "app.Boom", "message": 'say "é"'},
        }

    async def test_scheduled_then_promoted_then_snoozed(self, store: FullStore, time: TimeControl) -> None:
        job = new_job(delay_s=time.tick)
        await store.enqueue([job])
        assert await told(store, job.id) == ["scheduled#0"]
        (update,) = (await feed_of(store, job.id)).updates
        assert json.loads(update.data)["due_in_s"] == time.tick
        await time.pass_time(time.tick)
        await store.promote(10)
        await settle(store, await claim_one(store), Snoozed(time.tick, "closed"))
        assert json.loads((await feed_of(store, job.id)).updates[-1].data) == {
            "state": "scheduled",
            "attempt": 1,
            "outcome": "snoozed",
            "due_in_s": time.tick,
            "reason": "closed",
        }
        await time.pass_time(time.tick)
        await store.promote(10)
        await settle(store, await claim_one(store), Succeeded())
        assert await told(store, job.id) == [
            "scheduled#0",
            "ready#0",
            "running#1",
            "scheduled:snoozed#1",
            "ready#1",
            "running#2",
            "end:succeeded#2",
        ]

    async def test_given_back_and_reconciled(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, GivenBack(started=False))
        await settle(store, await claim_one(store), GivenBack(started=True))
        await claim_one(store)
        await store.reconcile(WORKER, [])
        await settle(store, await claim_one(store), Succeeded())
        assert await told(store, job.id) == [
            "ready#0",
            "running#1",
            "ready:given_back#0",
            "running#1",
            "ready:given_back#1",
            "running#2",
            "ready:given_back#1",
            "running#2",
            "end:succeeded#2",
        ]

    async def test_crashes_beside_others_and_alone(self, store: FullStore) -> None:
        job = await accuse(store)
        await claim_one(store, suspects=True)
        await store.reap([WORKER])
        assert await told(store, job.id) == [
            "ready#0",
            "running#1",
            "ready:crashed#1",
            "running#2",
            "ready:crashed#2",
            "running#3",
            "scheduled:crashed#3",
        ]

    async def test_quarantine(self, make_store: MakeStore) -> None:
        async with opened(make_store, StoreSettings(crashes_max=1)) as store:
            await register(store)
            job = await accuse(store)
            await claim_one(store, suspects=True)
            await store.reap([WORKER])
            assert (await told(store, job.id))[-1] == "end:failed#3"
            end = json.loads((await feed_of(store, job.id)).updates[-1].data)
            assert end["error"]["cause"] == "crashed"

    async def test_cancelled_in_every_state(self, store: FullStore) -> None:
        scheduled, ready = new_job(delay_s=FOREVER_S), new_job()
        running = await enqueue_claimed(store)
        await store.enqueue([scheduled, ready])
        await store.cancel([scheduled.id, ready.id, running.id])
        assert await told(store, scheduled.id) == ["scheduled#0", "end:cancelled#0"]
        assert await told(store, ready.id) == ["ready#0", "end:cancelled#0"]
        assert await told(store, running.id) == ["ready#0", "running#1"]
        await settle(store, running, Cancelled())
        assert await told(store, running.id) == ["ready#0", "running#1", "end:cancelled#1"]
        end = (await feed_of(store, ready.id)).updates[-1]
        assert json.loads(end.data) == {"state": "cancelled", "result": None}

    async def test_revived_after_failing(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, Failed(BOOM))
        ended = (await feed_of(store, job.id)).updates[-1]
        await store.retry([job.id])
        words = ["ready#0", "running#1", "failed#1", "ready#1"]
        assert await told(store, job.id) == words
        former = (await feed_of(store, job.id)).updates[2]
        assert (former.offset, former.at, former.attempt) == (ended.offset, ended.at, ended.attempt)
        assert json.loads(former.data)["error"] == {"type": "app.Boom", "message": 'say "é"'}
        await settle(store, await claim_one(store), Succeeded())
        assert await told(store, job.id) == [*words, "running#2", "end:succeeded#2"]

    async def test_revived_before_it_ever_ran(self, store: FullStore) -> None:
        job = new_job()
        await store.enqueue([job])
        await store.cancel([job.id])
        await store.retry([job.id])
        await settle(store, await claim_one(store), Succeeded())
        assert await told(store, job.id) == ["ready#0", "cancelled#0", "ready#0", "running#1", "end:succeeded#1"]

    async def test_revived_twice(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await settle(store, job, Failed(BOOM))
        await store.retry([job.id])
        await settle(store, await claim_one(store), Failed(BOOM))
        await store.retry([job.id])
        await store.cancel([job.id])
        assert await told(store, job.id) == [
            "ready#0",
            "running#1",
            "failed#1",
            "ready#1",
            "running#2",
            "failed#2",
            "ready#2",
            "end:cancelled#2",
        ]

    # -- append -------------------------------------------------------------------------------

    async def test_items_and_logs_have_offsets_of_their_own(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        writes = [
            FeedWrite(job.id, job.fence, ITEM, '{"n":"é"}'),
            FeedWrite(job.id, job.fence, LOG, '{"level":"info"}'),
            FeedWrite(job.id, job.fence, ITEM, "2"),
        ]
        assert await store.append(writes) == [3, 4, 5]
        assert await store.append([]) == []
        await settle(store, job, Succeeded())
        assert await told(store, job.id) == ["ready#0", "running#1", "item#1", "log#1", "item#1", "end:succeeded#1"]
        updates = (await feed_of(store, job.id)).updates
        assert [update.data for update in updates[2:5]] == ['{"n":"é"}', '{"level":"info"}', "2"]

    async def test_items_of_several_attempts_are_tagged(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await store.append([FeedWrite(job.id, job.fence, ITEM, "1")])
        await settle(store, job, Retried(BOOM))
        again = await claim_one(store)
        assert await store.append([FeedWrite(again.id, again.fence, ITEM, "2")]) == [6]
        assert await told(store, job.id) == [
            "ready#0",
            "running#1",
            "item#1",
            "ready:retry#1",
            "running#2",
            "item#2",
        ]

    async def test_an_item_with_a_key_is_written_once_per_job(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        first = FeedWrite(job.id, job.fence, ITEM, "1", key="small")
        assert await store.append([first, first, FeedWrite(job.id, job.fence, ITEM, "2", key="large")]) == [3, 3, 4]
        assert await store.append([first]) == [3]
        await settle(store, job, Retried(BOOM))
        again = await claim_one(store)
        assert again.emitted == {"small", "large"}
        assert await store.append([FeedWrite(again.id, again.fence, ITEM, "9", key="small")]) == [3]
        items = [update.data for update in (await feed_of(store, job.id)).updates if update.kind is ITEM]
        assert items == ["1", "2"]

    async def test_keys_belong_to_their_job(self, store: FullStore) -> None:
        one, two = await enqueue_claimed(store), await enqueue_claimed(store)
        writes = [FeedWrite(job.id, job.fence, ITEM, "1", key="k") for job in (one, two)]
        assert await store.append(writes) == [3, 3]

    async def test_a_lost_lease_writes_nothing(self, store: FullStore) -> None:
        job, fine = await enqueue_claimed(store), await enqueue_claimed(store)
        writes = [
            FeedWrite(job.id, job.fence + 1, ITEM, "1"),
            FeedWrite(job.id, job.fence - 1, PROGRESS, "1"),
            FeedWrite(new_job().id, 1, ITEM, "1"),
            FeedWrite(fine.id, fine.fence, ITEM, "1"),
        ]
        assert await store.append(writes) == [None, None, None, 3]
        await settle(store, job, Retried(BOOM))
        assert await store.append([FeedWrite(job.id, job.fence, ITEM, "1")]) == [None]
        again = await claim_one(store)
        assert await store.append([FeedWrite(job.id, job.fence, ITEM, "1", key="k")]) == [None]
        await settle(store, again, Succeeded())
        assert await store.append([FeedWrite(again.id, again.fence, kind, "1") for kind in (ITEM, LOG, PROGRESS)]) == [
            None,
            None,
            None,
        ]
        assert "item" not in " ".join(await told(store, job.id))

    async def test_a_waiting_job_takes_no_writes(self, store: FullStore) -> None:
        job = new_job()
        await store.enqueue([job])
        assert await store.append([FeedWrite(job.id, 0, ITEM, "1")]) == [None]

    async def test_a_full_feed_says_so_and_goes_on(self, make_store: MakeStore) -> None:
        async with opened(make_store, StoreSettings(items_max=3)) as store:
            await register(store)
            job, other = await enqueue_claimed(store), await enqueue_claimed(store)

            def write(kind: UpdateKind, key: str | None = None) -> FeedWrite:
                return FeedWrite(job.id, job.fence, kind, "1", key)

            assert await store.append([write(ITEM, "a"), write(LOG)]) == [3, 4]
            over = [write(ITEM, "b"), write(ITEM), FeedWrite(other.id, other.fence, ITEM, "1"), write(LOG)]
            assert await store.append(over) == [5, -1, 3, -1]
            assert await store.append([write(ITEM, "a"), write(ITEM, "c"), write(PROGRESS)]) == [3, -1, 5]
            await settle(store, job, Succeeded())
            assert await told(store, job.id) == [
                "ready#0",
                "running#1",
                "item#1",
                "log#1",
                "item#1",
                "end:succeeded#1",
            ]

    async def test_the_latest_progress_wins(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        writes = [FeedWrite(job.id, job.fence, PROGRESS, f'{{"done":{done}}}') for done in range(3)]
        assert await store.append(writes) == [2, 2, 2]
        page = await feed_of(store, job.id)
        assert page.progress is not None
        assert (page.progress.offset, page.progress.kind, page.progress.attempt) == (2, PROGRESS, 1)
        assert json.loads(page.progress.data) == {"done": 2}
        assert len(page.updates) == 2
        assert (await record_of(store, job.id)).progress == '{"done":2}'

    async def test_progress_carries_the_offset_at_which_it_was_made(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        writes = [FeedWrite(job.id, job.fence, kind, "1") for kind in (PROGRESS, ITEM, PROGRESS, ITEM)]
        assert await store.append(writes) == [2, 3, 3, 4]
        page = await feed_of(store, job.id)
        assert page.progress is not None
        assert page.progress.offset == 3

    async def test_progress_ends_with_its_attempt(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await store.append([FeedWrite(job.id, job.fence, PROGRESS, "1")])
        await settle(store, job, Retried(BOOM))
        assert (await feed_of(store, job.id)).progress is None
        assert (await record_of(store, job.id)).progress is None
        again = await claim_one(store)
        assert (await feed_of(store, job.id)).progress is None
        await store.append([FeedWrite(again.id, again.fence, PROGRESS, "2")])
        await settle(store, again, Succeeded())
        assert (await feed_of(store, job.id)).progress is None

    # -- reading ------------------------------------------------------------------------------

    async def test_pages_follow_each_other(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        await store.append([FeedWrite(job.id, job.fence, ITEM, str(n)) for n in range(50)])
        await settle(store, job, Retried(BOOM))
        await settle(store, await claim_one(store), Succeeded())
        whole = list((await feed_of(store, job.id)).updates)
        for limit in (1, 7, len(whole), 1000):
            seen: list[Update] = []
            after = 0
            while page := await store.read_updates(job.id, after, limit):
                assert page.offset == len(whole)
                assert len(page.updates) <= limit
                if not page.updates:
                    break
                seen += page.updates
                after = seen[-1].offset
            assert seen == whole, limit
        for after in range(len(whole) + 2):
            page = await store.read_updates(job.id, after, 1000)
            assert page is not None
            assert list(page.updates) == whole[after:]

    async def test_an_unknown_job_has_no_feed(self, store: FullStore) -> None:
        assert await store.read_updates(new_job().id, 0, 10) is None

    async def test_a_store_that_is_not_open_gives_no_position(self, store: FullStore, make_store: MakeStore) -> None:
        job = await enqueue_claimed(store)
        with pytest.raises(StoreUnavailable):
            await make_store(StoreSettings()).read_updates(job.id, 0, 10)

    async def test_offsets_of_many(self, store: FullStore) -> None:
        assert await store.offsets([]) == {}
        waiting = new_job()
        running, ended = await enqueue_claimed(store), await enqueue_claimed(store)
        await store.enqueue([waiting])
        await settle(store, ended, Succeeded())
        asked = [waiting.id, running.id, ended.id, new_job().id]
        assert await store.offsets(asked) == {waiting.id: 1, running.id: 2, ended.id: 3}
