"""The app of the first deployment: two tasks and one endpoint. Put your own in its place.

It names no store: `HEADRACE_STORE` does, so that the same file runs on SQLite on a laptop and on PostgreSQL in
containers.
"""

import asyncio
from hashlib import sha256
from typing import Annotated

from fastapi import FastAPI, Query
from pydantic import Field

from headrace import Headrace, Job, JobContext, Retry, SyncJobContext

hr = Headrace()
app = FastAPI(title="The first deployment")
hr.install(app)


@hr.task(retry=Retry(max_attempts=5), timeout=300)
async def count(ctx: JobContext, to: int) -> int:
    for n in range(1, to + 1):
        if not ctx.emitted(str(n)):  # another attempt goes on where the last one ended
            await ctx.emit({"square": n * n}, key=str(n))
            await asyncio.sleep(0.1)
        await ctx.progress(n, to, f"at {n}")
    return to


@hr.task(public=True, timeout=60)  # an API key with the scope enqueue may ask for it over HTTP
def digest(ctx: SyncJobContext, text: str, rounds: Annotated[int, Field(ge=1, le=1_000_000)] = 1) -> str:
    block = text.encode()
    for n in range(rounds):
        if ctx.cancelled:  # a thread has to look
            break
        block = sha256(block).digest()
        if n % 100_000 == 0:
            ctx.progress(n, rounds)
    return block.hex()


@app.post("/count", status_code=202)
async def start(to: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Job[int]:
    return await count.enqueue(to)
