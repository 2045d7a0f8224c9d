"""`async with bank`, `with bank`, `@bank.guard`: how each end counts. With the bugs of others, one test each."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from headrace import BreakerOpen, Classify, Full, Headrace, InvalidConfig, JobContext, LeaseLost, Upstream, UsageError
from headrace.runtime.blame import blamed_upstream
from headrace.testing import context
from tests.integration.calling.counting import CountingGuard


class Down(Exception):
    """What a bank's own library raises."""


async def test_a_block(bank: Upstream, guard: CountingGuard) -> None:
    async with bank as same:
        assert same is bank
        assert guard.under_way == 1
    with pytest.raises(Down) as raised:
        async with bank:
            raise Down
    assert guard.outcomes == ["succeeded", "failed"]
    assert blamed_upstream(raised.value) == ("bank", None)


def test_a_block_in_a_thread(bank: Upstream, guard: CountingGuard) -> None:
    with bank:
        pass
    with pytest.raises(Down), bank:
        raise Down
    assert guard.outcomes == ["succeeded", "failed"]


async def test_a_refused_block_does_not_run(bank: Upstream, guard: CountingGuard) -> None:
    guard.refuse_after = 0
    ran = False
    with pytest.raises(BreakerOpen):
        async with bank:
            ran = True
    with pytest.raises(BreakerOpen), bank:
        ran = True
    assert not ran


async def test_blocks_of_many_tasks_and_inside_each_other(bank: Upstream, guard: CountingGuard) -> None:
    async def call(number: int) -> None:
        async with bank:
            await asyncio.sleep(0.001 * (number % 7))
            async with bank:
                await asyncio.sleep(0)
            if number % 2:
                raise Down

    ended = await asyncio.gather(*(call(number) for number in range(100)), return_exceptions=True)
    assert sum(isinstance(each, Down) for each in ended) == 50
    assert (guard.outcomes.count("succeeded"), guard.outcomes.count("failed")) == (150, 50)
    assert guard.peak > 50


async def test_two_upstreams_inside_each_other_end_their_own(bank: Upstream, guard: CountingGuard) -> None:
    fraud_guard = CountingGuard("fraud")
    fraud = Upstream("fraud", fraud_guard)
    with pytest.raises(Down):
        async with bank, fraud:
            raise Down
    assert fraud_guard.outcomes == ["failed"]
    assert guard.outcomes == ["ignored"], "the bank is not to blame for what fraud raised"
    fraud_guard.refuse_after = 1
    fraud_guard.refusal = BreakerOpen("fraud is open", upstream="fraud")
    with pytest.raises(BreakerOpen):
        async with bank, fraud:
            pass
    assert guard.outcomes == ["ignored", "ignored"]


async def test_the_same_exception_twice_counts_twice(bank: Upstream, guard: CountingGuard) -> None:
    one = Down()
    for _ in range(3):
        with pytest.raises(Down):
            async with bank:
                raise one
    assert guard.outcomes == ["failed"] * 3


async def test_a_failure_while_another_is_handled_counts(bank: Upstream, guard: CountingGuard) -> None:
    fraud_guard = CountingGuard("fraud")

    async def fails(upstream: Upstream) -> None:
        async with upstream:
            raise Down

    async def one_for_the_other() -> None:
        try:
            await fails(Upstream("fraud", fraud_guard))
        except Down:
            await fails(bank)

    with pytest.raises(Down):
        await one_for_the_other()
    assert (fraud_guard.outcomes, guard.outcomes) == (["failed"], ["failed"])


async def test_what_is_no_outcome(bank: Upstream, guard: CountingGuard) -> None:
    ctx = context()
    for error in (asyncio.CancelledError(), ctx.snooze(5), LeaseLost("gone"), KeyboardInterrupt(), Full("no place")):
        with pytest.raises(type(error)):
            async with bank:
                raise error
    assert guard.outcomes == ["ignored"] * 5


async def test_listed_exceptions(guard: CountingGuard) -> None:
    ignoring = Upstream("bank", guard, classify=Classify(ignore_exceptions=(ValueError,)))
    only = Upstream("bank", guard, classify=Classify(failure_exceptions=(Down,)))
    for bank, error in ((ignoring, ValueError()), (ignoring, Down()), (only, Down()), (only, ValueError())):
        with pytest.raises(type(error)):
            async with bank:
                raise error
    assert guard.outcomes == ["ignored", "failed", "failed", "ignored"]


async def test_a_block_has_the_upstreams_timeout(guard: CountingGuard) -> None:
    guard.timeout_s = 0.05
    only = Upstream("bank", guard, classify=Classify(failure_exceptions=(Down,)))
    with pytest.raises(TimeoutError) as raised:
        async with only:
            await asyncio.sleep(5)
    assert guard.outcomes == ["failed"]
    assert blamed_upstream(raised.value) == ("bank", None)


async def test_a_block_left_elsewhere_is_a_mistake(bank: Upstream, guard: CountingGuard) -> None:
    await asyncio.create_task(bank.__aenter__())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="task or thread"):
        await bank.__aexit__(None, None, None)
    guard.under_way = 0


# -- functions ----------------------------------------------------------------------------------


async def test_functions_of_each_kind(bank: Upstream, guard: CountingGuard) -> None:
    class Client:
        @bank.guard
        async def ask(self, amount: int, *, currency: str = "EUR") -> str:
            """Ask."""
            return f"{amount} {currency}"

        @bank.guard()
        def ask_now(self, amount: int) -> str:
            return f"{amount} now"

    assert await Client().ask(7, currency="CHF") == "7 CHF"
    assert Client().ask_now(8) == "8 now"
    assert (Client.ask.__name__, Client.ask.__doc__) == ("ask", "Ask.")
    assert await bank.guard(partial(Client().ask, 9))() == "9 EUR"
    assert guard.outcomes == ["succeeded"] * 4  # the partial passes the guard twice


async def test_a_guarded_function_can_be_a_task(bank: Upstream, guard: CountingGuard) -> None:
    hr = Headrace("memory://")

    @hr.task()
    @bank.guard
    async def charge(ctx: JobContext, invoice: int) -> str:
        return f"{ctx.attempt}:{invoice}"

    assert await charge(context(), 7) == "1:7"
    with pytest.raises(InvalidConfig, match=r"below @hr\.task"):
        bank.guard(charge)
    await hr.close()


def test_generators_are_refused(bank: Upstream) -> None:
    def pages() -> Iterator[int]:
        yield 1

    with pytest.raises(InvalidConfig, match="generator"):
        bank.guard(pages)


# -- fallbacks ----------------------------------------------------------------------------------


async def test_a_fallback_stands_in_for_failures_and_refusals_only(bank: Upstream, guard: CountingGuard) -> None:
    asked: list[Any] = []

    async def guess(error: Exception, invoice: int, *, cents: bool = False) -> int:
        asked.append((type(error), invoice, cents))
        return -1

    @bank.guard(fallback=guess)
    async def price(invoice: int, *, cents: bool = False) -> int:
        if invoice == 13:
            raise asyncio.CancelledError
        raise Down

    assert await price(7, cents=True) == -1
    with pytest.raises(asyncio.CancelledError):
        await price(13, cents=True)
    guard.refuse_after = 2
    assert await price(8, cents=False) == -1
    assert asked == [(Down, 7, True), (BreakerOpen, 8, False)]
    assert guard.outcomes == ["failed", "ignored"]


async def test_ignored_errors_are_not_papered_over(guard: CountingGuard) -> None:
    bank = Upstream("bank", guard, classify=Classify(ignore_exceptions=(ValueError,)))

    @bank.guard(fallback=0)
    async def price() -> int:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await price()


async def test_a_value_and_none_and_the_upstreams_own(guard: CountingGuard) -> None:
    bank = Upstream("bank", guard, fallback=5)

    @bank.guard
    async def price() -> int:
        raise Down

    @bank.guard(fallback=None)
    def maybe() -> int | None:
        raise Down

    assert await price() == 5
    assert maybe() is None


async def test_the_error_of_a_fallback_leads_back_to_the_upstream(bank: Upstream) -> None:
    def guess(error: Exception) -> int:
        raise KeyError("no guess")

    @bank.guard(fallback=guess)
    async def price() -> int:
        raise Down

    with pytest.raises(KeyError) as raised:
        await price()
    assert blamed_upstream(raised.value) == ("bank", None)


# -- the bugs of others (each named by the library that has it) -----------------------------------


async def test_async_functions_trip(bank: Upstream, guard: CountingGuard) -> None:
    """pybreaker: decorating `async def` counts the making of the coroutine, which always works."""

    @bank.guard
    async def charge() -> None:
        await asyncio.sleep(0)
        raise Down

    class Callable:
        async def __call__(self) -> None:
            raise Down

    def sneaky() -> Any:
        return charge()

    for _ in range(10):
        with pytest.raises(Down):
            await charge()
    assert guard.outcomes == ["failed"] * 10
    with pytest.raises(Down):
        await bank.guard(Callable())()
    assert guard.outcomes[10:] == ["failed"]
    with pytest.raises(UsageError, match="async def"):
        bank.guard(sneaky)()
    assert guard.outcomes[11:] == ["ignored"]


async def test_a_timeout_is_no_success(bank: Upstream, guard: CountingGuard) -> None:
    """circuitbreaker: an outer timeout counts as success, and makes good for the failures before it."""
    guard.timeout_s = 0.01

    @bank.guard
    async def own() -> None:
        await asyncio.sleep(5)

    @bank.guard
    async def inner() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(5)

    for call in (own, inner):
        with pytest.raises(TimeoutError):
            await call()
    assert guard.outcomes == ["failed", "failed"]
    guard.timeout_s = None
    for _ in range(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await own()
    assert guard.outcomes[2:] == ["ignored"] * 20


@pytest.mark.parametrize("by", ["block", "function"])
def test_calls_of_threads_run_side_by_side(by: str, bank: Upstream, guard: CountingGuard) -> None:
    """pybreaker: a lock is held during the call, so ten threads have a peak of one."""
    together = threading.Barrier(10, timeout=10)

    @bank.guard
    def called() -> None:
        together.wait()

    def block() -> None:
        with bank:
            together.wait()

    with ThreadPoolExecutor(10) as threads:
        for each in [threads.submit(called if by == "function" else block) for _ in range(10)]:
            each.result(10)
    assert guard.peak == 10
    assert guard.outcomes == ["succeeded"] * 10
