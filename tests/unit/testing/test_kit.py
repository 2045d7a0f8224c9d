"""The testing kit tells the truth about tasks: same validation, same worker, same outcomes."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI

from headrace import (
    Headrace,
    Injected,
    InvalidArguments,
    JobContext,
    JobFailed,
    JobState,
    LeaseLost,
    Retry,
    SyncJobContext,
)
from headrace.testing import (
    ManualClock,
    assert_enqueued,
    context,
    drain,
    enqueued,
    inline,
    memory,
    refute_enqueued,
    sync_context,
)


@pytest.fixture(params=["memory", "sqlite"])
def hr(request: pytest.FixtureRequest, tmp_path: Path) -> Headrace:
    return Headrace("memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'jobs.db'}")


class Declined(Exception):
    pass


async def test_a_context_records_what_the_task_says() -> None:
    async def task(ctx: JobContext, n: int) -> int:
        await ctx.progress(1, 2, "half")
        if not ctx.emitted("a"):
            await ctx.emit({"n": n}, key="a")
        await ctx.emit({"n": n}, key="a")
        await ctx.log("careful", "warning")
        return await ctx.succeed(n, using="session")

    ctx = context(attempt=3)
    assert await task(ctx, 7) == 7
    said = ctx.recorded
    assert (ctx.attempt, said.items, said.results, said.usings) == (3, [{"n": 7}], [7], ["session"])
    assert said.progressed == [{"done": 1, "total": 2, "message": "half"}]
    assert said.logs == [{"level": "warning", "message": "careful"}]

    again = context(emitted=frozenset({"a"}))
    await task(again, 7)
    assert again.recorded.items == []


def test_a_sync_context_records_too_and_can_be_cancelled() -> None:
    ctx = sync_context(cancelled=True)
    ctx.progress(1)
    ctx.emit("x")
    assert ctx.cancelled
    assert ctx.recorded.items == ["x"]
    ctx.recorded.lease_lost = True
    with pytest.raises(LeaseLost):
        ctx.succeed(1)


async def test_drain_runs_what_is_ready_and_what_that_enqueues(hr: Headrace) -> None:
    seen: list[int] = []

    @hr.task()
    async def down(ctx: JobContext, n: int) -> int:
        seen.append(n)
        if n:
            await down.enqueue(n - 1)
        return n

    job = await down.enqueue(3)
    assert await drain(hr) == 4
    assert seen == [3, 2, 1, 0]
    assert await job.result(timeout=30) == 3
    assert await drain(hr) == 0
    await hr.close()


async def test_drain_moves_a_manual_clock_to_what_is_scheduled() -> None:
    clock = ManualClock()
    hr = Headrace("memory://", clock=clock)

    @hr.task(retry=Retry(max_attempts=3, initial=60, jitter=False))
    async def flaky(ctx: JobContext) -> int:
        if ctx.attempt < 3:
            raise Declined
        return ctx.attempt

    @hr.task()
    async def later() -> None: ...

    await later.options(delay=timedelta(days=2)).enqueue()
    job = await flaky.enqueue()
    assert await drain(hr) == 1
    assert (await job.refresh()).state == "scheduled"
    assert await drain(hr, until=timedelta(hours=1)) == 2
    assert await job.result(timeout=30) == 3
    assert clock.now() == pytest.approx(180)
    assert enqueued(later)[0].state == "scheduled"


async def test_drain_leaves_paused_queues_and_unknown_tasks_alone(hr: Headrace) -> None:
    @hr.task(queue="held")
    async def held() -> None: ...

    await held.enqueue()
    await hr.pause("held")
    assert await drain(hr) == 0
    await hr.resume("held")
    assert await drain(hr) == 1
    await hr.close()


async def test_inline_runs_at_enqueue_and_shows_the_result(hr: Headrace) -> None:
    @hr.task()
    async def double(ctx: JobContext, n: int) -> int:
        return 2 * n

    @hr.task()
    def third(ctx: SyncJobContext, n: int) -> int:
        return n // 3

    async with inline(hr):
        job = await double.enqueue(21)
        assert await job.result(timeout=30) == 42
        assert await (await third.enqueue(9)).result(timeout=30) == 3
        assert [update.kind async for update in job.updates()][-1] == "end"
        with pytest.raises(InvalidArguments):
            await double.enqueue("x")  # type: ignore[arg-type]
        delayed = await double.options(delay=60).enqueue(1)
        assert delayed.state is JobState.SCHEDULED
    assert hr.after_enqueue is None


async def test_inline_raises_the_tasks_own_exception() -> None:
    hr = Headrace("memory://")

    @hr.task(retry=Retry(max_attempts=1))
    async def charge(ctx: JobContext) -> None:
        raise Declined("no")

    async with inline(hr):
        with pytest.raises(Declined, match="no"):
            await charge.enqueue()
    async with inline(hr, propagate=False):
        job = await charge.enqueue()
        with pytest.raises(JobFailed, match="no"):
            await job.result(timeout=30)


async def test_inline_resolves_dependencies_with_the_apps_overrides() -> None:
    hr = Headrace("memory://")
    app = FastAPI()
    hr.host = app
    closed: list[str] = []

    async def rate() -> float:
        raise AssertionError("overridden")

    async def fixed() -> object:
        yield 2.0
        closed.append("rate")

    @hr.task()
    async def convert(ctx: JobContext, n: int, *, rate: Annotated[float, Depends(rate)] = Injected) -> float:
        return n * rate

    app.dependency_overrides[rate] = fixed
    async with inline(hr):
        assert await (await convert.enqueue(4)).result(timeout=30) == 8.0
    assert closed == ["rate"]


async def test_asserts_say_what_was_enqueued(hr: Headrace) -> None:
    @hr.task(queue="billing")
    async def charge(ctx: JobContext, invoice: int, note: str = "") -> None: ...

    refute_enqueued(charge)
    with pytest.raises(AssertionError, match="No job of charge was enqueued"):
        assert_enqueued(charge, 7)
    await charge.options(priority=3, tags=("a",)).enqueue(7, note="x")
    job = assert_enqueued(charge, with_args={"invoice": 7, "note": "x"}, queue="billing", priority=3, tags=("a",))
    assert job.args == {"invoice": 7, "note": "x"}
    assert assert_enqueued(charge, count=1) == job
    refute_enqueued(charge, 7)
    for wrong in ({"queue": "mail"}, {"priority": 4}, {"tags": ()}, {"state": "running"}, {"count": 2}):
        with pytest.raises(AssertionError, match=r"invoice.*queue=billing ready"):
            assert_enqueued(charge, **wrong)
    with pytest.raises(AssertionError, match="expected no such job"):
        refute_enqueued(charge, with_args={"invoice": 7, "note": "x"})
    await hr.close()


async def test_memory_leaves_the_apps_own_store_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    hr = Headrace(f"sqlite:///{path}")

    @hr.task()
    async def work() -> int:
        return 1

    clock = ManualClock()
    with memory(hr, clock=clock):
        assert hr.clock is clock
        await work.enqueue()
        assert_enqueued(work, count=1)
    assert not path.exists()
    assert hr.clock is not clock
    await work.enqueue()
    assert path.exists()
    await hr.close()


pytest_plugins = ["pytester"]


def test_the_fixture_gives_the_app_on_an_empty_memory_store(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        """
        import pytest
        from headrace import Headrace
        from headrace.testing import assert_enqueued

        pytest_plugins = ["headrace.testing.plugin"]
        hr = Headrace("sqlite:///never.db")

        @hr.task()
        async def work() -> None: ...

        @pytest.fixture
        def headrace_app():
            return hr

        @pytest.mark.asyncio
        @pytest.mark.parametrize("time", [1, 2])
        async def test_it(headrace, time):
            assert headrace is hr
            await work.enqueue()
            assert_enqueued(work, count=1)
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
    assert not (pytester.path / "never.db").exists()
