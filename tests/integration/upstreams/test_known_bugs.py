"""What breakers of Python get wrong, one test each, over two kinds of store and several processes' worth of callers."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from headrace import Headrace, Rejected, Upstream
from headrace.core.breaker import Breaker
from headrace.core.fleet import BreakerState
from tests.integration.upstreams.kit import DownError, Fleet, Service, state_of

Until = Callable[..., Awaitable[None]]
PERMITTED = 3
BREAKER = Breaker(
    minimum_number_of_calls=4,
    wait_duration_in_open_state=1,
    permitted_number_of_calls_in_half_open_state=PERMITTED,
)


def bank_of(hr: Headrace, breaker: Breaker = BREAKER, **policies: float) -> Upstream:
    return hr.upstream("bank", breaker=breaker, timeout=policies.get("timeout", 5))


async def call(bank: Upstream, service: Service) -> bool:
    """Whether it went through."""
    try:
        async with bank:
            await service.call()
    except (Rejected, DownError):
        return False
    return True


async def trip(bank: Upstream, service: Service, open_s: float = 1.1) -> None:
    """Have it open, and wait until probes are permitted."""
    service.down = True
    for _ in range(4):
        await call(bank, service)
    service.down = False
    await asyncio.sleep(open_s)


async def test_stampede_at_half_open(fleet: Fleet, until: Until) -> None:
    """A hundred callers in each of four processes: no more than permitted are let through at once, in all."""
    service = Service()
    breaker = replace(BREAKER, wait_duration_in_open_state=2.5)  # all hear of it by then, on a busy machine too
    banks = [bank_of(fleet.join(), breaker, timeout=30) for _ in range(4)]
    for member in fleet.members:  # whoever begins with its first call may find the breaker closed again
        await member.open()
    for _ in range(3):
        await trip(banks[0], service, 2.6)
        service.most = service.calls = 0
        service.held = asyncio.Event()  # the probes last until all others were refused
        calls = [asyncio.create_task(call(bank, service)) for bank in banks for _ in range(100)]
        await until(partial(_all_but, service, calls))
        service.held.set()
        let_through = sum(await asyncio.gather(*calls))
        assert 1 <= let_through == service.calls == service.most <= PERMITTED
        await until(lambda: _closes(banks, service, fleet.members[0]))


async def _all_but(service: Service, calls: list["asyncio.Task[bool]"]) -> bool:
    """Whether all have ended that are not under way at the service."""
    return sum(not one.done() for one in calls) == service.under_way


async def _is(hr: Headrace, state: BreakerState) -> bool:
    return await state_of(hr) is state


async def _closes(banks: list[Upstream], service: Service, hr: Headrace) -> bool:
    await call(banks[0], service)
    return await state_of(hr) is BreakerState.CLOSED


async def test_a_decorated_coroutine_function_trips(fleet: Fleet) -> None:
    service = Service(down=True)
    guarded = bank_of(fleet.join()).guard(service.call)
    for _ in range(4):
        with pytest.raises(DownError):
            await guarded()
    with pytest.raises(Rejected):
        await guarded()
    assert service.calls == 4


async def test_a_timeout_is_a_failure(fleet: Fleet) -> None:
    """Our own; and one that surrounds the call is no success that would make failures forgotten."""
    service = Service(takes_s=30)
    bank = bank_of(fleet.join(), timeout=0.05)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with bank:
                await service.call()
    for _ in range(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005), bank:
                await service.call()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with bank:
                await service.call()
    with pytest.raises(Rejected):
        async with bank:
            pass


async def test_no_lock_is_held_during_a_call(fleet: Fleet) -> None:
    hr = fleet.join()
    bank = bank_of(hr)
    barrier = threading.Barrier(10)  # ten at once, or none gets through

    def work() -> None:
        with bank:
            barrier.wait(20)

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(10) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, work) for _ in range(10)))


async def test_half_open_is_not_stuck_when_probes_are_cancelled(fleet: Fleet, until: Until) -> None:
    service = Service()
    hr = fleet.join()
    bank = bank_of(hr)
    await trip(bank, service)
    service.takes_s = 30
    probes = [asyncio.create_task(call(bank, service)) for _ in range(PERMITTED + 2)]
    await until(lambda: _counted(service, 4 + PERMITTED))
    for probe in probes:
        probe.cancel()
    await asyncio.gather(*probes, return_exceptions=True)
    service.takes_s = 0
    await until(lambda: _closes([bank], service, hr))


async def _counted(service: Service, calls: int) -> bool:
    return service.calls == calls


async def test_a_success_from_before_does_not_close_it(fleet: Fleet, until: Until) -> None:
    service = Service(takes_s=2.5)
    hr = fleet.join()
    bank = bank_of(hr)
    late = [asyncio.create_task(call(bank, service)) for _ in range(20)]
    await until(lambda: _counted(service, 20))
    service.takes_s = 0
    await trip(bank, service)
    service.takes_s = 4.0
    probe = asyncio.create_task(call(bank, service))
    await until(lambda: _is(hr, BreakerState.HALF_OPEN))
    assert sum(await asyncio.gather(*late)) == 20, "they ended well, while it was half open"
    await asyncio.sleep(0.6)
    assert await state_of(hr) is BreakerState.HALF_OPEN
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
