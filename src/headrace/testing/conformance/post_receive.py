# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Messages in: once each, with their bookmarks, in one piece."""

import asyncio
from collections.abc import Sequence

from headrace.core.errors import NotEncodable, PayloadTooLarge, StoreError
from headrace.core.message import Bookmark, Mark, digest_of
from headrace.core.model import ClaimedJob, JobId, NewJob, Succeeded
from headrace.core.states import JobState
from headrace.ports.post import Arrival, Intake, Letter, Received
from headrace.ports.store import StoreSettings
from headrace.testing.conformance.store_base import (
    FullStore,
    MakeStore,
    StoreSuite,
    TimeControl,
    claim,
    ids_of,
    new_job,
    opened,
    register,
    settle,
)

SOURCE = "rabbitmq:orders"
TOPIC = "kafka:orders:payments"


def arrivals(*names: str) -> list[Arrival]:
    """New jobs of messages with these ids."""
    return [Arrival(new_job(), digest_of(name)) for name in names]


def read(known: int | None, count: int, part: str = "0", at_ms: int | None = 1_800_000_000_123) -> Intake:
    """So many messages of one part from its bookmark on, without ids."""
    return Intake([Arrival(new_job()) for _ in range(count)], {part: Mark(known, (known or 0) + count, at_ms)})


def jobs_of(intake: Intake) -> list[JobId]:
    """Their jobs, in order."""
    return [arrival.job.id for arrival in intake.arrivals]


async def there(store: FullStore, jobs: Sequence[JobId]) -> list[bool]:
    """Which of these jobs are known."""
    return [record is not None for record in await store.get(jobs)]


class ReceiveSuite(StoreSuite):
    """What `receive` and its neighbours promise."""

    async def test_messages_are_jobs_in_their_order(self, store: FullStore) -> None:
        intake = Intake([Arrival(new_job(args=f"[{n}]", tags=("a",)), digest_of(str(n))) for n in range(50)])
        assert await store.receive(SOURCE, intake) == Received((True,) * 50)
        assert [job.args for job in await claim(store, 50)] == [f"[{n}]" for n in range(50)]
        assert await store.receive(SOURCE, Intake()) == Received(())

    async def test_a_message_is_taken_once_from_each_source(self, store: FullStore) -> None:
        first, again = arrivals("a", "b"), arrivals("b", "c", "a", "c")
        assert (await store.receive(SOURCE, Intake(first))).added == (True, True)
        assert (await store.receive(SOURCE, Intake(again))).added == (False, True, False, False)
        assert await there(store, [arrival.job.id for arrival in again]) == [False, True, False, False]
        assert (await store.receive("rabbitmq:others", Intake(arrivals("a")))).added == (True,)
        assert (await store.receive(SOURCE, Intake([Arrival(new_job()), Arrival(new_job())]))).added == (True, True)

    async def test_many_who_bring_it_at_once_add_it_once(self, store: FullStore, make_store: MakeStore) -> None:
        async with opened(make_store) as other:
            stores = [store, other if store.capabilities.shared else store]
            names = [str(n) for n in range(20)]
            intakes = [Intake(arrivals(*(names if turn % 2 else reversed(names)))) for turn in range(8)]
            answers = await asyncio.gather(
                *(stores[turn % 2].receive(SOURCE, intake) for turn, intake in enumerate(intakes))
            )
        assert sum(sum(answer.added) for answer in answers) == 20
        for intake, answer in zip(intakes, answers, strict=True):
            assert tuple(await there(store, jobs_of(intake))) == answer.added

    async def test_repeating_an_intake_adds_nothing(self, store: FullStore) -> None:
        with_ids = Intake(arrivals("a", "b"))
        without = Intake([Arrival(new_job()), Arrival(new_job())])
        placed = read(None, 2)
        for intake in (with_ids, without, placed):
            assert (await store.receive(TOPIC, intake)).added == (True, True)
        await settle(store, await claim_one_of(store, jobs_of(without)[0]), Succeeded())
        assert (await store.receive(TOPIC, with_ids)).added == (False, False)
        assert (await store.receive(TOPIC, without)).added == (False, False)
        assert (await store.receive(TOPIC, placed)).moved == {"0": placed.marks["0"].next}
        assert len(await claim(store, 10)) == 0

    async def test_a_bookmark_moves_with_its_jobs(self, store: FullStore) -> None:
        assert await store.bookmarks(TOPIC) == {}
        assert (await store.receive(TOPIC, read(None, 3))).added == (True, True, True)
        assert (await store.receive(TOPIC, read(None, 2, "1", None))).added == (True, True)
        assert await store.bookmarks(TOPIC) == {"0": Bookmark(3, 1_800_000_000_123), "1": Bookmark(2)}
        assert (await store.receive(TOPIC, Intake((), {"0": Mark(3, 9, 7)}))) == Received(())
        assert await store.bookmarks(TOPIC) == {"0": Bookmark(9, 7), "1": Bookmark(2)}
        assert await store.bookmarks("kafka:others") == {}

    async def test_who_does_not_know_where_it_stands_writes_nothing(self, store: FullStore) -> None:
        await store.receive(TOPIC, read(None, 3))
        for late, stands in ((read(None, 2), 3), (read(2, 2), 3), (read(4, 2), 3)):
            assert await store.receive(TOPIC, late) == Received(moved={"0": stands})
            assert await there(store, jobs_of(late)) == [False, False]
        two = Intake(arrivals("x"), {"0": Mark(3, 4), "1": Mark(5, 6), "2": Mark(0, 1)})
        assert await store.receive(TOPIC, two) == Received(moved={"1": None, "2": None})
        assert await there(store, jobs_of(two)) == [False]
        assert await store.bookmarks(TOPIC) == {"0": Bookmark(3, 1_800_000_000_123)}
        assert (await store.receive(TOPIC, Intake(arrivals("x")))).added == (True,), "its id was not remembered"

    async def test_one_of_many_moves_it(self, store: FullStore, make_store: MakeStore) -> None:
        async with opened(make_store) as other:
            stores = [store, other if store.capabilities.shared else store]
            known: int | None = None
            for _ in range(3):
                intakes = [read(known, turn + 1) for turn in range(6)]
                answers = await asyncio.gather(
                    *(stores[turn % 2].receive(TOPIC, intake) for turn, intake in enumerate(intakes))
                )
                (winner,) = [turn for turn, answer in enumerate(answers) if not answer.moved]
                known = intakes[winner].marks["0"].next
                assert {answer.moved["0"] for turn, answer in enumerate(answers) if turn != winner} == {known}
                for intake, answer in zip(intakes, answers, strict=True):
                    assert set(await there(store, jobs_of(intake))) == {not answer.moved}

    async def test_an_operator_moves_it(self, store: FullStore) -> None:
        await store.put_bookmark(TOPIC, "0", 7)
        await store.put_bookmark(TOPIC, "1", 8)
        assert await store.bookmarks(TOPIC) == {"0": Bookmark(7), "1": Bookmark(8)}
        await store.put_bookmark(TOPIC, "1", 2)
        assert (await store.receive(TOPIC, read(8, 1, "1"))).moved == {"1": 2}
        await store.put_bookmark(TOPIC, "0", None)
        await store.put_bookmark(TOPIC, "5", None)
        assert (await store.receive(TOPIC, read(7, 1))).moved == {"0": None}
        assert await store.bookmarks(TOPIC) == {"1": Bookmark(2)}
        assert (await store.receive(TOPIC, read(None, 1))).added == (True,)

    async def test_a_letter_is_kept_as_it_came(self, store: FullStore) -> None:
        bodies = [b"", bytes(range(256)) * 4, b"\x00" * 300_000]
        letters = [
            Letter(SOURCE, f"no JSON: {n} é", None if n else "text/plain", '{"a": "ü"}', f"0:{n}", len(body), body)
            for n, body in enumerate(bodies)
        ]
        came = [Arrival(new_job(), digest_of(str(n)), letter) for n, letter in enumerate(letters)]
        await store.receive(SOURCE, Intake([*came, *arrivals("fits")]))
        assert [await store.letter(arrival.job.id) for arrival in came] == letters
        cut = Letter(SOURCE, "too large", place="0:9", size=50_000_000, body=b"{")
        again = [Arrival(new_job(), digest_of("0"), letters[0]), Arrival(new_job(), None, cut)]
        assert (await store.receive(SOURCE, Intake(again))).added == (False, True)
        assert [await store.letter(arrival.job.id) for arrival in again] == [None, cut]
        assert cut.truncated
        assert not letters[0].truncated
        assert await store.letter(new_job().id) is None

    async def test_what_a_store_cannot_keep_is_refused_whole(self, store: FullStore) -> None:
        for strange in (Arrival(new_job(args='["\ud800"]')), Arrival(new_job(), None, Letter(SOURCE, "\x00"))):
            intake = Intake([*arrivals("a"), strange], {"0": Mark(None, 1)})
            (answer,) = await asyncio.gather(store.receive(SOURCE, intake), return_exceptions=True)
            if isinstance(answer, Received):
                await store.put_bookmark(SOURCE, "0", None)
                await store.forget_seen(SOURCE, -1.0, 10)
            else:
                assert type(answer) in {NotEncodable, PayloadTooLarge, StoreError}, answer
                assert await there(store, jobs_of(intake)) == [False, False]
                assert await store.bookmarks(SOURCE) == {}

    async def test_digests_are_forgotten_when_they_are_old(self, store: FullStore, time: TimeControl) -> None:
        await store.receive(SOURCE, Intake(arrivals("a", "b", "c")))
        await store.receive("rabbitmq:others", Intake(arrivals("a")))
        await time.pass_time(4 * time.tick)
        await store.receive(SOURCE, Intake(arrivals("c", "young")))
        assert await store.forget_seen("nobody", 0.0, 10) == 0
        assert await store.forget_seen(SOURCE, 1_000_000.0, 10) == 0
        counts = [await store.forget_seen(SOURCE, 2 * time.tick, 2) for _ in range(3)]
        assert counts == [2, 1, 0]
        assert (await store.receive(SOURCE, Intake(arrivals("a", "b", "c", "young")))).added == (
            True,
            True,
            True,
            False,
        )
        assert (await store.receive("rabbitmq:others", Intake(arrivals("a")))).added == (False,)

    async def test_a_letter_goes_with_its_job(self, make_store: MakeStore, time: TimeControl) -> None:
        settings = StoreSettings(retention_s=time.tick, result_retention_s=time.tick, key_retention_s=time.tick)
        async with opened(make_store, settings) as store:
            await register(store)
            letter = Letter(SOURCE, "why", size=1, body=b"x")
            came = [Arrival(new_job(priority=priority), None, letter) for priority in (1, 0)]
            await store.receive(SOURCE, Intake(came))
            (first,) = await claim(store, 1)
            await settle(store, first, Succeeded())
            await time.pass_time(3 * time.tick)
            while await store.prune(1):
                pass
            assert [await store.letter(arrival.job.id) for arrival in came] == [None, letter]

    async def test_sources_are_listed(self, store: FullStore, time: TimeControl) -> None:
        assert await store.sources() == []
        await store.receive(TOPIC, read(None, 3))
        await store.receive(SOURCE, Intake(arrivals("a")))
        await time.pass_time(time.tick)
        await store.put_bookmark("nats:orders", "0", 1)
        found = await store.sources()
        assert {record.name: record.bookmarks for record in found} == {
            TOPIC: {"0": Bookmark(3, 1_800_000_000_123)},
            "nats:orders": {"0": Bookmark(1)},
            SOURCE: {},
        }
        assert [record.name for record in found] == [TOPIC, "nats:orders", SOURCE]
        for record in found[::2]:
            assert record.taken_age_s is not None
            assert time.tick * 0.9 <= record.taken_age_s <= time.tick + 30
        assert found[1].taken_age_s is None, "it has taken nothing"

    async def test_what_came_in_survives(self, make_store: MakeStore) -> None:
        letter = Letter(TOPIC, "why", size=1, body=b"x")
        job = new_job()
        async with opened(make_store) as store:
            durable = store.capabilities.durable
            await store.receive(TOPIC, Intake([Arrival(job, digest_of("a"), letter)], {"0": Mark(None, 4)}))
        async with opened(make_store) as store:
            assert (await store.bookmarks(TOPIC) == {"0": Bookmark(4)}) is durable
            assert (await store.letter(job.id) == letter) is durable
            assert (await store.receive(TOPIC, Intake(arrivals("a")))).added == (not durable,)

    async def test_jobs_may_wait_for_their_time(self, store: FullStore) -> None:
        later: NewJob = new_job(delay_s=600.0, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        await store.receive(SOURCE, Intake([Arrival(later)]))
        (record,) = await store.get([later.id])
        assert record is not None
        assert record.state is JobState.SCHEDULED
        assert ids_of(await claim(store)) == []


async def claim_one_of(store: FullStore, job: JobId) -> ClaimedJob:
    """Claim all; the one of them that is asked for."""
    return next(claimed for claimed in await claim(store, 100) if claimed.id == job)
