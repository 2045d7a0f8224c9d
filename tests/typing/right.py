"""What must pass: read by mypy and pyright, never run."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, assert_type

from fastapi import Depends
from pydantic import BaseModel

from headrace import (
    Headrace,
    Injected,
    Job,
    JobContext,
    Message,
    Retry,
    SyncJobContext,
    Task,
    Upstream,
    kafka,
    rabbitmq,
    redis_stream,
)
from headrace.testing import assert_enqueued, context, sync_context

hr = Headrace("memory://")


class Receipt(BaseModel):
    total: int


class Session: ...


SessionDep = Annotated[Session, Depends(Session)]


@hr.task(queue="billing", retry=Retry(max_attempts=5), timeout=timedelta(seconds=30))
async def charge(ctx: JobContext, invoice_id: int, note: str = "", *, session: SessionDep = Injected) -> Receipt:
    await ctx.progress(1, 3, "calling the bank")
    if ctx.attempt > 3:
        raise ctx.snooze(60)
    return await ctx.succeed(Receipt(total=invoice_id), using=session)


@hr.task(cpu=True, memory_limit=1 << 30)
def resize(ctx: SyncJobContext, path: str) -> list[int]:
    ctx.emit({"path": path}, key=path)
    return [1]


@hr.task("plain")
async def plain(a: int, b: int = 2) -> int:
    return a + b


@hr.task()
def plain_sync() -> None: ...


@hr.on(kafka("orders", group="payments"))
async def taken(ctx: JobContext, order: Receipt, message: Message | None = None) -> int:
    return order.total


@hr.on(rabbitmq("orders"), decode=lambda message: message.body.decode())
@hr.task(cpu=True)
def taken_below(ctx: SyncJobContext, order: str) -> list[str]:
    return [order]


@hr.on(redis_stream("orders", group="payments"))
def taken_plainly(order: Receipt) -> None: ...


async def take(ctx: JobContext) -> None:
    assert_type(await taken.enqueue(Receipt(total=1)), Job[int])
    assert_type(await taken(ctx, Receipt(total=1)), int)
    assert_type(await taken_below.enqueue("x"), Job[list[str]])
    assert_type(await taken_plainly.enqueue(Receipt(total=1)), Job[None])


async def use(ctx: JobContext) -> None:
    assert_type(await charge.enqueue(7), Job[Receipt])
    assert_type(await charge.enqueue(invoice_id=7, note="x"), Job[Receipt])
    assert_type(await (await charge.enqueue(7)).result(timeout=5), Receipt)
    assert_type(await charge.options(delay=timedelta(hours=1), key="k", tags=("a",)).enqueue(7), Job[Receipt])
    assert_type(await charge.options(run_at=datetime.now(UTC)).options(priority=1).enqueue(7), Job[Receipt])
    assert_type(resize.enqueue_sync("a.jpg").result_sync(), list[int])
    assert_type(await plain.enqueue(1), Job[int])
    assert_type(await plain_sync.enqueue(), Job[None])
    assert_type(await hr.enqueue_many([charge.call(7), charge.call(8)]), list[Job[Receipt]])
    assert_type(hr.job("0190…", Receipt), Job[Receipt])
    assert_type(await hr.jobs(task=charge), list[Job[Receipt]])
    # Called, they are the functions that they were.
    assert_type(await charge(ctx, 7, session=Session()), Receipt)
    assert_type(await charge(context(attempt=2), 7), Receipt)
    assert_type(resize(sync_context(), "a.jpg"), list[int])
    assert_type(await plain(1, b=2), int)
    assert_enqueued(charge, 7, queue="billing")


def takes(task: Task[[int], int]) -> None: ...


async def one(n: int) -> int:
    return n


takes(hr.task()(one))


async def guarded(bank: Upstream) -> None:
    @bank.guard
    async def rate(currency: str) -> float:
        return len(currency)

    @bank.guard(fallback=1.0)
    def rate_now(currency: str) -> float:
        return len(currency)

    assert_type(await rate("CHF"), float)
    assert_type(rate_now("CHF"), float)
    async with bank as same, bank.client(base_url="https://bank") as http:
        assert_type(same, Upstream)
        assert_type((await http.get("/")).status_code, int)
    with bank.client_sync() as blocking:
        assert_type(blocking.get("/").status_code, int)
