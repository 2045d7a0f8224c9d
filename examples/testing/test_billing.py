"""What a test of tasks looks like: no broker, no worker to start, no sleeping."""

import httpx

from headrace import Headrace, JobState
from headrace.testing import ManualClock, assert_enqueued, context, drain, inline, memory

from .billing import app, bank_url, charge, hr, receipt


async def test_a_task_is_a_function() -> None:
    """Call it: the context records what it says."""
    ctx = context()
    await receipt(ctx, 7)
    assert ctx.recorded.items == [{"receipt": 7}]


async def test_the_endpoint_enqueues_once(headrace: Headrace) -> None:
    """Enqueued, not run: there is no worker."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        first = await client.post("/invoices/7/charge")
        again = await client.post("/invoices/7/charge")
    assert (first.status_code, first.json()["id"]) == (202, again.json()["id"])
    assert_enqueued(charge, 7, queue="billing", key="charge-7", count=1)


async def test_everything_that_is_ready_runs(headrace: Headrace) -> None:
    """Also the jobs that jobs enqueue."""
    job = await charge.enqueue(7)
    assert await drain(headrace) == 2
    assert await job.result() == "charged 7 at https://bank.example"


async def test_inline_runs_at_once_with_a_dependency_replaced() -> None:
    """`dependency_overrides` hold for tasks too."""

    def elsewhere() -> str:
        return "https://test.example"

    app.dependency_overrides[bank_url] = elsewhere
    try:
        async with inline(hr):
            job = await charge.enqueue(7)
            assert await job.result() == "charged 7 at https://test.example"
    finally:
        app.dependency_overrides.clear()


async def test_retries_on_a_clock_that_the_test_moves() -> None:
    """Two retries, 1 s and 2 s later, without waiting."""
    clock = ManualClock()
    with memory(hr, clock=clock):
        job = await charge.enqueue(13)
        began = clock.wall()
        await drain(hr, until=60)
        assert (await job.refresh()).state is JobState.SUCCEEDED
        assert clock.wall() - began >= 3
