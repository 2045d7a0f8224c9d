"""Bounds that the fleet shares: calls at once, and calls that begin."""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace import Full, Headrace, RateLimited, Upstream
from headrace.core.bulkhead import Adaptive
from headrace.core.limits import RateLimit
from headrace.runtime import guard
from tests.integration.upstreams.kit import Fleet, Service


async def use(bank: Upstream, service: Service, until: float, served: Counter[str], name: str) -> None:
    while asyncio.get_running_loop().time() < until:
        async with bank:
            await service.call()
        served[name] += 1


async def test_never_more_calls_at_once_than_the_fleet_may_make(fleet: Fleet) -> None:
    service = Service(takes_s=0.01)
    banks = [fleet.join().upstream("bank", max_concurrency=7, timeout=5) for _ in range(3)]
    end = asyncio.get_running_loop().time() + 3
    served: Counter[str] = Counter()
    for at, bank in enumerate(banks):
        await asyncio.sleep(0.2)  # the first has it all, and gives the others their share
        for _ in range(10):
            task = asyncio.create_task(use(bank, service, end, served, f"p{at}"))
            task.add_done_callback(asyncio.Task.result)
    await asyncio.sleep(max(0.0, end - asyncio.get_running_loop().time()) + 1)
    assert service.most <= 7
    assert min(served[f"p{at}"] for at in range(3)) >= 20, served
    assert service.under_way == 0


async def test_calls_of_threads_share_it(fleet: Fleet) -> None:
    hr = fleet.join()
    bank = hr.upstream("bank", max_concurrency=2, timeout=5)
    await hr.open()
    now, most = 0, 0

    def work() -> None:
        nonlocal now, most
        for _ in range(20):
            with bank:
                now += 1
                most = max(most, now)
                now -= 1

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(6) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, work) for _ in range(6)))
    assert 1 <= most <= 2


async def test_who_waits_too_long_for_a_place_is_told(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "WAIT_S", 0.3)
    bank = fleet.join().upstream("bank", max_concurrency=1)
    async with bank:
        with pytest.raises(Full) as refused:
            async with bank:
                pass
    assert refused.value.upstream == "bank"
    assert refused.value.retry_in == 1


async def test_no_more_calls_begin_than_the_rate_allows(fleet: Fleet) -> None:
    service = Service()
    banks = [fleet.join().upstream("bank", rate=RateLimit(20, 1, burst=5), timeout=5) for _ in range(3)]
    started = asyncio.get_running_loop().time()
    end = started + 2.5

    async def caller(bank: Upstream) -> None:
        while asyncio.get_running_loop().time() < end:
            try:
                async with bank:
                    await service.call()
            except RateLimited as refused:
                await asyncio.sleep(refused.retry_in or 0.05)

    await asyncio.gather(*(caller(bank) for bank in banks for _ in range(5)))
    took_s = asyncio.get_running_loop().time() - started
    assert service.calls <= 5 + 20 * took_s
    assert service.calls >= 20, "and it does not stand still"


async def test_a_rate_far_below_the_demand_refuses_with_the_time(fleet: Fleet) -> None:
    bank = fleet.join().upstream("bank", rate=RateLimit(1, 3600), timeout=1)
    async with bank:
        pass
    with pytest.raises(RateLimited) as refused:
        async with bank:
            pass
    assert refused.value.retry_in == pytest.approx(3600, abs=5)


async def test_an_adaptive_bound_is_the_process_s_own() -> None:
    hr = Headrace("memory://")
    bank = hr.upstream("bank", max_concurrency=Adaptive(initial=3, max=10), timeout=5)
    service = Service(takes_s=0.01)

    async def call() -> None:
        async with bank:
            await service.call()

    await asyncio.gather(*(call() for _ in range(50)))
    assert service.calls == 50
    assert service.most <= 10
    await hr.close()
