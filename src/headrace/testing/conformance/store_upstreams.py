# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""Upstreams: documents that are amended one after the other."""

import asyncio

import pytest

from headrace.core.model import Json
from headrace.ports.store import Amendment
from headrace.testing.conformance.store_base import FullStore, StoreSuite, TimeControl


def counted(document: Json | None, now: float) -> Amendment[int]:
    """One more; the answer is how many before."""
    del now
    count = int(document or 0)
    return Amendment(count, str(count + 1))


def looked_at(document: Json | None, now: float) -> Amendment[tuple[Json | None, float]]:
    """Nothing is changed; the answer is what was seen."""
    return Amendment((document, now))


class UpstreamsSuite(StoreSuite):
    """What `upstreams` and `amend` promise."""

    async def test_there_is_no_document_before_the_first(self, store: FullStore) -> None:
        assert (await store.upstreams())[1] == {}
        document, now = await store.amend("bank", looked_at)
        assert document is None
        assert (await store.upstreams())[1] == {}, "looking makes none"
        assert abs((await store.upstreams())[0] - now) < 60

    async def test_amendments_of_one_follow_each_other(self, store: FullStore) -> None:
        before = await asyncio.gather(*(store.amend("bank", counted) for _ in range(50)))
        assert sorted(before) == list(range(50))
        assert await store.amend("mail", counted) == 0
        assert (await store.upstreams())[1] == {"bank": "50", "mail": "1"}

    async def test_the_instant_is_the_stores(self, store: FullStore, time: TimeControl) -> None:
        (first, _), (_, earlier) = await store.upstreams(), await store.amend("bank", looked_at)
        await time.pass_time(2 * time.tick)
        (last, _), (_, later) = await store.upstreams(), await store.amend("bank", looked_at)
        assert later - earlier >= 2 * time.tick * 0.9
        assert last - first >= 2 * time.tick * 0.9

    async def test_a_change_that_raises_changes_nothing(self, store: FullStore) -> None:
        await store.amend("bank", counted)

        def refuse(document: Json | None, now: float) -> Amendment[None]:
            raise ZeroDivisionError(document, now)

        with pytest.raises(ZeroDivisionError):
            await store.amend("bank", refuse)
        assert (await store.upstreams())[1] == {"bank": "1"}
