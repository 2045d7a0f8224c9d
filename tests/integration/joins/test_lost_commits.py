"""A commit whose answer never comes: it landed or not, and the fence tells."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from headrace.core.errors import StoreUnavailable
from headrace.core.model import SettleResult
from headrace.core.states import JobState
from tests.integration.joins.cutter import Cut, Cutter
from tests.integration.joins.kit import ASYNC, SYNC, Now, Shop, User

KINDS = [*SYNC, *ASYNC]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_without_an_answer_is_told_by_the_fence(shop: Shop, kind: str, cut: Cut) -> None:
    connect: Callable[[str], AbstractAsyncContextManager[User]] = (SYNC | ASYNC)[kind]
    settle = await shop.claimed()
    with Cutter(shop.url) as way:
        async with connect(way.url) as user:
            await user.pay(shop.amount)
            joined = Now(shop.store.join(user.using)) if kind in SYNC else shop.store.join(user.using)
            assert await joined.settle(settle) is SettleResult.SETTLED
            way.cut = cut
            with pytest.raises(StoreUnavailable):
                await joined.commit()
            assert way.cuts == 1
            landed = cut == "after"
            async with asyncio.timeout(10):
                while landed and (await shop.record(settle.id)).state is JobState.RUNNING:  # noqa: ASYNC110 - polled
                    await asyncio.sleep(0.01)  # the server may still be at it
            await joined.rollback()
    assert await shop.payments() == landed
    record = await shop.record(settle.id)
    assert (record.fence, record.state) == (settle.fence, JobState.SUCCEEDED if landed else JobState.RUNNING)
    repeated = (await shop.store.exchange(shop.worker, [settle], None)).settled
    assert repeated == ((SettleResult.REPEATED if landed else SettleResult.SETTLED),)
