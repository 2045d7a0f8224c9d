"""A file that a move holds, stops or has taken: what others still may, and that it ends by itself."""

import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.core.errors import StoreError, StoreMoved, StoreUnavailable
from headrace.core.event import Event
from headrace.core.message import Mark
from headrace.core.model import (
    Failed,
    Failure,
    FeedWrite,
    GivenBack,
    JobFilter,
    Settle,
    Snoozed,
    Succeeded,
    UpdateKind,
)
from headrace.core.relay_events import Refusal
from headrace.ports.post import Arrival, Intake, Promise
from headrace.ports.store import StoreSettings
from headrace.ports.vault import ApiKey
from headrace.stores import migrate
from headrace.stores.sqlite import SqliteStore, moving, schema
from headrace.stores.sqlite.connection import connect
from headrace.testing.conformance import store_base as kit

TO = "postgresql://app@db.internal/it's"
MICRO = 1_000_000
Verb = Callable[[SqliteStore], Awaitable[object]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "jobs.db", StoreSettings(result_retention_s=0.01))
    await store.open()
    await kit.register(store)
    yield store
    await store.close()


@pytest.fixture
def mover(store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """The connection of whoever moves the file."""
    with closing(connect(str(store.path))) as connection:
        yield connection


def do(mover: sqlite3.Connection, change: Callable[[], object]) -> None:
    schema.locked(mover, change, 5.0)


def soon(seconds: float = 60.0) -> int:
    return int((time.time() + seconds) * MICRO)


def stop(mover: sqlite3.Connection, seconds: float = 60.0) -> None:
    do(mover, lambda: (moving.hold(mover, soon(seconds)), moving.stop(mover, TO)))


async def refused(verb: Verb, store: SqliteStore, error: type[StoreError], said: str) -> None:
    with pytest.raises(error, match=said):
        await verb(store)


def noted(mover: sqlite3.Connection) -> list[bytes | int | tuple[str, str]]:
    """What the log says since it was last asked."""
    found = mover.execute("SELECT job, n, scope, key FROM headrace_move_log WHERE seq > 0 ORDER BY seq").fetchall()
    do(mover, lambda: mover.execute("DELETE FROM headrace_move_log WHERE seq > 0"))
    return [job if job is not None else (n if n is not None else (scope, key)) for job, n, scope, key in found]


# -- held -----------------------------------------------------------------------------------------


async def test_claims_find_nothing_while_the_file_is_held(store: SqliteStore, mover: sqlite3.Connection) -> None:
    running = await kit.enqueue_claimed(store)
    await store.enqueue([kit.new_job(), kit.new_job(delay_s=3600.0)])
    do(mover, lambda: moving.hold(mover, soon()))
    assert await kit.claim(store) == []
    assert await kit.claim(store, suspects=True) == []
    answer = await store.exchange(kit.WORKER, [Settle(running.id, running.fence, Succeeded("1"))], kit.request())
    assert (answer.settled, answer.claimed) == (("settled",), ())
    assert answer.next_due_s == pytest.approx(3600, abs=60)  # the worker still knows when to look
    assert [landed.created for landed in await store.enqueue([kit.new_job()])] == [True]
    do(mover, lambda: moving.let_go(mover))
    assert len(await kit.claim(store)) == 2


async def test_a_hold_ends_by_itself_and_never_sooner_than_it_said(
    store: SqliteStore, mover: sqlite3.Connection
) -> None:
    await store.enqueue([kit.new_job()])
    do(mover, lambda: moving.hold(mover, soon(60)))
    do(mover, lambda: moving.hold(mover, soon(0.2)))
    assert await kit.claim(store) == []
    do(mover, lambda: moving.let_go(mover))
    do(mover, lambda: moving.hold(mover, soon(0.2)))
    assert await kit.claim(store) == []
    deadline = time.monotonic() + 5
    while not await kit.claim(store):
        assert time.monotonic() < deadline


# -- stopped --------------------------------------------------------------------------------------


async def write_to_everything(store: SqliteStore) -> dict[str, Verb]:
    """Every verb that writes, on jobs where it has something to write."""
    running = await kit.enqueue_claimed(store)
    given = await kit.enqueue_claimed(store)
    failed = await kit.enqueue_claimed(store)
    await kit.settle(store, failed, Failed(Failure("E", "no")))
    waiting, due = kit.new_job(), kit.new_job(delay_s=0.001)
    await store.enqueue([waiting, due])
    await store.begin("me", "known", b"f", 3600)
    promised = kit.new_job(queue="held", promises=("a",))
    await store.enqueue([promised])
    await store.receive("kafka:a:g", Intake([Arrival(kit.new_job(queue="held"), b"1" * 16)], {"0": Mark(None, 1)}))
    await store.publish([Event(b"1" * 16, "kafka", "a"), Event(b"2" * 16, "kafka", "a")])
    lease = (running.id, running.fence)
    key = ApiKey("k", "robot", b"d", ("read",), 1.0)
    return {
        "enqueue": lambda store: store.enqueue([kit.new_job(key="a", key_digest="d")]),
        "enqueue in a new lane": lambda store: store.enqueue([kit.new_job(queue="new", task="t")]),
        "append": lambda store: store.append([FeedWrite(*lease, UpdateKind.ITEM, "1")]),
        "progress": lambda store: store.append([FeedWrite(*lease, UpdateKind.PROGRESS, "1")]),
        "settle": lambda store: kit.settle(store, running, Succeeded("1")),
        "settles": lambda store: store.exchange(kit.WORKER, [Settle(*lease, Snoozed(1.0))] * 5, None),
        "reconcile": lambda store: store.reconcile(kit.WORKER, []),
        "give back": lambda store: kit.settle(store, given, GivenBack(started=True)),
        "cancel": lambda store: store.cancel([waiting.id]),
        "retry": lambda store: store.retry([failed.id]),
        "edit": lambda store: store.edit(failed.id, "[8]"),
        "register": lambda store: kit.register(store, "another"),
        "unregister": lambda store: store.unregister(kit.WORKER),
        "reap": lambda store: store.reap([kit.WORKER]),
        "pause": lambda store: store.pause("billing", paused=True),
        "promote": lambda store: store.promote(10),
        "secret": lambda store: store.secret("s", b"1"),
        "api key": lambda store: store.add_api_key(key),
        "begin": lambda store: store.begin("me", "new", b"f", 3600),
        "finish": lambda store: store.finish("me", "known", b"answer"),
        "forget": lambda store: store.finish("me", "known", None),
        "receive": lambda store: store.receive("kafka:a:g", Intake([Arrival(kit.new_job(), b"2" * 16)])),
        "bookmark": lambda store: store.receive("kafka:a:g", Intake((), {"0": Mark(1, 2)})),
        "reset": lambda store: store.put_bookmark("kafka:b:g", "0", 1),
        "seen": lambda store: store.forget_seen("kafka:a:g", -1.0, 10),
        "publish": lambda store: store.publish([Event(b"3" * 16, "nats", "a")]),
        "publish once": lambda store: store.publish([Event(b"4" * 16, "kafka", "a")], once=True),
        "sent": lambda store: store.sent("kafka", [1]),
        "refused": lambda store: store.sent("kafka", [], [Refusal(2, "no", parked=True)]),
        "promise": lambda store: store.keep_promises([(Promise(promised.id, "a"), None)]),
        "chore": lambda store: store.take_chore("sink:kafka", "me", 1.0),
    }


async def test_nobody_writes_to_a_stopped_file(store: SqliteStore, mover: sqlite3.Connection) -> None:
    verbs = await write_to_everything(store)
    before = (await store.find(JobFilter())).jobs
    stop(mover)
    for verb in verbs.values():
        await refused(
            verb, store, StoreUnavailable, r"being moved to postgresql://app@db.internal/it's just now: repeat"
        )
    assert (await store.find(JobFilter())).jobs == before
    do(mover, lambda: moving.let_go(mover))
    for name, verb in verbs.items():
        if name not in {"reap", "give back", "settle", "settles", "reconcile"}:  # of a worker that was unregistered
            await verb(store)


async def test_a_stop_ends_by_itself(store: SqliteStore, mover: sqlite3.Connection) -> None:
    stop(mover, 0.3)
    with pytest.raises(StoreUnavailable):
        await store.enqueue([kit.new_job()])
    deadline = time.monotonic() + 5
    while True:
        try:
            await store.enqueue([kit.new_job()])
        except StoreUnavailable:
            assert time.monotonic() < deadline
        else:
            break


async def test_a_session_of_the_users_is_stopped_too(store: SqliteStore, mover: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as theirs:
        theirs.execute("CREATE TABLE mine (x)")
        theirs.execute("BEGIN IMMEDIATE")
        theirs.execute("ROLLBACK")
        stop(mover)
        theirs.execute("BEGIN IMMEDIATE")
        theirs.execute("INSERT INTO mine VALUES (1)")  # their own tables are no business of the move's
        with pytest.raises(StoreUnavailable, match="are being moved"):
            await store.join(theirs).enqueue([kit.new_job()])
        theirs.execute("COMMIT")


# -- moved ----------------------------------------------------------------------------------------


async def test_a_moved_file_answers_nobody_that_holds_it(store: SqliteStore, mover: sqlite3.Connection) -> None:
    verbs = await write_to_everything(store)
    do(mover, lambda: moving.begin(mover, "id", TO))
    do(mover, lambda: moving.finish(mover, TO))
    said = r"the jobs of .*jobs.db have moved to postgresql://app@db.internal/it's: set HEADRACE_STORE to it"
    for verb in verbs.values():
        await refused(verb, store, StoreMoved, said)
    reads: list[Verb] = [
        lambda store: store.get([bytes(16)]),
        lambda store: store.find(JobFilter()),
        lambda store: store.queues(),
        lambda store: store.workers(),
        lambda store: store.renew(kit.WORKER, 1.0),
        lambda store: store.api_keys(),
    ]
    for verb in reads:
        await refused(verb, store, StoreMoved, said)
    assert await kit.claim(store) == []


async def test_a_moved_file_does_not_open(store: SqliteStore, mover: sqlite3.Connection) -> None:
    do(mover, lambda: moving.begin(mover, "id", TO))
    do(mover, lambda: moving.finish(mover, TO))
    url = f"sqlite:///{store.path}"
    with pytest.raises(StoreMoved):
        await SqliteStore(store.path).open()
    for look in (migrate.plan, migrate.apply):
        with pytest.raises(StoreMoved, match=str(store.path)):
            look(url)


# -- the log --------------------------------------------------------------------------------------


async def test_every_change_of_a_job_is_noted(store: SqliteStore, mover: sqlite3.Connection) -> None:
    old = await kit.enqueue_claimed(store)
    await kit.settle(store, old, Failed(Failure("E", "no")))
    do(mover, lambda: moving.begin(mover, "id", TO))
    numbers = dict(mover.execute("SELECT id, n FROM headrace_history").fetchall())
    await store.edit(old.id, "[8]")
    assert noted(mover) == [numbers[old.id]]
    await store.retry([old.id])
    assert set(noted(mover)) == {old.id}
    job = kit.new_job(delay_s=0.001)
    await store.enqueue([job])
    assert set(noted(mover)) == {job.id}
    while not (await store.promote(10))[0]:
        pass
    assert set(noted(mover)) == {job.id}
    for claimed in await kit.claim(store):
        assert claimed.id in {old.id, job.id}
        lease = (claimed.id, claimed.fence)
    assert set(noted(mover)) == {old.id, job.id}
    await store.append([FeedWrite(*lease, UpdateKind.ITEM, "1")])
    assert set(noted(mover)) == {lease[0]}
    await store.cancel([lease[0]])
    assert set(noted(mover)) == {lease[0]}
    await store.reap([kit.WORKER])
    assert set(noted(mover)) == {old.id, job.id}
    await kit.register(store)
    many = [kit.new_job() for _ in range(8)]
    await store.enqueue(many)
    claimed_all = await kit.claim(store, 20, suspects=True) + await kit.claim(store, 20)
    noted(mover)
    await store.exchange(kit.WORKER, [Settle(each.id, each.fence, Succeeded("1")) for each in claimed_all], None)
    assert set(noted(mover)) == {each.id for each in claimed_all}
    await store.begin("me", "k", b"f", 3600)
    assert noted(mover) == [("me", "k")]
    await store.finish("me", "k", b"a")
    assert noted(mover) == [("me", "k")]
    await store.finish("me", "k", None)
    assert noted(mover) == [("me", "k")]


async def test_every_change_of_the_post_is_noted(store: SqliteStore, mover: sqlite3.Connection) -> None:
    job = kit.new_job(promises=("a",))
    await store.enqueue([job])
    await store.publish([Event(b"0" * 16, "kafka", "a")])
    do(mover, lambda: moving.begin(mover, "id", TO))

    async def notes(verb: Awaitable[object]) -> list[tuple[object, ...]]:
        end = moving.log_end(mover)
        await verb
        sql = "SELECT job, n, scope FROM headrace_move_log WHERE seq > ?"
        return mover.execute(sql, (end,)).fetchall()

    new, digest = kit.new_job(), b"2" * 16
    arrival = Intake([Arrival(new, digest)], {"0": Mark(None, 1)})
    assert {(digest, 1, None), (new.id, None, None), (None, None, None)} == set(
        await notes(store.receive("kafka:a:g", arrival))
    )
    assert await notes(store.forget_seen("kafka:a:g", -1.0, 10)) == [(digest, 1, None)]
    assert await notes(store.keep_promises([(Promise(job.id, "a"), None)])) == [(job.id, None, None)]
    assert await notes(store.publish([Event(b"3" * 16, "kafka", "a")])) == [(None, None, None)]
    assert await notes(store.publish([Event(b"4" * 16, "kafka", "a")], once=True)) == [
        (b"4" * 16, 0, None),
        (None, None, None),
    ]
    assert await notes(store.sent("kafka", [1], [Refusal(2, "no", parked=True)])) == [(None, None, None)] * 2
    assert await notes(store.take_chore("sink:kafka", "me", 1.0)) == [], "it does not go over"


async def test_what_is_deleted_by_age_is_noted(store: SqliteStore, mover: sqlite3.Connection) -> None:
    job = await kit.enqueue_claimed(store)
    await kit.settle(store, job, Succeeded("1"))
    do(mover, lambda: moving.begin(mover, "id", TO))
    deadline = time.monotonic() + 5
    while not await store.prune(10):  # its result
        assert time.monotonic() < deadline
    assert noted(mover) == [job.id]
    later = SqliteStore(store.path, StoreSettings(retention_s=0.001))
    await later.open()
    while not await later.prune(10):
        assert time.monotonic() < deadline
    await later.close()
    assert noted(mover) == [job.id]


async def test_a_full_log_says_so(
    store: SqliteStore, mover: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_ROOM", moving._ROOM.replace(str(moving.LOG_MAX), "3"))
    do(mover, lambda: moving.begin(mover, "id", TO))
    await store.enqueue([kit.new_job(), kit.new_job()])
    assert not moving.log_full(mover)
    await store.enqueue([kit.new_job() for _ in range(5)])
    assert moving.log_full(mover)
    assert moving.log_end(mover) == 3
    assert not moving.trim_log(mover, 3)
    assert moving.log_end(mover) == 3


async def test_a_move_that_is_given_up_leaves_nothing(store: SqliteStore, mover: sqlite3.Connection) -> None:
    def everything() -> list[object]:
        return (
            mover.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
            + mover.execute("SELECT * FROM headrace_meta ORDER BY key").fetchall()
        )

    before = everything()
    do(mover, lambda: moving.begin(mover, "id", TO))
    stop(mover)
    assert everything() != before
    do(mover, lambda: moving.give_up(mover))
    assert everything() == before
    assert moving.record(mover) is None
