"""The tasks that are measured; worker processes load it as `bench.app:hr`."""

import asyncio
import os
import time

from bench.meter import Meter, shared_folder
from headrace import Headrace, Task

_meter: Meter | None = None


async def noop(n: int) -> None:  # noqa: ARG001 - an argument to carry
    """Nothing but the meter."""
    global _meter  # noqa: PLW0603 - one per process, made by its first job
    if _meter is None:
        _meter = Meter(shared_folder() / "meter")
    _meter.hit()


async def stamp(sent_at: float) -> float:
    """How long ago it was sent, in seconds."""
    return time.time() - sent_at


async def hold(n: int) -> None:
    """Say who runs it and since when, and go on until told to end."""
    started_at = time.time()
    folder = shared_folder()
    with (folder / f"started-{n}").open("a", encoding="ascii") as file:
        file.write(f"{os.getpid()} {started_at!r}\n")
    release = folder / f"release-{n}"
    while not release.exists():  # noqa: ASYNC110 - the file is made by another process
        await asyncio.sleep(0.02)


class App:
    """A Headrace with the tasks of the bench; one per store."""

    def __init__(self, store: str | None = None) -> None:
        self.hr = Headrace(store)
        self.noop: Task[[int], None] = self.hr.task()(noop)
        self.stamp: Task[[float], float] = self.hr.task()(stamp)
        self.hold: Task[[int], None] = self.hr.task()(hold)


def __getattr__(name: str) -> Headrace:
    """`hr` is made when a worker asks for it, not when the bench imports the tasks."""
    if name == "hr":
        return App().hr
    raise AttributeError(name)
