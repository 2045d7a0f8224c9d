"""The application under test, written as a user would write it: FastAPI, Headrace, SQLAlchemy, one database.

Every job leaves an effect in the application's own table, in the transaction of its success, and two lines in a file
outside the database: when an attempt starts and when it ends, with its fence.
"""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from headrace import Headrace, Job, JobContext, Retry, SyncJobContext, Task

STORE: Final = os.environ["HEADRACE_STORE"]
LINES: Final = os.environ["PROOF_LINES"]
ITEMS: Final = 4
EFFECT: Final = text("INSERT INTO effect (job, fence, purchase) VALUES (:job, :fence, :purchase)")
PLACED: Final = text("INSERT INTO placed (purchase) VALUES (:purchase) ON CONFLICT DO NOTHING")
DRIVERS: Final[dict[str, tuple[str, str, dict[str, object]]]] = {
    "sqlite": ("sqlite+aiosqlite", "sqlite+pysqlite", {"timeout": 5.0}),
    "postgresql": ("postgresql+asyncpg", "postgresql+psycopg", {}),
}

_scheme, _, _place = STORE.partition(":")
_async_driver, _sync_driver, _options = DRIVERS[_scheme]
database = create_async_engine(f"{_async_driver}:{_place}", poolclass=NullPool, connect_args=_options)
database_sync = create_engine(f"{_sync_driver}:{_place}", poolclass=NullPool, connect_args=_options)

# A full disk refuses a body's writes too, and that counts as its failure: it may come back often, and soon.
PATIENT: Final = Retry(max_attempts=60, initial=0.2, factor=1.5, cap=2.0)

hr = Headrace()
app = FastAPI()
hr.install(app)


@app.exception_handler(OperationalError)  # of the shop's own statements; Headrace's are answered by itself
async def come_again(_: Request, __: Exception) -> JSONResponse:
    """The database is away or full: nothing was written."""
    return JSONResponse({"detail": "come again"}, 503, headers={"Retry-After": "1"})


def _write(word: str, ctx: JobContext | SyncJobContext, how: str) -> None:
    """One line, whole, whoever else writes."""
    line = f"{word} {ctx.id.hex} {ctx.fence} {ctx.attempt} {os.getpid()} {time.monotonic():.6f} {how}\n"
    fd = os.open(LINES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


@contextmanager
def written_down(ctx: JobContext | SyncJobContext) -> Iterator[None]:
    """A line when the attempt starts, and one when its body ends, however it does; a killed one has none."""
    _write("start", ctx, ctx.task)
    how = "raised"
    try:
        yield
        how = "succeeded"
    finally:
        with suppress(OSError):
            _write("end", ctx, how)


def _effect(ctx: JobContext | SyncJobContext, purchase: str) -> dict[str, object]:
    return {"job": ctx.id.hex, "fence": ctx.fence, "purchase": purchase}


async def _conclude(ctx: JobContext, purchase: str) -> str:
    async with database.connect() as connection:
        await connection.execute(EFFECT, _effect(ctx, purchase))
        return await ctx.succeed(purchase, using=connection)


@hr.task(retry=PATIENT, timeout=30, public=True)
async def pay(ctx: JobContext, purchase: str, seconds: float) -> str:
    """A coroutine that waits for somebody else."""
    with written_down(ctx):
        await asyncio.sleep(seconds)
        return await _conclude(ctx, purchase)


@hr.task(retry=PATIENT, timeout=30, public=True)
def pack(ctx: SyncJobContext, purchase: str, seconds: float) -> str:
    """A thread."""
    with written_down(ctx):
        time.sleep(seconds)
        with database_sync.connect() as connection:
            connection.execute(EFFECT, _effect(ctx, purchase))
            return ctx.succeed(purchase, using=connection)


@hr.task(retry=PATIENT, timeout=30, public=True)
async def draw(ctx: JobContext, purchase: str, seconds: float) -> str:
    """Emits items under keys, so that an attempt after a crash goes on where the last one was."""
    with written_down(ctx):
        for n in range(ITEMS):
            await ctx.progress(n, ITEMS, "drawing")
            if not ctx.emitted(str(n)):
                await asyncio.sleep(seconds / ITEMS)
                await ctx.emit({"n": n}, key=str(n))
        return await _conclude(ctx, purchase)


@hr.task(retry=PATIENT, timeout=30, queue="mail", public=True)
async def ship(ctx: JobContext, purchase: str, seconds: float) -> str:
    """Fails once or twice, and then works."""
    with written_down(ctx):
        await asyncio.sleep(seconds)
        if ctx.attempt <= random.Random(purchase).randint(1, 2):
            raise ConnectionError("nobody at home")
        return await _conclude(ctx, purchase)


TASKS: Final[dict[str, Task[[str, float], str]]] = {"pay": pay, "pack": pack, "draw": draw, "ship": ship}


class Purchase(BaseModel):
    """What a customer sends; `id` is the customer's own."""

    id: str
    kind: str
    seconds: float


@app.post("/purchases", status_code=202)
async def buy(purchase: Purchase) -> Job[str]:
    """One job; the same purchase again gives the same job."""
    return await TASKS[purchase.kind].options(key=purchase.id).enqueue(purchase.id, purchase.seconds)


@app.post("/purchases/batch", status_code=202)
async def buy_many(purchases: list[Purchase]) -> list[Job[str]]:
    """Some jobs, all or none."""
    return await hr.enqueue_many(
        [TASKS[each.kind].options(key=each.id).call(each.id, each.seconds) for each in purchases]
    )


@app.post("/purchases/placed", status_code=202)
async def place(purchase: Purchase) -> Job[str]:
    """A row of the shop's own and its job: both or neither."""
    async with database.begin() as connection:
        await connection.execute(PLACED, {"purchase": purchase.id})
        task = TASKS[purchase.kind].options(key=purchase.id, using=connection)
        return await task.enqueue(purchase.id, purchase.seconds)
