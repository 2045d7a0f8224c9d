"""A peer in the same run: Huey on SQLite, one worker thread (its default), at its default durability (FULL)."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from huey import SqliteHuey

from bench.meter import FOLDER_VARIABLE, Meter, shared_folder
from bench.processes import ROOT, STOP_S, wait_for

_folder = shared_folder()
_meters: list[Meter] = []


def noop(n: int) -> None:  # noqa: ARG001 - an argument to carry
    if not _meters:
        _meters.append(Meter(_folder / "meter"))
    _meters[0].hit()


def __getattr__(name: str) -> SqliteHuey:
    """`huey` is made when the consumer asks for it, not when the bench imports this."""
    if name == "huey":
        queue = SqliteHuey(filename=str(_folder / "huey.db"))
        queue.task()(noop)
        return queue
    raise AttributeError(name)


@dataclass(frozen=True, slots=True)
class HueyRates:
    """Jobs per second."""

    enqueue: float
    drain: float


def measure(folder: Path, count: int) -> HueyRates:
    queue = SqliteHuey(filename=str(folder / "huey.db"))
    task = queue.task()(noop)
    started = time.perf_counter()
    for n in range(count):
        task(n)
    enqueue = count / (time.perf_counter() - started)
    queue.storage.close()
    meter = Meter(folder / "meter")
    with (folder / "consumer.log").open("wb") as log:
        consumer = subprocess.Popen(
            [sys.executable, "-m", "huey.bin.huey_consumer", "bench.huey_queue.huey", "-w1", "-kthread", "-q"],
            cwd=ROOT,
            env=os.environ | {FOLDER_VARIABLE: str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: meter.count >= count, f"Huey started {count} jobs", 120.0, every_s=0.05)
    finally:
        consumer.terminate()
        consumer.wait(STOP_S)
    return HueyRates(enqueue, meter.rate)
