"""What must be an error, each line that says so and no other: read by mypy and pyright, never run."""

from headrace import Headrace, JobContext, SyncJobContext, Upstream

hr = Headrace("memory://")


@hr.task()
async def charge(ctx: JobContext, invoice_id: int, note: str = "") -> int:
    return invoice_id


@hr.task()
def resize(ctx: SyncJobContext, path: str) -> str:
    ctx.progress("one")  # wrong
    return path


@hr.task(ordered_by=7)  # wrong
async def change(ctx: JobContext, customer: str) -> None: ...


async def use(ctx: JobContext) -> None:
    await charge.enqueue("seven")  # wrong
    await charge.enqueue()  # wrong
    await charge.enqueue(7, 8)  # wrong
    await charge.enqueue(7, "note", 9)  # wrong
    await charge.enqueue(7, unknown=1)  # wrong
    await charge.enqueue(ctx, 7)  # wrong
    await charge.options(key="k").enqueue("seven")  # wrong
    await charge.options(priority="high").enqueue(7)  # wrong
    await charge.options(run_at=12.5).enqueue(7)  # wrong
    charge.call("seven")  # wrong
    resize.enqueue_sync(7)  # wrong
    await charge(7)  # wrong
    resize(ctx, "a.jpg")  # wrong
    number: str = await (await charge.enqueue(7)).result()  # wrong
    await ctx.log(number)
    await ctx.emit({"n": 1}, "key")  # wrong
    raise ctx.snooze("a minute")  # wrong


hr.task(timeout="30")  # wrong


async def guarded(bank: Upstream) -> None:
    @bank.guard
    async def rate(currency: str) -> float:
        return len(currency)

    await rate(7)  # wrong
    bank.client(retries="two")  # wrong
