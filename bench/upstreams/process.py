"""One process of a fleet: `python -m bench.upstreams.process JOB URL PORTS CALLERS`, spoken to in lines of JSON."""

import asyncio
import contextlib
import json
import random
import sys
import time

from bench.upstreams.service import Caller, FailedError
from headrace import BreakerOpen, Headrace
from headrace.app.upstream import Upstream
from headrace.core.breaker import Breaker
from headrace.core.classify import Classify

PERMITTED = 10
HALF_OPEN = Breaker(
    failure_rate_threshold=100,  # decided when the last probe is back, and not before
    minimum_number_of_calls=10,
    wait_duration_in_open_state=1,
    permitted_number_of_calls_in_half_open_state=PERMITTED,
)
FLEETWIDE = Breaker(minimum_number_of_calls=10, wait_duration_in_open_state=3_600)
COME_AGAIN_S = 0.3
LOOK_EVERY_S = 0.002


class NothingError(Exception):
    """Says nothing of the upstream."""


def say_nothing() -> None:
    raise NothingError


def tell(**news: object) -> None:
    print(json.dumps(news), flush=True)


async def call_on(bank: Upstream, port: int) -> None:
    """Call as long as the process lives; every refusal is answered by another try."""
    caller = Caller(port)
    while True:
        try:
            async with bank:
                await caller.call()
        except FailedError:
            pass
        except BreakerOpen:
            await asyncio.sleep(random.uniform(0, COME_AGAIN_S))


async def half_open(hr: Headrace, ports: list[int], callers: int) -> None:
    banks = {hr.upstream(f"bank-{port}", breaker=HALF_OPEN): port for port in ports}
    await hr.open()
    tell(ready=True)
    await asyncio.gather(*(call_on(bank, port) for bank, port in banks.items() for _ in range(callers)))


async def watch(bank: Upstream) -> None:
    """Tell when calls begin and cease to be refused."""
    was_open = None
    while True:
        try:
            async with bank:
                say_nothing()
        except NothingError:
            is_open = False
        except BreakerOpen:
            is_open = True
        if is_open is not was_open:
            tell(open=is_open, at=time.monotonic())
            was_open = is_open
        await asyncio.sleep(LOOK_EVERY_S)


async def fleetwide(hr: Headrace) -> None:
    bank = hr.upstream("bank", breaker=FLEETWIDE, classify=Classify(ignore_exceptions=(NothingError,)))
    await hr.open()
    async with bank:  # the others hear of this process
        pass
    watching = asyncio.create_task(watch(bank))
    while await asyncio.to_thread(sys.stdin.readline):
        for _ in range(FLEETWIDE.minimum_number_of_calls):
            with contextlib.suppress(OSError, BreakerOpen):
                async with bank:
                    raise OSError("down")
        tell(tripped=time.monotonic())
    watching.cancel()


async def main(job: str, url: str, ports: list[int], callers: int) -> None:
    hr = Headrace(url)
    try:
        await (half_open(hr, ports, callers) if job == "half_open" else fleetwide(hr))
    finally:
        await hr.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])))
