"""`hedge_after`: a second try beside a slow one."""

import asyncio

import httpx
import pytest

from headrace import Upstream
from tests.integration.calling.counting import CountingGuard
from tests.integration.calling.flaky import Flaky, Say


async def test_the_first_answer_wins_and_the_other_is_dropped(
    bank: Upstream, guard: CountingGuard, flaky: Flaky
) -> None:
    flaky.will(Say(delay_s=5, body=b"slow"), Say(body=b"quick"))
    async with bank.client(base_url=flaky.url, hedge_after=0.1) as http, asyncio.timeout(2):
        assert (await http.get("/")).text == "quick"
    assert sorted(guard.outcomes) == ["ignored", "succeeded"]
    assert guard.asked == 1
    async with asyncio.timeout(2):
        while flaky.gone != 1:  # noqa: ASYNC110 - another thread's; the slow one was really let go
            await asyncio.sleep(0.01)


async def test_the_slow_one_may_win(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(delay_s=0.3, body=b"first"), Say(delay_s=5))
    async with bank.client(base_url=flaky.url, hedge_after=0.1) as http, asyncio.timeout(2):
        assert (await http.get("/")).text == "first"
    assert sorted(guard.outcomes) == ["ignored", "succeeded"]


async def test_a_failure_is_no_winner(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(delay_s=0.3, body=b"first"), Say(503))
    async with bank.client(base_url=flaky.url, hedge_after=0.1, retries=0) as http, asyncio.timeout(2):
        assert (await http.get("/")).text == "first"
    assert sorted(guard.outcomes) == ["failed", "succeeded"]


async def test_two_failures_leave_an_answer(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(delay_s=0.3, drop="before"), Say(503, b"shut"))
    async with bank.client(base_url=flaky.url, hedge_after=0.1, retries=0) as http, asyncio.timeout(2):
        assert (await http.get("/")).text == "shut"
        flaky.will(Say(delay_s=0.3, drop="before"), Say(drop="before"))
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/")
    assert guard.outcomes == ["failed"] * 4


async def test_a_quick_one_has_no_second(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    async with bank.client(base_url=flaky.url, hedge_after=0.5) as http:
        await http.get("/")
        flaky.will(Say(delay_s=0.7))
        await http.post("/")  # not a read
    assert (len(flaky.heard), guard.asked) == (2, 0)


@pytest.mark.parametrize("why", ["budget", "refused"])
async def test_no_leave_no_second(why: str, bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    if why == "budget":
        guard.budget = 0
    else:
        guard.refuse_after = 1
    flaky.will(Say(delay_s=0.3))
    async with bank.client(base_url=flaky.url, hedge_after=0.1) as http:
        assert (await http.get("/")).text == "fine"
    assert (len(flaky.heard), guard.outcomes) == (1, ["succeeded"])


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.2])
async def test_a_cancel_ends_both(after_s: float, bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.default = Say(delay_s=5)
    async with bank.client(base_url=flaky.url, hedge_after=0.1) as http:
        call = asyncio.create_task(http.get("/"))
        await asyncio.sleep(after_s)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert guard.under_way == 0
    assert set(guard.outcomes) <= {"ignored"}


async def test_a_cancel_at_any_step_gives_every_permit_back(guard: CountingGuard, flaky: Flaky) -> None:
    """Cancelled after one turn of the loop more each time, from before the first step to after the second try."""
    flaky.default = Say(delay_s=0.02)
    bank = Upstream("bank", guard)
    async with bank.client(base_url=flaky.url, hedge_after=0.0) as http:
        for turns in range(40):
            call = asyncio.create_task(http.get("/"))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            assert guard.under_way == 0, turns
        await asyncio.sleep(0.1)  # until what was cancelled while it connected is closed
