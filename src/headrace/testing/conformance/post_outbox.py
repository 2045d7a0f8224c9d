# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Events out: in order, until they are confirmed, and promises that are kept once."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Sequence

import pytest

from headrace.core.errors import LeaseLost
from headrace.core.event import Event, Head
from headrace.core.model import Failed, Failure, JobFilter, Lease, Succeeded
from headrace.core.relay_events import Refusal
from headrace.ports.post import PUBLISHED_S, Promise
from headrace.ports.store import StoreSettings
from headrace.testing.conformance.store_base import (
    FullStore,
    MakeStore,
    StoreSuite,
    TimeControl,
    claim,
    enqueue_claimed,
    new_job,
    opened,
    register,
    settle,
)

ALL_BYTES = 1 << 30


def event(body: bytes = b"", key: str | None = None, sink: str = "kafka", target: str = "orders") -> Event:
    """A new event."""
    return Event(os.urandom(16), sink, target, key, Head({"ce-id": "é"}, "application/json").text(), body)


async def waiting(store: FullStore, sink: str = "kafka") -> list[Event]:
    """All that waits for a sink."""
    page = await store.outgoing(sink, 0, 100_000, ALL_BYTES)
    assert not page.more
    places = [out.place for out in page.events]
    assert places == sorted(set(places))
    return [out.event for out in page.events]


async def places_of(store: FullStore, events: Sequence[Event]) -> list[int]:
    """Where these events are, in order."""
    found = {out.event.id: out.place for out in (await store.outgoing("kafka", 0, 100_000, ALL_BYTES)).events}
    return [found[each.id] for each in events]


class OutboxSuite(StoreSuite):
    """What `publish`, `outgoing`, `sent`, promises and their neighbours promise."""

    async def test_events_wait_in_their_order_as_they_were(self, store: FullStore) -> None:
        events = [event(bytes([n]) + b"\x00\xff", None if n % 3 else f"kü{n}") for n in range(20)]
        assert await store.publish(events[:12]) == [True] * 12
        assert await store.publish(events[12:]) == [True] * 8
        assert await store.publish([]) == []
        assert await waiting(store) == events
        assert await waiting(store, "nats") == []

    async def test_they_are_read_by_pages(self, store: FullStore) -> None:
        events = [event(b"x" * 100, key) for key in ("a", "b", None, "a", "c")]
        await store.publish(events)
        first = await store.outgoing("kafka", 0, 2, ALL_BYTES)
        assert ([out.event for out in first.events], first.more) == (events[:2], True)
        assert [out.failures for out in first.events] == [0, 0]
        rest = await store.outgoing("kafka", first.events[-1].place, 3, ALL_BYTES)
        assert ([out.event for out in rest.events], rest.more) == (events[2:], False)
        for bytes_max, count in ((250, 2), (300, 3), (1, 1)):
            page = await store.outgoing("kafka", 0, 10, bytes_max)
            assert ([out.event for out in page.events], page.more) == (events[:count], True)
        without = await store.outgoing("kafka", 0, 10, ALL_BYTES, ["a", "c", "z"])
        assert ([out.event for out in without.events], without.more) == ([events[1], events[2]], False)

    async def test_what_was_confirmed_is_gone(self, store: FullStore) -> None:
        events = [event() for _ in range(4)]
        await store.publish(events)
        places = await places_of(store, events)
        await store.sent("nats", places)
        await store.sent("kafka", [places[0], places[2], places[3] + 1_000])
        await store.sent("kafka", [places[0]])
        assert await waiting(store) == [events[1], events[3]]

    async def test_refusals_are_counted_until_an_event_is_parked(self, store: FullStore, time: TimeControl) -> None:
        events = [event(key="k"), event(key="k"), event()]
        await store.publish(events)
        places = await places_of(store, events)
        gone = Refusal(places[-1] + 1_000, "gone", parked=True)
        await store.sent("kafka", [], [Refusal(places[0], "no é", parked=False), gone])
        await store.sent("kafka", [places[2]], [Refusal(places[0], "never", parked=True)])
        only = await store.outgoing("kafka", 0, 1, ALL_BYTES)
        assert ([out.event for out in only.events], only.more) == ([events[1]], False)
        await time.pass_time(time.tick)
        (parked,) = await store.parked("kafka", 0, 10)
        assert (parked.place, parked.event, parked.failures, parked.why) == (places[0], events[0], 2, "never")
        assert parked.age_s >= time.tick * 0.9
        assert await store.parked("kafka", places[0], 10) == []
        assert await store.unpark("kafka", [places[1]]) == 0, "it is not parked"
        assert await store.unpark("kafka", [places[0], places[0] + 1_000]) == 1
        page = await store.outgoing("kafka", 0, 10, ALL_BYTES)
        assert [(out.place, out.event, out.failures) for out in page.events] == [
            (places[0], events[0], 0),
            (places[1], events[1], 0),
        ]
        await store.sent("kafka", [], [Refusal(place, "no", parked=True) for place in places[:2]])
        assert [parked.place for parked in await store.parked("kafka", 0, 1)] == places[:1]
        assert await store.drop("kafka", [places[0]]) == 1
        assert await store.drop("kafka", [places[0]]) == 0
        assert await store.unpark("kafka", None) == 1
        assert await store.drop("kafka", [places[1]]) == 0, "it is not parked"
        assert await waiting(store) == [events[1]]

    async def test_an_id_is_published_once_where_that_is_asked(self, store: FullStore) -> None:
        first, second = event(), event()
        assert await store.publish([first, second, first], once=True) == [True, True, False]
        await store.sent("kafka", await places_of(store, [first]))
        assert await store.publish([first], once=True) == [False]
        assert await waiting(store) == [second]
        assert await store.publish([second]) == [True]
        assert await waiting(store) == [second, second]
        answers = await asyncio.gather(*(store.publish([event(), third], once=True) for third in [event()] * 8))
        assert sum(answer[1] for answer in answers) == 1
        assert all(answer[0] for answer in answers)

    async def test_a_guard_lets_only_its_attempt_publish(self, store: FullStore) -> None:
        job = await enqueue_claimed(store)
        waits = new_job()
        await store.enqueue([waits])
        mine = event()
        assert await store.publish([mine], Lease(job.id, job.fence), once=True) == [True]
        assert await store.publish([mine], Lease(job.id, job.fence), once=True) == [False]
        late = [event(), event(sink="nats")]
        for lease in (Lease(job.id, job.fence + 1), Lease(waits.id, 0), Lease(waits.id, 1), Lease(new_job().id, 1)):
            with pytest.raises(LeaseLost):
                await store.publish(late, lease, once=True)
        await settle(store, job, Succeeded())
        with pytest.raises(LeaseLost):
            await store.publish(late, Lease(job.id, job.fence), once=True)
        assert await waiting(store) == [mine]
        assert await store.publish(late, once=True) == [True, True], "their ids were not remembered"

    async def test_many_publish_at_once_and_each_in_its_order(self, store: FullStore) -> None:
        async def publish(key: str) -> None:
            for n in range(5):
                await store.publish([event(b"%d" % (2 * n), key), event(b"%d" % (2 * n + 1), key)])

        await asyncio.gather(*(publish(str(n)) for n in range(6)))
        bodies: dict[str | None, list[int]] = defaultdict(list)
        for each in await waiting(store):
            bodies[each.key].append(int(each.body))
        assert bodies == {str(n): list(range(10)) for n in range(6)}

    async def test_sinks_are_listed(self, store: FullStore, time: TimeControl) -> None:
        assert await store.sinks() == []
        events = [event(), event(), event(sink="nats")]
        await store.publish(events)
        await time.pass_time(time.tick)
        await store.publish([event()])
        places = await places_of(store, events[:2])
        await store.sent("kafka", [], [Refusal(places[1], "no", parked=True)])
        nats = (await store.outgoing("nats", 0, 1, 1)).events[0].place
        await store.sent("nats", [nats])
        first, second = await store.sinks()
        assert (first.name, first.waiting, first.parked) == ("kafka", 2, 1)
        assert first.age_s is not None
        assert first.age_s >= time.tick * 0.9
        assert (second.name, second.waiting, second.age_s, second.parked) == ("nats", 0, None, 0)

    async def test_what_is_to_go_out_survives(self, make_store: MakeStore) -> None:
        mine = event(b"\x00", "k")
        async with opened(make_store) as store:
            durable = store.capabilities.durable
            await store.publish([mine], once=True)
            await store.enqueue([new_job(promises=("ends",))])
        async with opened(make_store) as store:
            assert (await waiting(store) == [mine]) is durable
            assert await store.publish([mine], once=True) == [not durable]

    async def test_ids_are_forgotten_in_the_end(self, store: FullStore, time: TimeControl) -> None:
        if time.tick < 1:
            return  # days of somebody's time; the manual clock shows it
        old, young = event(), event()
        await store.publish([old], once=True)
        await time.pass_time(PUBLISHED_S - time.tick)
        await store.publish([young], once=True)
        assert await store.prune(10) == 0
        assert await store.publish([old], once=True) == [False]
        await time.pass_time(2 * time.tick)
        assert await store.prune(10) == 1
        assert await store.publish([old, young], once=True) == [True, False]

    # -- promises -----------------------------------------------------------------------------

    async def test_a_promise_is_due_when_its_job_has_ended(self, store: FullStore) -> None:
        jobs = [new_job(promises=("b", "a")), new_job(), new_job(promises=("a",)), new_job(promises=("a",))]
        await store.enqueue(jobs)
        await store.enqueue([jobs[1], jobs[0]])
        assert (await store.promised(None, 10)).ended == ()
        first, _, third = await claim(store, 3)
        await settle(store, first, Succeeded())
        await settle(store, third, Failed(Failure("E", "no")))
        await store.cancel([jobs[3].id])
        due = [
            Promise(jobs[0].id, "a"),
            Promise(jobs[0].id, "b"),
            Promise(jobs[2].id, "a"),
            Promise(jobs[3].id, "a"),
        ]
        page = await store.promised(None, 10)
        assert (list(page.ended), page.next_after) == (due, None)
        page = await store.promised(None, 3)
        assert (list(page.ended), page.next_after) == (due[:3], due[2])
        page = await store.promised(due[2], 3)
        assert (list(page.ended), page.next_after) == (due[3:], None)

    async def test_promises_of_jobs_that_live_are_looked_at_and_passed(self, store: FullStore) -> None:
        jobs = [new_job(promises=("a",)) for _ in range(4)]
        await store.enqueue(jobs)
        await store.cancel([jobs[3].id])
        page = await store.promised(None, 2)
        assert (page.ended, page.next_after) == ((), Promise(jobs[1].id, "a"))
        page = await store.promised(page.next_after, 10)
        assert (page.ended, page.next_after) == ((Promise(jobs[3].id, "a"),), None)

    async def test_a_promise_is_kept_once(self, store: FullStore) -> None:
        job = new_job(promises=("a", "b", "c"))
        await store.enqueue([job])
        await store.cancel([job.id])
        promises = [Promise(job.id, name) for name in "abc"]
        nobodys = Promise(new_job().id, "a")
        told = event(b"told")
        kept = [(promises[0], told), (promises[1], None), (nobodys, event())]
        answers = await asyncio.gather(*(store.keep_promises(kept) for _ in range(6)))
        assert sum(answers) == 2
        assert await waiting(store) == [told]
        assert (await store.promised(None, 10)).ended == (promises[2],)

    async def test_a_job_that_lands_on_another_promises_nothing(self, store: FullStore) -> None:
        first = new_job(key="k", key_digest="d")
        await store.enqueue([first])
        await store.enqueue([new_job(key="k", key_digest="d", promises=("a",)), new_job(promises=("a", "a"))])
        (mine,) = (await store.find(JobFilter(), limit=1)).jobs
        await store.cancel([first.id, mine.id])
        assert (await store.promised(None, 10)).ended == (Promise(mine.id, "a"),)

    async def test_a_promise_goes_with_its_job(self, make_store: MakeStore, time: TimeControl) -> None:
        settings = StoreSettings(retention_s=time.tick, result_retention_s=time.tick, key_retention_s=time.tick)
        async with opened(make_store, settings) as store:
            await register(store)
            jobs = [new_job(promises=("a",)), new_job(promises=("a",))]
            await store.enqueue(jobs)
            await store.cancel([jobs[0].id])
            await time.pass_time(3 * time.tick)
            while await store.prune(10):
                pass
            assert (await store.promised(None, 10)).ended == ()
            assert await store.keep_promises([(Promise(jobs[0].id, "a"), event())]) == 0
            await store.cancel([jobs[1].id])
            assert (await store.promised(None, 10)).ended == (Promise(jobs[1].id, "a"),)
