"""`python -m bench profile drain`: where the microseconds of a job go.

The worker runs inside this process, so that its threads can be looked at: once undisturbed, for the
rate and the CPU time of each thread; once more with a profiler on the event loop and samples of the
writer's stack. Profilers cost time themselves: read shares there, not rates.
"""

import argparse
import asyncio
import cProfile
import os
import pstats
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from bench.app import App
from bench.figures.drain import fill
from bench.meter import FOLDER_VARIABLE, Meter
from bench.run import store_path, store_url
from bench.tables import Probe

SAMPLE_S = 0.001
LINES = 25
WRITER = "headrace-sqlite-writer"
DRAIN_S = 120.0


def _thread_cpu_s() -> dict[str, float]:
    """CPU time of each live thread, by name."""
    return {
        thread.name: time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.ident is not None
    }


class Sampler(threading.Thread):
    """Looks at the writer's stack every millisecond."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self._stop_asked = threading.Event()
        self.samples: Counter[str] = Counter()

    def run(self) -> None:
        while not self._stop_asked.wait(SAMPLE_S):
            writer = next((thread for thread in threading.enumerate() if thread.name == WRITER), None)
            frame = sys._current_frames().get(writer.ident or 0) if writer is not None else None  # noqa: SLF001
            if frame is not None:
                self.samples[_place(frame)] += 1

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()


def _place(frame: FrameType) -> str:
    """The innermost frame and who called it."""
    names = []
    walked: FrameType | None = frame
    while walked is not None and len(names) < 3:
        code = walked.f_code
        names.append(f"{Path(code.co_filename).stem}.{code.co_name}:{walked.f_lineno}")
        walked = walked.f_back
    return " < ".join(names)


async def _drain(folder: Path, count: int, profiler: cProfile.Profile | None) -> dict[str, float]:
    """Drain a backlog in this process; CPU seconds of each thread."""
    app = App(store_url(folder))
    await app.hr.open()
    probe = Probe(store_path(folder))
    give_up = time.monotonic() + DRAIN_S
    async with app.hr.embedded(1):
        before = _thread_cpu_s()
        if profiler is not None:
            profiler.enable()
        while probe.ended() < count:
            if time.monotonic() > give_up:
                raise AssertionError(f"{probe.ended()} of {count} jobs ended")
            await asyncio.sleep(0.02)
        if profiler is not None:
            profiler.disable()
        after = _thread_cpu_s()
    await app.hr.close()
    probe.close()
    return {name: used - before.get(name, 0.0) for name, used in after.items()}


def drain(root: Path, count: int) -> None:
    os.environ[FOLDER_VARIABLE] = str(root)
    meter = Meter(root / "meter")
    for profiled in (False, True):
        folder = root / f"profiled-{profiled}"
        folder.mkdir()
        fill(folder, count)
        meter.reset()
        profiler = cProfile.Profile() if profiled else None
        sampler = Sampler() if profiled else None
        if sampler is not None:
            sampler.start()
        threads = asyncio.run(_drain(folder, count, profiler))
        if sampler is not None:
            sampler.stop()
        if profiler is None or sampler is None:
            _tell(folder, count, meter.rate, threads)
        else:
            _tell_profile(profiler, sampler, count)


def _tell(folder: Path, count: int, rate: float, threads: dict[str, float]) -> None:
    probe = Probe(store_path(folder))
    batch = probe.batch()
    probe.close()
    print(f"{count} jobs, {rate:,.0f} jobs/s, {batch:.0f} to a transaction; µs of CPU a job:")
    for name, used in sorted(threads.items(), key=lambda item: -item[1]):
        print(f"  {1e6 * used / count:6.2f}  {name}")


def _tell_profile(profiler: cProfile.Profile, sampler: Sampler, count: int) -> None:
    print(f"\nthe event loop, by own time ({count} jobs):")
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(LINES)
    total = sampler.samples.total() or 1
    print("the writer, by samples of where it stood (waiting for the disk and for work included):")
    for place, seen in sampler.samples.most_common(LINES):
        print(f"  {100 * seen / total:5.1f} %  {place}")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench profile")
    parser.add_argument("what", choices=["drain"])
    parser.add_argument("--jobs", type=int, default=50_000)
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        drain(Path(folder), arguments.jobs)
    return 0
