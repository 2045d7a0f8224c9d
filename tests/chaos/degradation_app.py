"""What the workers of the degradation tests run: `headrace worker degradation_app:hr`."""

import asyncio
import os
import time

from farm_tasks import note

from headrace import Breaker, Headrace, JobContext, Retry

BREAKER = Breaker(
    minimum_number_of_calls=6, wait_duration_in_open_state=1, permitted_number_of_calls_in_half_open_state=2, ramp=1
)


class Tasks:
    """The tasks of one release of an app; `fresh` is of the next one."""

    def __init__(self, hr: Headrace, release: str = "next") -> None:
        bank = hr.upstream("bank", breaker=BREAKER, timeout=5)
        till = hr.upstream("till", max_concurrency=1, timeout=60)

        @hr.task()
        async def quick(number: int) -> int:
            note("quick", number)
            return number

        @hr.task()
        async def waits(ctx: JobContext, seconds: float) -> int:
            note("waits", ctx.id, ctx.attempt)
            await asyncio.sleep(seconds)
            note("waited", ctx.id, ctx.attempt)
            return ctx.attempt

        @hr.task()
        async def ticks(ctx: JobContext, count: int) -> int:
            for number in range(count):
                await ctx.emit(number)
                await asyncio.sleep(0.05)
            return count

        self.ticks = ticks

        @hr.task()
        async def blocks(ctx: JobContext, seconds: float) -> int:
            note("blocks", ctx.id, ctx.attempt)
            time.sleep(seconds)  # noqa: ASYNC251 - what a careless task does
            return ctx.attempt

        @hr.task(needs=[bank], retry=Retry(max_attempts=2, initial=0.1))
        async def charge(number: int) -> int:
            async with bank.client(base_url=os.environ["BANK"]) as http:
                (await http.post(f"/charge/{number}")).raise_for_status()
            return number

        @hr.task(needs=[till])
        async def pay(ctx: JobContext, seconds: float) -> int:
            async with till:
                note("pays", ctx.id, ctx.attempt)
                await asyncio.sleep(seconds if ctx.attempt == 1 else 0)
            return ctx.attempt

        self.pay = pay
        self.quick, self.waits, self.blocks, self.charge = quick, waits, blocks, charge
        if release == "next":

            @hr.task(public=True)
            async def fresh(number: int) -> int:
                note("fresh", number)
                return number

            self.fresh = fresh


hr = Headrace()
tasks = Tasks(hr, os.environ.get("RELEASE", "next"))
