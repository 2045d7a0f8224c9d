"""A file with jobs in every state, and what both sides say of them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from headrace.core.errors import Conflict
from headrace.core.event import Event
from headrace.core.message import Mark, digest_of
from headrace.core.model import (
    AttemptRecord,
    Cancelled,
    Failed,
    Failure,
    FeedPage,
    FeedWrite,
    GivenBack,
    JobId,
    JobRecord,
    Retried,
    Settle,
    Snoozed,
    Succeeded,
    UpdateKind,
)
from headrace.core.relay_events import Refusal
from headrace.ports.post import Arrival, Intake, Letter
from headrace.ports.store import StoreSettings
from headrace.ports.vault import ApiKey
from headrace.runtime.clock import SystemClock
from headrace.stores.move import Moved, Mover, Source, Stage, Target
from headrace.stores.postgres import PostgresStore
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance import store_base as suite
from headrace.testing.conformance.store_base import FullStore, new_job

SETTINGS = StoreSettings(lease_s=600.0, crash_backoff_s=60.0)
FAILURE = Failure("shop.Oops", "no luck: “ünï”\x07", traceback="Traceback…\n", fingerprint="f1")
SEEN = tuple(f"message {n}" for n in range(25))
DIGESTS = {"live": "d1", "ended": "d2", "taken over": "d4"}


@dataclass
class Filled:
    """What is in a file."""

    jobs: list[JobId] = field(default_factory=list[JobId])

    def also(self, *jobs: Any) -> Any:
        """Remember jobs; the first."""
        self.jobs += [job.id for job in jobs]
        return jobs[0]


async def fill(store: FullStore) -> Filled:
    """Jobs in every state that there is, and all that hangs on them."""
    told = Filled()
    await suite.register(store)
    for queue in ("held", "later"):
        await store.pause(queue, paused=True)
    await _fill_ended(store, told)
    await _fill_waiting(store, told)
    await store.secret("signing", b"\x00secret")
    await store.add_api_key(ApiKey("k1", "robot", b"\x01" * 32, ("read", "enqueue"), 1_700_000_000.25))
    await store.add_api_key(ApiKey("k2", "gone", b"\x02" * 32, (), 1_700_000_000.5, 1_700_000_001.0))
    await store.begin("k1", "done", b"f1", 86_400.0)
    await store.finish("k1", "done", b"\x00answer")
    await store.begin("k1", "in flight", b"f2", 86_400.0)
    return told


async def _fill_ended(store: FullStore, told: Filled) -> None:
    plain = [told.also(await suite.enqueue_claimed(store, tags=("a", "ö"), traceparent="00-1-2-01")) for _ in range(8)]
    await store.exchange(suite.WORKER, [Settle(job.id, job.fence, Succeeded('{"n":1}')) for job in plain], None)
    rich = told.also(await suite.enqueue_claimed(store, key="ended", key_digest=DIGESTS["ended"], lane_key="lane"))
    lease = (rich.id, rich.fence)
    writes = [FeedWrite(*lease, UpdateKind.ITEM, f'{{"i":{n}}}', key=f"k{n}" if n % 2 else None) for n in range(20)]
    await store.append(
        [*writes, FeedWrite(*lease, UpdateKind.LOG, '"line"'), FeedWrite(*lease, UpdateKind.PROGRESS, "[1,2]")]
    )
    await suite.settle(store, rich, Succeeded('"' + "ü" * 500 + '"'))
    for outcome in (Failed(FAILURE), Cancelled("changed my mind")):
        await suite.settle(store, told.also(await suite.enqueue_claimed(store, max_attempts=3)), outcome)
    edited = told.also(await suite.enqueue_claimed(store, args='["old"]'))
    await suite.settle(store, edited, Failed(FAILURE))
    await store.edit(edited.id, '["new"]')
    unwanted = told.also(new_job())
    await store.enqueue([unwanted])
    await store.cancel([unwanted.id])
    stubborn = told.also(await suite.enqueue_claimed(store, key="taken over", key_digest="d3"))
    await suite.settle(store, stubborn, Retried(FAILURE))
    again = await suite.claim_one(store)
    await suite.settle(store, again, Failed(FAILURE))
    # A key that its first job holds no more: with another digest it would be a conflict.
    short = SqliteStore(store.path, replace(SETTINGS, key_retention_s=0.0))  # type: ignore[attr-defined]
    await short.open()
    heir = told.also(new_job(key="taken over", key_digest=DIGESTS["taken over"], queue="held"))
    await short.enqueue([heir])
    await short.close()


async def _fill_waiting(store: FullStore, told: Filled) -> None:
    outcomes = (Retried(FAILURE, 3600.0), Retried(FAILURE), Snoozed(3600.0, "later"), GivenBack(started=True))
    for at, outcome in enumerate((*outcomes, GivenBack(started=False))):
        job = told.also(await suite.enqueue_claimed(store, queue=f"q{at}", max_attempts=5, timeout_s=12.5))
        await store.append([FeedWrite(job.id, job.fence, UpdateKind.ITEM, "1", key="once")])
        await suite.settle(store, job, outcome)
        await store.pause(f"q{at}", paused=True)  # so that it waits as it is
    revived = told.also(await suite.enqueue_claimed(store))
    await suite.settle(store, revived, Failed(FAILURE))
    await store.retry([revived.id])
    claimed = await suite.claim_one(store)
    await suite.settle(store, claimed, Failed(FAILURE))
    await store.retry([revived.id])
    await store.pause("billing", paused=True)
    waiting = [
        new_job(
            queue="held", key="live", key_digest=DIGESTS["live"], priority=7, lane_key="x", tags=("t",), signature="s1"
        ),
        new_job(queue="held", delay_s=3600.0, deadline_s=7200.0),
        new_job(queue="held", run_at=time.time() + 86_400.0),
        *[new_job(queue="later", priority=n % 3) for n in range(12)],
    ]
    told.also(*waiting)
    await store.enqueue(waiting)


async def fill_post(store: FullStore, told: Filled) -> None:
    """Messages that came in, with and without bookmarks, and events that are to go out."""
    letter = Letter("rabbitmq:orders", "no JSON: ü", "text/plain", '{"a":"ö"}', "7:9", 50_000_000, b"\x00\xff{")
    came = [Arrival(new_job(queue="held"), digest_of(name)) for name in SEEN]
    strange = [Arrival(new_job(queue="held", tags=("letter",)), digest_of("strange"), letter)]
    placed = [Arrival(new_job(queue="held", promises=("ends", "also")))]
    await store.receive("rabbitmq:orders", Intake([*came, *strange]))
    await store.receive("kafka:orders:g", Intake(placed, {"0": Mark(None, 7, 1_700_000_000_123), "10": Mark(None, 2)}))
    await store.put_bookmark("kafka:forgotten:g", "0", 1)
    await store.put_bookmark("kafka:forgotten:g", "0", None)
    for arrival in (*came, *strange, *placed):
        told.also(arrival.job)
    promised = told.also(new_job(queue="held", promises=("ends",)))
    await store.enqueue([promised])
    await store.cancel([promised.id])
    events = [event(n) for n in range(9)]
    await store.publish(events[:3], once=True)
    await store.publish(events[3:])
    places = [out.place for out in (await store.outgoing("kafka", 0, 100, 1 << 20)).events]
    refused = [Refusal(places[0], "no: ü", parked=True), Refusal(places[2], "no", parked=False)]
    await store.sent("kafka", [places[1], places[-1]], refused)  # the last place is free now
    await store.sent("nats", [out.place for out in (await store.outgoing("nats", 0, 100, 1 << 20)).events][-1:])
    await store.take_chore("sink:kafka", "somebody", 1000.0)


def event(n: int) -> Event:
    """One whose id is known."""
    sink = "nats" if n % 3 == 1 else "kafka"
    return Event(n.to_bytes(16), sink, f"ö{n}", f"k{n % 2}", '{"a":"ü"}', b"\x00\xff%d" % n)


async def post_of(store: FullStore, jobs: Sequence[JobId]) -> list[Any]:
    """What came in and is to go out, as the public API of a store shows it."""
    sinks = [(sink.name, sink.waiting, sink.parked) for sink in await store.sinks()]
    return [
        [(source.name, dict(source.bookmarks), source.taken_age_s is None) for source in await store.sources()],
        [await store.letter(job) for job in jobs],
        await store.promised(None, 1_000),
        sinks,
        [(await store.outgoing(name, 0, 1_000, 1 << 30)).events for name, *_ in sinks],
        [[replace(parked, age_s=0.0) for parked in await store.parked(name, 0, 1_000)] for name, *_ in sinks],
    ]


async def check_post(store: FullStore) -> None:
    """What was taken is not taken again, what was published once is not published again, and places go on."""
    again = [Arrival(new_job(queue="held"), digest_of(name)) for name in (*SEEN, "strange", "new")]
    received = await store.receive("rabbitmq:orders", Intake(again))
    assert received.added == (False,) * (len(SEEN) + 1) + (True,)
    late = Intake([Arrival(new_job(queue="held"))], {"0": Mark(6, 8), "10": Mark(2, 3)})
    assert (await store.receive("kafka:orders:g", late)).moved == {"0": 7}
    waiting = (await store.outgoing("kafka", 0, 1_000, 1 << 30)).events
    assert await store.publish([event(1), event(100)], once=True) == [False, True]
    assert await store.publish([event(102)]) == [True]
    last = (await store.outgoing("kafka", 0, 1_000, 1 << 30)).events[-1]
    assert last.event == event(102)
    assert last.place > 9, "a place was given again"
    assert all(out.place < last.place for out in waiting)
    assert await store.take_chore("sink:kafka", "another", 10.0) is not None


async def leave_running(store: FullStore, told: Filled, worker: str) -> tuple[JobId, int]:
    """A job that runs, with progress; its lease."""
    await suite.register(store, worker)
    job = new_job(queue=f"of {worker}", max_attempts=2)
    await store.enqueue([job])
    (claimed,) = await suite.claim(store, worker=worker, queues=[job.queue])
    told.also(job)
    await store.append([FeedWrite(job.id, claimed.fence, UpdateKind.PROGRESS, "[1,3]")])
    await store.append([FeedWrite(job.id, claimed.fence, UpdateKind.ITEM, '"so far"', key="first")])
    return job.id, claimed.fence


# -- what both sides say ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """A job as a store shows it."""

    record: JobRecord | None
    attempts: list[AttemptRecord]
    feed: FeedPage | None


async def pictures(store: FullStore, jobs: Sequence[JobId]) -> dict[str, Picture]:
    """Jobs by their hex id, as the public API of a store shows them."""
    records = await store.get(jobs)
    return {
        job.hex(): Picture(record, await store.attempts(job), await store.read_updates(job, 0, 100_000))
        for job, record in zip(jobs, records, strict=True)
    }


async def vault_of(store: FullStore) -> list[Any]:
    """What the HTTP side keeps."""
    return [
        await store.secret("signing", b"another"),
        await store.api_keys(),
        [
            await store.begin("k1", key, fingerprint, 86_400.0)
            for key, fingerprint in (("done", b"f1"), ("in flight", b"f2"))
        ],
    ]


async def queues_of(store: FullStore) -> list[tuple[str, bool, dict[str, int]]]:
    """Queues with their counts of live jobs."""
    return [
        (queue.name, queue.paused, {state.value: count for state, count in queue.counts.items() if not state.terminal})
        for queue in await store.queues()
    ]


async def check_keys(store: FullStore) -> None:
    """Each key lands on the job that holds it, with its digest and no other."""
    for key, digest in DIGESTS.items():
        landed = (await store.enqueue([new_job(key=key, key_digest=digest)]))[0]
        assert not landed.created, key
        with pytest.raises(Conflict) as refused:
            await store.enqueue([new_job(key=key, key_digest="another")])
        assert refused.value.job_id == landed.id


# -- the move ---------------------------------------------------------------------------------------


async def move(path: Path, url: str, *, grace_s: float = 5.0, tell: Callable[[Stage], None] = lambda _: None) -> Moved:
    """As the command does."""
    clock = SystemClock()
    with Source(path, SETTINGS, clock.wall, moved=True) as source:
        async with Target.opened(url) as target:
            return await Mover(
                source,
                target,
                clock,
                to="postgresql://there/db",
                grace_s=grace_s,
                replay_retention_s=86_400.0,
                tell=tell,
            ).run()


async def target_of(url: str) -> PostgresStore:
    """The store that jobs moved to, open."""
    store = PostgresStore(url, SETTINGS)
    await store.open()
    return store


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):  # noqa: ASYNC110 - a store is asked
            await asyncio.sleep(0.02)
    return found
