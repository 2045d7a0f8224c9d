"""A small application: an endpoint that enqueues, and two tasks."""

from typing import Annotated

from fastapi import Depends, FastAPI

from headrace import Headrace, Injected, Job, JobContext, Retry

hr = Headrace("sqlite:///billing.db")
app = FastAPI()
hr.install(app)


async def bank_url() -> str:
    """Where the bank answers."""
    return "https://bank.example"


@hr.task(queue="billing", retry=Retry(max_attempts=3, initial=1, jitter=False))
async def charge(ctx: JobContext, invoice_id: int, *, url: Annotated[str, Depends(bank_url)] = Injected) -> str:
    """Charge an invoice, and have a receipt sent."""
    if invoice_id == 13 and ctx.attempt < 3:
        raise ctx.retry(reason="the bank is thinking")
    await ctx.progress(1, 2, f"asking {url}")
    await receipt.enqueue(invoice_id)
    return f"charged {invoice_id} at {url}"


@hr.task(queue="mail")
async def receipt(ctx: JobContext, invoice_id: int) -> None:
    """Send a receipt."""
    await ctx.emit({"receipt": invoice_id}, key="receipt")


@app.post("/invoices/{invoice_id}/charge", status_code=202)
async def start(invoice_id: int) -> Job[str]:
    """Charge it, once however often this is asked."""
    return await charge.options(key=f"charge-{invoice_id}").enqueue(invoice_id)
