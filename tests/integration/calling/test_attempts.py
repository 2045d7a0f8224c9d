"""What a call carries from the attempt that makes it, with real workers: deadline, fence, trace, a stable key."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import pytest

from headrace import Headrace, JobContext, JobTimedOut, Retry, SyncJobContext, UpdateKind, Upstream
from headrace.runtime.context import current_attempt
from headrace.testing import context, drain
from headrace.testing.context import Recorder
from tests.integration.calling.counting import CountingGuard
from tests.integration.calling.flaky import Flaky, Say

KEY, FENCE, LEFT, TRACE = "Idempotency-Key", "Headrace-Fence", "X-Envoy-Expected-Rq-Timeout-Ms", "traceparent"
NOW = Retry(max_attempts=4, initial=0, cap=0)
Body = Callable[[httpx.AsyncClient], Awaitable[object]]


@pytest.fixture
async def hr() -> object:
    made = Headrace("memory://")
    yield made
    await made.close()


async def ran(hr: Headrace, bank: Upstream, flaky: Flaky, body: Body, **options: object) -> JobContext:
    """Run it as a task until it is through; the context of its last attempt."""
    contexts: list[JobContext] = []

    @hr.task(f"calls {uuid.uuid4()}", retry=NOW)
    async def calls(ctx: JobContext) -> None:
        contexts.append(ctx)
        async with bank.client(base_url=flaky.url, retries=0) as http:
            await body(http)

    job = await calls.options(**options).enqueue()  # type: ignore[arg-type]
    await drain(hr)
    await job.refresh()
    assert job.state == "succeeded"
    return contexts[-1]


async def test_the_key_is_the_same_in_every_attempt_and_the_fence_rises(
    hr: Headrace, bank: Upstream, flaky: Flaky
) -> None:
    async def body(http: httpx.AsyncClient) -> None:
        (await http.post("/charge", json={"invoice": 7})).raise_for_status()
        (await http.post("/mail", json={"invoice": 7})).raise_for_status()

    flaky.will(Say(), Say(503), Say(), Say(drop="before"))
    await ran(hr, bank, flaky, body)
    charges = [each.headers[KEY.lower()] for each in flaky.heard if each.path == "/charge"]
    mails = [each.headers[KEY.lower()] for each in flaky.heard if each.path == "/mail"]
    assert (len(charges), len(mails)) == (3, 3)
    assert (len(set(charges)), len(set(mails)), charges[0] == mails[0]) == (1, 1, False)
    assert uuid.UUID(charges[0]).version == 5
    fences = [int(each or 0) for each in flaky.sent(FENCE)]
    assert fences == sorted(fences)
    assert len(set(fences)) == 3


async def test_another_job_has_another_key(hr: Headrace, bank: Upstream, flaky: Flaky) -> None:
    @hr.task()
    async def charge(ctx: JobContext) -> None:
        async with bank.client(base_url=flaky.url) as http:
            await http.post("/charge")

    for _ in range(3):
        await charge.enqueue()
    await drain(hr)
    assert len(set(flaky.sent(KEY))) == 3


async def test_equal_calls_are_told_apart_by_their_turn(hr: Headrace, bank: Upstream, flaky: Flaky) -> None:
    async def body(http: httpx.AsyncClient) -> None:
        await http.post("/a", content=b"1")
        await http.post("/a", content=b"1")
        await http.post("/a", content=b"2")
        await http.put("/a", content=b"1")
        await http.post("/a?x", content=b"1")
        if len(flaky.heard) == 5:
            raise RuntimeError("once more")

    await ran(hr, bank, flaky, body)
    keys = flaky.sent(KEY)
    assert keys[:5] == keys[5:]
    assert len(set(keys)) == 5


@pytest.mark.parametrize("bad", [Say(503), Say(429), Say(409), Say(drop="before")])
async def test_a_loop_of_the_tasks_own_repeats_the_key(bad: Say, hr: Headrace, bank: Upstream, flaky: Flaky) -> None:
    async def body(http: httpx.AsyncClient) -> None:
        for _ in range(3):
            try:
                if (await http.post("/charge")).is_success:
                    break
            except httpx.TransportError:
                pass
        await http.post("/charge")

    flaky.will(bad, bad)
    await ran(hr, bank, flaky, body)
    keys = flaky.sent(KEY)
    assert keys[0] == keys[1] == keys[2] != keys[3]


async def test_equal_calls_at_once_have_keys_of_their_own(hr: Headrace, bank: Upstream, flaky: Flaky) -> None:
    async def body(http: httpx.AsyncClient) -> None:
        await asyncio.gather(*(http.post("/charge") for _ in range(10)))
        if len(flaky.heard) == 10:
            raise RuntimeError("once more")

    flaky.default = Say(delay_s=0.05)
    await ran(hr, bank, flaky, body)
    keys = flaky.sent(KEY)
    assert len(set(keys)) == 10
    assert set(keys[:10]) == set(keys[10:])


async def test_a_repeat_of_the_client_has_the_same_key(hr: Headrace, bank: Upstream, flaky: Flaky) -> None:
    @hr.task()
    async def store(ctx: JobContext) -> None:
        async with bank.client(base_url=flaky.url, retry_methods=("PUT",)) as http:
            await http.put("/object", content=b"x")

    flaky.will(Say(503), Say(drop="before"))
    await store.enqueue()
    await drain(hr)
    assert len(flaky.heard) == 3
    assert len(set(flaky.sent(KEY))) == 1


async def test_what_the_caller_gives_stands_and_reads_have_no_key(hr: Headrace, bank: Upstream, flaky: Flaky) -> None:
    async def stream() -> object:
        yield b"a part"

    async def body(http: httpx.AsyncClient) -> None:
        await http.post("/", headers={KEY: "mine", FENCE: "0", LEFT: "5", TRACE: "00-x"})
        await http.get("/")
        await http.post("/", content=stream())  # type: ignore[arg-type]
        await http.post("/", files={"photo": b"x"})

    await ran(hr, bank, flaky, body)
    assert flaky.sent(KEY) == ["mine", None, None, None]
    assert flaky.sent(FENCE)[0] == "0"
    assert (flaky.sent(LEFT)[0], flaky.sent(TRACE)) == ("5", ["00-x", None, None, None])


async def test_the_trace_of_the_job_goes_along(bank: Upstream, flaky: Flaky) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ctx = context()
    ctx._job = replace(ctx._job, traceparent=trace)
    current_attempt.set(ctx)
    async with bank.client(base_url=flaky.url) as http:
        await http.get("/")
    assert flaky.sent(TRACE) == [trace]


# -- deadlines ----------------------------------------------------------------------------------


async def test_a_call_is_told_and_bounded_by_what_is_left(hr: Headrace, guard: CountingGuard, flaky: Flaky) -> None:
    guard.timeout_s = 30
    bank = Upstream("bank", guard)

    async def body(http: httpx.AsyncClient) -> None:
        await http.get("/")
        await http.get("/", timeout=1.5)

    await ran(hr, bank, flaky, body, deadline=10)
    await ran(hr, bank, flaky, body)
    left = [int(each or 0) for each in flaky.sent(LEFT)]
    assert 8_000 < left[0] <= 10_000
    assert left[1:] == [1_500, 30_000, 1_500]


def with_deadline(left_s: float) -> None:
    ctx = context()
    ctx.deadline_at = time.time() + left_s
    current_attempt.set(ctx)


async def test_a_deadline_that_has_passed_stops_it_before_the_call(
    bank: Upstream, guard: CountingGuard, flaky: Flaky
) -> None:
    with_deadline(-1)
    async with bank.client(base_url=flaky.url) as http:
        with pytest.raises(JobTimedOut):
            await http.get("/")
    with bank.client_sync(base_url=flaky.url) as http_sync, pytest.raises(JobTimedOut):
        http_sync.get("/")
    assert (flaky.heard, guard.begun) == ([], 0)


@pytest.mark.parametrize("sync", [False, True])
async def test_a_call_that_the_deadline_cut_short_is_no_outcome(sync: bool, guard: CountingGuard, flaky: Flaky) -> None:
    """The upstream may take 5 s, and it had 0.2: it is not to blame."""
    guard.timeout_s = 5
    bank = Upstream("bank", guard)
    flaky.will(Say(delay_s=3))
    with_deadline(0.2)
    if sync:
        with bank.client_sync(base_url=flaky.url) as http_sync, pytest.raises(httpx.ReadTimeout):
            http_sync.get("/")
    else:
        async with bank.client(base_url=flaky.url) as http:
            with pytest.raises(httpx.ReadTimeout):
                await http.get("/")
    assert guard.outcomes == ["ignored"]


async def test_no_repeat_past_the_deadline(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(503, headers=(("Retry-After", "2"),)))
    with_deadline(1)
    async with bank.client(base_url=flaky.url) as http:
        assert (await http.get("/")).status_code == 503
    assert (len(flaky.heard), guard.asked) == (1, 0)


# -- degraded -----------------------------------------------------------------------------------


async def test_a_fallback_is_seen_in_the_job(hr: Headrace, bank: Upstream) -> None:
    @bank.guard(fallback=0)
    async def rate(currency: str) -> int:
        raise ConnectionError

    @bank.guard(fallback=0)
    def rate_now(currency: str) -> int:
        raise ConnectionError

    @hr.task()
    async def price(ctx: JobContext) -> tuple[str, ...]:
        assert (await rate("CHF"), await rate("EUR")) == (0, 0)
        return ctx.degraded

    @hr.task()
    def price_in_thread(ctx: SyncJobContext) -> tuple[str, ...]:
        assert (rate_now("CHF"), rate_now("EUR")) == (0, 0)
        return ctx.degraded

    @hr.task()
    async def price_mixed(ctx: JobContext) -> tuple[str, ...]:
        assert rate_now("CHF") == 0
        await asyncio.sleep(0.2)
        return ctx.degraded

    for task in (price, price_in_thread, price_mixed):
        job = await task.enqueue()  # type: ignore[attr-defined]
        await drain(hr)
        assert tuple(await job.result(timeout=5)) == ("bank",), task
        lines = [update.data["message"] async for update in job.updates() if update.kind == "log"]
        assert lines == ["degraded: a fallback stood in for the upstream 'bank'"], task


class FullFeed(Recorder):
    async def emit(self, kind: UpdateKind, data: str, key: str | None) -> int:
        return -1


async def test_a_feed_that_is_full_does_not_undo_a_fallback(bank: Upstream) -> None:
    ctx = context()
    ctx._channel = FullFeed()
    current_attempt.set(ctx)

    @bank.guard(fallback=0)
    async def rate() -> int:
        raise ConnectionError

    assert await rate() == 0
    assert ctx.degraded == ("bank",)


async def test_outside_of_jobs_only_the_log_knows(bank: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    @bank.guard(fallback=0)
    async def rate() -> int:
        raise ConnectionError

    with caplog.at_level("DEBUG", "headrace"):
        assert await rate() == 0
    assert [each.levelname for each in caplog.records if "degraded" in each.message] == ["DEBUG"]
