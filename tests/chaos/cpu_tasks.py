"""Tasks for the tests of child processes."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.app.addresses import kafka
from headrace.core.errors import LeaseLost
from headrace.core.retry import Retry
from headrace.runtime.context import SyncJobContext
from headrace.runtime.publishing import Prepared, Publisher
from headrace.runtime.registry import Policies, TaskDef

MIB = 1 << 20


class Holder:
    """What a decorated task is in its module: something with a definition."""

    def __init__(self, definition: TaskDef) -> None:
        self.definition = definition


def task(**policies: Any) -> Callable[[Callable[..., Any]], Holder]:
    def wrap(fn: Callable[..., Any]) -> Holder:
        return Holder(TaskDef(fn.__name__, fn, Policies(cpu=True, **policies)))

    return wrap


@task()
def square(number: int) -> int:
    return number * number


@task()
def pid() -> int:
    return os.getpid()


@task()
def descriptors() -> list[str]:
    """What every descriptor of this process above 2 is."""
    found: list[str] = []
    for link in Path("/proc/self/fd").iterdir():
        if int(link.name) > 2 and link.is_symlink():
            with contextlib.suppress(OSError):
                found.append(str(link.readlink()))
    return sorted(found)


@task(publisher=Publisher(wall=time.time))
def tell(ctx: SyncJobContext, body: str) -> int:
    ctx.publish(kafka("orders"), body, key="k")
    ctx.publish(kafka("orders"), b"\x00\xff", once="raw")
    return 2


class Elsewhere:
    """An address whose events become jobs."""

    async def take(self, event: Prepared, using: object | None) -> None:
        raise NotImplementedError

    def take_sync(self, event: Prepared, using: object | None) -> None:
        assert event.body == b"1"


@task(publisher=Publisher(wall=time.time))
def post(ctx: SyncJobContext) -> str:
    try:
        ctx.publish(Elsewhere(), 1)
    except LeaseLost:
        return "refused"
    return "sent"


@task()
def develop(ctx: SyncJobContext, steps: int) -> str:
    for step in range(steps):
        ctx.progress(step, steps, f"step {step}")
        ctx.emit({"step": step}, key=f"s{step}")
    ctx.log("done")
    return f"{ctx.id.hex[:4]} {ctx.attempt} {ctx.emitted('old')}"


@task()
def chatter(ctx: SyncJobContext, count: int) -> None:
    for number in range(count):
        ctx.progress(number, count)


@task()
def early(ctx: SyncJobContext) -> int:
    ctx.succeed(7)
    raise ValueError("too late")


@task()
def joined(ctx: SyncJobContext) -> None:
    ctx.succeed(7, using=object())


@task(retry=Retry(max_attempts=3, jitter=False, initial=5, give_up_on=(KeyError,)))
def fails(kind: str) -> None:
    if kind == "key":
        raise KeyError("gone")
    if kind == "lost":
        raise LeaseLost("lost")
    if kind == "exit":
        sys.exit(3)
    raise ValueError("bad photo")


@task()
def steers(ctx: SyncJobContext, how: str) -> None:
    raise {"snooze": ctx.snooze(60, "later"), "retry": ctx.retry(9), "abandon": ctx.abandon("no such photo")}[how]


@task()
def spins(file: str) -> None:
    """Neither a signal of Python's nor a flag can end this; it has started a process of its own, too."""
    with subprocess.Popen(["sleep", "600"]) as sleeper:
        Path(file).write_text(f"{os.getpid()} {sleeper.pid}")
        re.match(r"(a|a)*b", "a" * 60)


@task(memory_limit_bytes=200 * MIB)
def eats(mebibytes: int) -> int:
    return len(bytearray(mebibytes * MIB))


@task(retry=Retry(max_attempts=2, jitter=False))
def dies(number: int) -> None:
    os.kill(os.getpid(), signal.Signals(number))
    time.sleep(60)


@task()
def unwritable() -> object:
    return {"a": object()}
