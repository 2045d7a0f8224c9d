"""Messages in and events out on PostgreSQL, with others at the same rows: who waits, what is refused and rung for."""

import asyncio
import os
from collections.abc import AsyncIterator

import asyncpg
import pytest

from headrace.core.errors import NotEncodable, StoreUnavailable
from headrace.core.event import Event
from headrace.core.message import Bookmark, Mark, digest_of
from headrace.core.relay_events import Refusal
from headrace.ports.post import Arrival, Intake, Letter, Promise, Received
from headrace.stores.postgres import PostgresStore
from headrace.testing.conformance.store_base import new_job

TOPIC = "kafka:orders:g"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'headrace' AND wait_event_type = 'Lock'"
THROW_OUT = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE application_name = 'headrace' AND wait_event_type = 'Lock'"
)

LATE = (
    "SELECT headrace_publish_1(NULL, NULL, NULL, NULL, ARRAY[gen_random_uuid()], ARRAY['kafka'], ARRAY['9'],"
    " ARRAY['orders'], ARRAY['{}'], ARRAY[''::bytea])"
)


@pytest.fixture
def rung() -> list[str]:
    return []


@pytest.fixture
async def store(postgres_url: str, rung: list[str]) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(postgres_url, notify=rung.extend)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def other(store: PostgresStore, postgres_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


def read(known: int | None, count: int) -> Intake:
    return Intake([Arrival(new_job()) for _ in range(count)], {"0": Mark(known, (known or 0) + count)})


async def until_one_waits(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    async with asyncio.timeout(10):
        while not await connection.fetchval(WAITING):  # noqa: ASYNC110 - the server is asked
            await asyncio.sleep(0.01)


async def test_who_comes_while_a_bookmark_moves_waits_and_finds_that_it_has(
    store: PostgresStore, other: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await store.receive(TOPIC, read(None, 3))
    await other.execute("BEGIN; UPDATE headrace_bookmark SET next = 5")
    late = asyncio.create_task(store.receive(TOPIC, read(3, 1)))
    await until_one_waits(other)
    await other.execute("COMMIT")
    assert await late == Received(moved={"0": 5})
    await other.execute("BEGIN; UPDATE headrace_bookmark SET next = 6")
    late = asyncio.create_task(store.receive(TOPIC, read(5, 1)))
    await until_one_waits(other)
    await other.execute("ROLLBACK")
    assert await late == Received((True,))
    assert await store.bookmarks(TOPIC) == {"0": Bookmark(6)}


async def test_an_intake_whose_connection_is_lost_is_repeated(
    store: PostgresStore, other: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await store.receive(TOPIC, read(None, 3))
    intake = Intake([Arrival(new_job(), digest_of(str(n)), Letter(TOPIC, "why")) for n in range(5)], {"0": Mark(3, 8)})
    await other.execute("BEGIN; SELECT FROM headrace_bookmark FOR UPDATE")
    lost = asyncio.create_task(store.receive(TOPIC, intake))
    await until_one_waits(other)
    await other.execute(THROW_OUT)
    with pytest.raises(StoreUnavailable):
        await lost
    await other.execute("COMMIT")
    assert await store.bookmarks(TOPIC) == {"0": Bookmark(3)}
    assert await store.receive(TOPIC, intake) == Received((True,) * 5)
    assert await store.receive(TOPIC, intake) == Received(moved={"0": 8})


async def test_sources_hold_up_nobody(store: PostgresStore, other: "asyncpg.Connection[asyncpg.Record]") -> None:
    """When a source last took something is written now and then, and not waited for."""
    await store.receive(TOPIC, read(None, 3))
    await other.execute("UPDATE headrace_source SET taken_at = '2020-01-01'")
    await other.execute("BEGIN; UPDATE headrace_source SET taken_at = '2021-01-01'")
    async with asyncio.timeout(3):
        assert (await store.receive(TOPIC, read(3, 2))).added == (True, True)
    await other.execute("ROLLBACK")


async def test_a_large_letter(store: PostgresStore) -> None:
    body = os.urandom(1 << 20) * 60
    letter = Letter("rabbitmq:orders", "too large", size=len(body), body=body)
    job = new_job()
    await store.receive("rabbitmq:orders", Intake([Arrival(job, None, letter), Arrival(new_job())]))
    assert await store.letter(job.id) == letter


@pytest.mark.parametrize("why", ["\x00", "\ud800"])
async def test_what_is_no_text_here_is_refused_and_the_next_is_taken(store: PostgresStore, why: str) -> None:
    strange = Arrival(new_job(), None, Letter("rabbitmq:orders", why))
    with pytest.raises(NotEncodable):
        await store.receive("rabbitmq:orders", Intake([Arrival(new_job()), strange]))
    with pytest.raises(NotEncodable):
        await store.publish([Event(b"0" * 16, "kafka", "orders", why)])
    assert (await store.receive("rabbitmq:orders", Intake([Arrival(new_job())]))).added == (True,)


async def test_jobs_of_a_source_may_differ(store: PostgresStore) -> None:
    jobs = [
        new_job(
            lane_key=str(n % 3),
            priority=n % 2,
            max_attempts=1 + n,
            timeout_s=1.5 + n,
            signature=str(n),
            tags=("t", "ö"),
        )
        for n in range(6)
    ]
    jobs += [new_job(deadline_s=3600.0), new_job(run_at=2e9 + 0.25, deadline_at=2e9 + 1.5)]
    assert (await store.receive(TOPIC, Intake([Arrival(job) for job in jobs]))).added == (True,) * 8
    for job, record in zip(jobs, await store.get([job.id for job in jobs]), strict=True):
        assert record is not None
        told = (record.priority, record.max_attempts, record.timeout_s, record.tags, record.run_at)
        assert told == (job.priority, job.max_attempts, job.timeout_s, job.tags, job.run_at)
        assert (record.deadline_at is None) == (job.deadline_s is None and job.deadline_at is None)


async def test_what_is_rung_for(store: PostgresStore, rung: list[str]) -> None:
    job = new_job(promises=("a", "b"))
    await store.receive("rabbitmq:orders", Intake([Arrival(job, digest_of("a"))]))
    assert rung == [f"queue:{job.queue}"]
    await store.cancel([job.id])
    rung.clear()
    await store.receive("rabbitmq:orders", Intake([Arrival(new_job(), digest_of("a"))]))
    assert await store.keep_promises([(Promise(job.id, "a"), None)]) == 1
    assert rung == [], "nothing has come"
    event = Event(b"1" * 16, "kafka", "orders")
    assert await store.keep_promises([(Promise(job.id, "b"), event)]) == 1
    assert await store.keep_promises([(Promise(job.id, "b"), event)]) == 0
    assert rung == ["sink:kafka"]
    await store.publish([event], once=True)
    await store.publish([event], once=True)
    assert rung == ["sink:kafka"] * 2
    places = [out.place for out in (await store.outgoing("kafka", 0, 10, 10)).events]
    await store.sent("kafka", places[:1], [Refusal(places[1], "no", parked=True)])
    assert await store.unpark("kafka", None) == 1
    assert await store.unpark("kafka", None) == 0
    assert rung == ["sink:kafka"] * 3


async def test_what_may_still_be_committed_is_told(
    store: PostgresStore, other: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async def page(after: int) -> tuple[list[int], int]:
        found = await store.outgoing("kafka", after, 10, 1 << 20)
        assert found.settled is not None
        return [out.place for out in found.events], found.settled

    def event() -> Event:
        return Event(os.urandom(16), "kafka", "orders", "9")

    await store.publish([event()])
    assert await page(0) == ([1], 0), "nothing is known at first"
    assert await page(0) == ([1], 1)
    async with other.transaction():
        await other.execute(LATE)
        for _ in range(12):
            await store.publish([event()])
            found, settled = await page(1)
            assert (found[0], settled) == (3, 1)
    assert await page(1) == (list(range(2, 12)), 14), "it comes before what was written after it"
    assert await page(11) == ([12, 13, 14], 14)
