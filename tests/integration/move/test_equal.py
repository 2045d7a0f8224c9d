"""Whatever is in the file is in the database afterwards, and goes on there as it would have here."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import headrace.stores.move.post as post_module
import headrace.stores.move.source as source_module
from headrace.core.errors import StoreMoved, StoreUnavailable
from headrace.core.feed import Position
from headrace.core.limits import TaskLimit, turn_of
from headrace.core.message import Mark, digest_of
from headrace.core.model import AttemptOutcome, FeedWrite, Retried, Settle, SettleResult, Succeeded, UpdateKind
from headrace.core.relay_events import Refusal
from headrace.core.states import JobState
from headrace.notifiers.none import NoNotifier
from headrace.ports.post import Arrival, Intake, Letter
from headrace.runtime.clock import SystemClock
from headrace.runtime.reader import FeedReader, Subscribed
from headrace.stores.move import Stage
from headrace.stores.postgres import PostgresStore
from headrace.stores.sqlite import SqliteStore, chores, incoming, jobs, outbox, vault
from headrace.stores.sqlite.enqueue import enqueue
from headrace.stores.sqlite.store import _exchange
from headrace.stores.sqlite.tx import Tx
from headrace.testing.conformance import store_base as suite
from tests.integration.move import kit


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A file that somebody holds open, before, while and after it moves."""
    store = SqliteStore(tmp_path / "jobs.db", kit.SETTINGS)
    await store.open()
    yield store
    await store.close()


async def test_all_of_it_is_the_same(file: SqliteStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "JOBS_MAX", 3)  # several bites of everything
    monkeypatch.setattr(source_module, "BYTES_MAX", 1_000)
    monkeypatch.setattr(post_module, "SEEN_MAX", 10)
    monkeypatch.setattr(post_module, "EVENTS_MAX", 2)
    told = await kit.fill(file)
    await kit.fill_post(file, told)
    before = await kit.pictures(file, told.jobs)
    assert {picture.record.state for picture in before.values() if picture.record} == set(JobState) - {JobState.RUNNING}
    vault, queues, post = await kit.vault_of(file), await kit.queues_of(file), await kit.post_of(file, told.jobs)
    moved = await kit.move(file.path, postgres_url)
    assert sum(moved.counts[state.value] for state in JobState if state.value in moved.counts) == len(told.jobs)
    store = await kit.target_of(postgres_url)
    try:
        assert store.epoch == file.epoch
        assert await kit.pictures(store, told.jobs) == before
        assert await kit.vault_of(store) == vault
        assert await kit.queues_of(store) == queues
        assert await kit.post_of(store, told.jobs) == post
        await kit.check_keys(store)
        await kit.check_post(store)
        assert [worker.id for worker in await store.workers()] == []
    finally:
        await store.close()


async def test_places_in_line_stay_and_new_jobs_come_behind_them(file: SqliteStore, postgres_url: str) -> None:
    await suite.register(file)
    jobs = [suite.new_job(priority=n % 2) for n in range(10)]
    await file.enqueue(jobs)
    await kit.move(file.path, postgres_url)
    store = await kit.target_of(postgres_url)
    try:
        await suite.register(store)
        late = [suite.new_job(priority=n % 2) for n in range(4)]
        await store.enqueue(late)
        order = sorted([*jobs, *late], key=lambda job: -job.priority)  # stable: else as they came
        assert suite.ids_of(await suite.claim(store, 20)) == suite.ids_of(order)
    finally:
        await store.close()


async def test_whose_turn_it_is_in_an_ordered_lane_keeps_it(file: SqliteStore, postgres_url: str) -> None:
    await suite.register(file)
    asked = replace(suite.request(suspects=None), limits=(TaskLimit("charge", ordered=True),))
    jobs = [suite.new_job(lane_key=key) for key in "aab"]
    await file.enqueue(jobs)
    claimed = (await file.exchange(suite.WORKER, (), asked)).claimed
    again = Retried(kit.FAILURE, 3600.0)
    await file.exchange(suite.WORKER, [Settle(job.id, job.fence, again) for job in claimed], None)
    await file.cancel([jobs[2].id])
    await kit.move(file.path, postgres_url)
    store = await kit.target_of(postgres_url)
    try:
        await suite.register(store)
        await store.enqueue([suite.new_job(lane_key="b")])
        assert [state.holder for state in await store.scopes([turn_of("charge", key) for key in "ab"])] == [
            jobs[0].id,
            None,
        ]
        (other,) = (await store.exchange(suite.WORKER, (), asked)).claimed
        assert other.id not in suite.ids_of(jobs)
        await store.cancel([jobs[0].id])
        assert suite.ids_of((await store.exchange(suite.WORKER, (), asked)).claimed) == [jobs[1].id]
    finally:
        await store.close()


async def test_what_ran_goes_on_and_its_late_writes_are_refused(file: SqliteStore, postgres_url: str) -> None:
    told = kit.Filled()
    job, fence = await kit.leave_running(file, told, "slow")
    heard: list[str] = []
    moved = await kit.move(file.path, postgres_url, grace_s=0.3, tell=lambda stage: heard.append(stage.name))
    assert moved.given_back == 1
    assert "given back" in heard
    assert await file.append([FeedWrite(job, fence, UpdateKind.ITEM, "1")]) == [None]  # here too: its lease is lost
    with pytest.raises(StoreMoved):
        await file.enqueue([suite.new_job()])
    store = await kit.target_of(postgres_url)
    try:
        record = await suite.record_of(store, job)
        assert (record.state, record.fence, record.attempt, record.worker) == (JobState.READY, fence, 1, None)
        (attempt,) = await store.attempts(job)
        assert (attempt.outcome, attempt.worker) == (AttemptOutcome.GIVEN_BACK, "slow")
        await suite.register(store)
        claimed = await suite.claim_one(store)
        assert (claimed.id, claimed.fence, claimed.attempt, claimed.emitted) == (job, fence + 1, 2, {"first"})
        assert await store.append([FeedWrite(job, fence, UpdateKind.ITEM, "1")]) == [None]
        late = await store.exchange("slow", [suite.Settle(job, fence, Succeeded("1"))], None)
        assert late.settled == (SettleResult.LOST,)
        assert await suite.settle(store, claimed, Succeeded("2")) is SettleResult.SETTLED
        assert await suite.settle(store, claimed, Succeeded("2")) is SettleResult.REPEATED
        assert await suite.told(store, job) == [
            "ready#0", "running#1", "item#1", "ready:given_back#1", "running#2", "end:succeeded#2"
        ]  # fmt: skip
    finally:
        await store.close()


async def test_an_outcome_whose_answer_was_lost_is_known_on_the_other_side(
    file: SqliteStore, postgres_url: str
) -> None:
    await suite.register(file)
    settles: list[suite.Settle] = []
    for outcome in (kit.Retried(kit.FAILURE, 3600.0), Succeeded("1"), kit.Failed(kit.FAILURE)):
        job = await suite.enqueue_claimed(file)
        settles.append(suite.Settle(job.id, job.fence, outcome))
        assert await suite.settle(file, job, outcome) is SettleResult.SETTLED
    await kit.move(file.path, postgres_url)
    store = await kit.target_of(postgres_url)
    try:
        answer = await store.exchange(suite.WORKER, settles, None)
        assert answer.settled == (SettleResult.REPEATED,) * 3
    finally:
        await store.close()


async def test_an_attempt_that_ends_in_the_grace_has_ended(file: SqliteStore, postgres_url: str) -> None:
    told = kit.Filled()
    job, fence = await kit.leave_running(file, told, "quick")
    loop_held: list[Stage] = []

    def tell(stage: Stage) -> None:
        loop_held.append(stage)

    async def end_it() -> None:
        await kit.until(lambda: _said(loop_held, "held"))
        answer = await file.exchange("quick", [suite.Settle(job, fence, Succeeded('"done"'))], suite.request())
        assert (answer.settled, answer.claimed) == ((SettleResult.SETTLED,), ())

    ending = asyncio.create_task(end_it())
    moved = await kit.move(file.path, postgres_url, grace_s=20.0, tell=tell)
    await ending
    assert (moved.given_back, moved.counts["succeeded"]) == (0, 1)
    assert moved.claims_held_s < 15


async def _said(heard: list[Stage], name: str) -> bool:
    return any(stage.name == name for stage in heard)


async def test_the_dead_are_not_waited_for_and_their_jobs_are_suspects(file: SqliteStore, postgres_url: str) -> None:
    told = kit.Filled()
    job, fence = await kit.leave_running(file, told, "killed")
    file._slots.path("killed").unlink()
    moved = await kit.move(file.path, postgres_url, grace_s=60.0)
    assert (moved.given_back, moved.suspects) == (0, 1)
    assert moved.claims_held_s < 30
    store = await kit.target_of(postgres_url)
    try:
        record = await suite.record_of(store, job)
        assert (record.state, record.suspect, record.fence) == (JobState.READY, 1, fence)
    finally:
        await store.close()


async def test_a_readers_position_goes_on_where_it_was(file: SqliteStore, postgres_url: str) -> None:
    told = kit.Filled()
    job, fence = await kit.leave_running(file, told, "slow")
    page = await file.read_updates(job, 0, 100)
    assert page is not None
    seen = Position(page.epoch, page.offset)
    await kit.move(file.path, postgres_url, grace_s=0.0)
    store = await kit.target_of(postgres_url)
    try:
        await suite.register(store)
        claimed = await suite.claim_one(store)
        await suite.settle(store, claimed, Succeeded("7"))
        reader = FeedReader(store, NoNotifier(), SystemClock())
        heard = [told async for told in reader.updates(job, seen)]
        assert isinstance(heard[0], Subscribed)
        assert heard[0].recovered
        offsets = [update.offset for update in heard[1:] if not isinstance(update, Subscribed)]
        assert offsets == list(range(seen.offset + 1, seen.offset + 4))
    finally:
        await store.close()
    assert fence == 1


async def test_what_changes_while_it_is_copied_is_followed(
    file: SqliteStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two bites somebody claims, ends, revives, edits, cancels, takes over and forgets."""
    monkeypatch.setattr(source_module, "JOBS_MAX", 4)
    told = await kit.fill(file)
    await kit.fill_post(file, told)
    await file.pause("billing", paused=False)
    changes = _Changes(file, told)
    await kit.move(file.path, postgres_url, grace_s=0.2, tell=changes.heard)
    assert changes.count > 10
    store = await kit.target_of(postgres_url)
    other = SqliteStore(file.path, kit.SETTINGS)
    try:
        expected, post = await _pictures_of_the_dead_file(other, told)
        assert await kit.pictures(store, told.jobs) == expected
        assert await kit.post_of(store, told.jobs) == post
    finally:
        await store.close()


class _Changes:
    """Changes the file at each stage, from outside: with its own connection, before the mover goes on."""

    def __init__(self, file: SqliteStore, told: kit.Filled) -> None:
        self._file = file
        self._told = told
        self.count = 0

    def heard(self, stage: Stage) -> None:
        if stage.name in {"begun", "history", "live"}:
            self._file._writer.run_sync(self._change)  # type: ignore[union-attr]
            self.count += 1

    def _change(self, tx: Tx) -> None:
        n = self.count
        new = [suite.new_job(key=f"new {n}", key_digest="d"), suite.new_job(delay_s=0.001)]
        self._told.also(*new)
        enqueue(tx, new, 86_400.0)
        some = self._told.jobs[n::7]
        jobs.retry(tx, some, 1e6)
        jobs.cancel(tx, self._told.jobs[n + 3 :: 11])
        jobs.edit(tx, self._told.jobs[n], f'["edited {n}"]')
        chores.promote(tx, 1)
        answer = _exchange(tx, suite.WORKER, [], suite.request(4))
        outcomes = [Succeeded("1"), kit.Failed(kit.FAILURE), kit.Retried(kit.FAILURE), kit.Snoozed(60.0)]
        settles = [
            suite.Settle(job.id, job.fence, outcome) for job, outcome in zip(answer.claimed, outcomes, strict=False)
        ]
        _exchange(tx, suite.WORKER, settles[: n % 5], None)
        vault.begin(tx, "k1", f"r{n}", b"f", 3600.0)
        vault.finish(tx, "k1", "done" if n == 3 else f"r{n - 1}", None if n % 2 else b"a")
        self._change_post(tx, n)

    def _change_post(self, tx: Tx, n: int) -> None:
        letter = Letter("rabbitmq:orders", f"why {n}", size=3, body=b"abc")
        came = Arrival(suite.new_job(queue="held", promises=("ends",)), digest_of(f"new {n}"), letter)
        self._told.also(came.job)
        incoming.receive(tx, "rabbitmq:orders" if n % 2 else f"nats:new{n}", Intake([came]), 1.0)
        known = incoming.bookmarks(tx, "kafka:orders:g")["0"].next
        incoming.receive(
            tx, "kafka:orders:g", Intake((), {"0": Mark(known, known + 1), str(50 + n): Mark(None, 1)}), 1.0
        )
        incoming.put_bookmark(tx, "kafka:orders:g", str(49 + n), None)
        incoming.forget_seen(tx, "rabbitmq:orders", -1.0, 1)
        outbox.publish(tx, [kit.event(1_000 + n), kit.event(2_000 + n)], None, once=n % 2 == 0)
        first, *_, last = outbox.outgoing(tx, "kafka", 0, 1_000, 1 << 20, without=()).events
        outbox.sent(tx, "kafka", [first.place], [Refusal(last.place, f"no {n}", parked=n % 3 == 0)])
        kept = outbox.promised(tx, None, 3).ended[:1]
        outbox.keep_promises(tx, [(promise, kit.event(3_000 + n)) for promise in kept])


async def _pictures_of_the_dead_file(store: SqliteStore, told: kit.Filled) -> tuple[dict[str, kit.Picture], list[Any]]:
    """As the file was when it was marked: the mark is taken away, since it answers nobody."""
    with sqlite3.connect(store.path) as connection:
        connection.execute("DELETE FROM headrace_meta WHERE key = 'moved_to'")
    connection.close()
    await store.open()
    try:
        return await kit.pictures(store, told.jobs), await kit.post_of(store, told.jobs)
    finally:
        await store.close()


async def test_the_target_is_closed_until_the_file_has_moved(file: SqliteStore, postgres_url: str) -> None:
    """Workers and APIs that are started too early change nothing, and begin by themselves."""
    told = await kit.fill(file)
    await kit.fill_post(file, told)
    await file.pause("later", paused=False)
    job, _ = await kit.leave_running(file, told, "slow")
    post = await kit.post_of(file, told.jobs)
    held = asyncio.Event()
    store = await kit.target_of(postgres_url)
    moving = asyncio.create_task(
        kit.move(file.path, postgres_url, grace_s=3.0, tell=lambda stage: stage.name == "held" and held.set())
    )
    try:
        await held.wait()
        await suite.register(store)
        await _meddle(store, told)
        await moving
        assert (await store.enqueue([suite.new_job()]))[0].created
        claimed = suite.ids_of(await suite.claim(store, 50, queues=["later", "of slow"]))
        assert job in claimed
        assert len(claimed) == 13
        assert await kit.post_of(store, told.jobs) == post
    finally:
        await store.close()


async def _meddle(store: PostgresStore, told: kit.Filled) -> None:
    said = r"takes in the jobs of another store just now, by `headrace move`: repeat"
    refused: list[Callable[[], Awaitable[object]]] = [
        lambda: store.receive("rabbitmq:orders", Intake([Arrival(suite.new_job(), digest_of("mine"))])),
        lambda: store.receive("kafka:orders:g", Intake((), {"0": Mark(None, 1)})),
        lambda: store.put_bookmark("kafka:orders:g", "0", 1),
        lambda: store.publish([kit.event(9)], once=True),
    ]
    for verb in refused:
        with pytest.raises(StoreUnavailable, match=said):
            await verb()
    assert await store.take_chore("sink:kafka", "mine", 1.0) is None
    for out in (await store.outgoing("kafka", 0, 100, 1 << 20)).events:
        await store.sent("kafka", [out.place])
    for promise in (await store.promised(None, 100)).ended:
        assert await store.keep_promises([(promise, None)]) == 0
    with pytest.raises(StoreUnavailable, match=said):
        await store.enqueue([suite.new_job()])
    assert await suite.claim(store, 100, suspects=None) == []
    assert (await store.promote(100))[0] == 0
    await store.prune(100)
    for record in await store.get(told.jobs):
        assert record is not None
        verbs = {
            JobState.FAILED: [lambda id_: store.retry([id_]), lambda id_: store.edit(id_, "[1]")],
            JobState.CANCELLED: [lambda id_: store.retry([id_])],
            JobState.SUCCEEDED: [],
        }.get(record.state, [lambda id_: store.cancel([id_])])
        for verb in verbs:
            with pytest.raises(StoreUnavailable, match=said):
                await verb(record.id)
