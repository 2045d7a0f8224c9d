"""What the workers of the chaos tests run. Bodies write one line each time they start: that is what is measured."""

import asyncio
import os
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.core.retry import Retry
from headrace.runtime.context import JobContext, SyncJobContext
from headrace.runtime.registry import Policies, Registry, TaskDef

registry = Registry()


class Holder:
    """What a decorated task is in its module: something with a definition."""

    def __init__(self, definition: TaskDef) -> None:
        self.definition = definition


def task(**policies: Any) -> Callable[[Callable[..., Any]], Holder]:
    def wrap(fn: Callable[..., Any]) -> Holder:
        definition = TaskDef(fn.__name__, fn, Policies(**policies))
        registry.add(definition)
        return Holder(definition)

    return wrap


def note(*words: object) -> None:
    """One line, whole, whoever else writes."""
    line = " ".join(str(word) for word in (time.monotonic(), os.getpid(), *words)) + "\n"
    fd = os.open(os.environ["FARM_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)


@task()
async def quick(number: int) -> int:
    note("quick", number)
    return number


@task()
async def waits(ctx: JobContext, seconds: float) -> str:
    note("waits", ctx.id.hex, ctx.attempt)
    await asyncio.sleep(seconds)
    note("waited", ctx.id.hex, ctx.attempt)
    return "waited"


@task()
async def once_slow(ctx: JobContext) -> int:
    """Slow in its first attempt only, so that a test can kill that and see the second end."""
    note("once_slow", ctx.id.hex, ctx.attempt)
    if ctx.attempt == 1:
        await asyncio.sleep(60)
    return ctx.attempt


@task(cpu=True)
def once_slow_cpu(ctx: SyncJobContext) -> int:
    note("once_slow_cpu", ctx.id.hex, ctx.attempt)
    if ctx.attempt == 1:
        time.sleep(60)
    return ctx.attempt


@task()
async def holds(ctx: JobContext, length: int) -> str:
    """One regular expression that holds the interpreter: no thread of this process runs meanwhile."""
    note("holds", ctx.id.hex, ctx.attempt)
    began = time.monotonic()
    while time.monotonic() - began < 0.001:
        pass
    re.match(r"(a|a)*b", "a" * length)
    note("held", ctx.id.hex, ctx.attempt)
    return f"{time.monotonic() - began:.1f}"


@task()
def sleeps(ctx: SyncJobContext, seconds: float) -> None:
    """A thread, which nobody can stop."""
    note("sleeps", ctx.id.hex, ctx.attempt)
    time.sleep(seconds)


@task()
async def stops_with_the_lock(ctx: JobContext, database: str) -> int:
    """Its first attempt stops its process while that holds SQLite's write lock."""
    note("stops_with_the_lock", ctx.id.hex, ctx.attempt)
    if ctx.attempt == 1:
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        os.kill(os.getpid(), signal.SIGSTOP)
    return ctx.attempt


@task()
async def blocks(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - what a careless task does


@task()
def poison(ctx: SyncJobContext) -> None:
    note("poison", ctx.id.hex, ctx.attempt)
    os.kill(os.getpid(), 9)


@task(timeout_s=0.5, retry=Retry(max_attempts=1))
async def deaf(ctx: JobContext) -> None:
    """Ignores that it was asked to stop."""
    note("deaf", ctx.id.hex, ctx.attempt)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            note("ignored", ctx.id.hex)


@task(cpu=True, retry=Retry(max_attempts=1), timeout_s=1.0)
def spins(ctx: SyncJobContext, file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    re.match(r"(a|a)*b", "a" * 60)
