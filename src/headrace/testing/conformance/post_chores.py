# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Chores that one process at a time does."""

import asyncio

from headrace.testing.conformance.store_base import FOREVER_S, FullStore, MakeStore, StoreSuite, TimeControl, opened

CHORE = "sink:kafka"


class PostChoresSuite(StoreSuite):
    """What `take_chore` and `leave_chore` promise."""

    async def test_one_does_a_chore(self, store: FullStore) -> None:
        assert await store.take_chore(CHORE, "first", FOREVER_S) == 1
        assert await store.take_chore(CHORE, "second", FOREVER_S) is None
        assert await store.take_chore(CHORE, "first", FOREVER_S) == 1
        assert await store.take_chore("sink:nats", "second", FOREVER_S) == 1

    async def test_one_of_many_takes_it(self, store: FullStore) -> None:
        answers = await asyncio.gather(*(store.take_chore(CHORE, str(n), FOREVER_S) for n in range(10)))
        assert sorted(answer for answer in answers if answer is not None) == [1]

    async def test_another_takes_it_when_the_lease_has_ended(self, store: FullStore, time: TimeControl) -> None:
        await store.take_chore(CHORE, "first", 2 * time.tick)
        await time.pass_time(time.tick)
        await store.take_chore(CHORE, "first", 4 * time.tick)
        await time.pass_time(2 * time.tick)
        assert await store.take_chore(CHORE, "second", FOREVER_S) is None, "it was renewed"
        await time.pass_time(3 * time.tick)
        assert await store.take_chore(CHORE, "second", 2 * time.tick) == 2
        assert await store.take_chore(CHORE, "first", FOREVER_S) is None
        await time.pass_time(3 * time.tick)
        assert await store.take_chore(CHORE, "second", FOREVER_S) == 2, "nobody came between"

    async def test_who_leaves_lets_others_do_it_at_once(self, store: FullStore) -> None:
        await store.leave_chore(CHORE, "nobody")
        await store.take_chore(CHORE, "first", FOREVER_S)
        await store.leave_chore(CHORE, "second")
        assert await store.take_chore(CHORE, "second", FOREVER_S) is None
        await store.leave_chore(CHORE, "first")
        assert await store.take_chore(CHORE, "second", FOREVER_S) == 2
        await store.leave_chore(CHORE, "second")
        assert await store.take_chore(CHORE, "first", FOREVER_S) == 3

    async def test_it_survives(self, make_store: MakeStore) -> None:
        async with opened(make_store) as store:
            durable = store.capabilities.durable
            await store.take_chore(CHORE, "first", FOREVER_S)
        async with opened(make_store) as store:
            assert (await store.take_chore(CHORE, "second", FOREVER_S) is None) is durable
