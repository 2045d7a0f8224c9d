"""Naming the task that blocks the loop."""

import asyncio
import functools
import logging
import re
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.runtime.beat import Beat
from headrace.runtime.clock import SystemClock
from headrace.runtime.watchdog import STACKS_SIGNAL, Place, Watchdog, find_tasks, write_stacks_on_signal

DUMP = """Thread 0x00007f (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 320 in wait
  File "/srv/shop/tasks.py", line 14 in helper

Current thread 0x00007e (most recent call first):
  File "/usr/lib/python3.11/re/__init__.py", line 166 in match
  File "/srv/shop/tasks.py", line 42 in parse
  File "/srv/shop/main.py", line 7 in <module>
"""


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ([Place("parse", "/srv/shop/tasks.py", 40, 50)], ["parse"]),
        ([Place("parse", "/srv/shop/tasks.py", 42, 42)], ["parse"]),
        ([Place("other", "/srv/shop/tasks.py", 43, 50)], []),
        ([Place("other", "/srv/shop/other.py", 40, 50)], []),
        ([Place("z", "/srv/shop/tasks.py", 40, 50), Place("a", "/srv/shop/tasks.py", 10, 20)], ["a", "z"]),
    ],
)
def test_a_task_is_found_by_file_and_line(places: list[Place], found: list[str]) -> None:
    assert find_tasks(DUMP, places) == found


def logged(fn: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(fn)
    def wrapper(*args: object) -> object:
        return fn(*args)

    return wrapper


@logged
def blocks(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_the_place_is_that_of_the_function_behind_its_decorators() -> None:
    place = Place.of("blocks", blocks)
    assert place is not None
    assert place.file == __file__
    lines = Path(__file__).read_text().splitlines()
    assert lines[place.first - 1] == "@logged"
    assert "pass" in lines[place.last - 1]
    assert Place.of("len", len) is None


def test_what_faulthandler_writes_is_understood() -> None:
    with tempfile.TemporaryFile(buffering=0) as file:
        write_stacks_on_signal(file.fileno())
        raises_signal()
        file.seek(0)
        dump = file.read().decode()
    place = Place.of("raises", raises_signal)
    assert place is not None
    assert find_tasks(dump, [place]) == ["raises"]


def raises_signal() -> None:
    signal.raise_signal(STACKS_SIGNAL)


async def test_a_blocked_loop_is_reported_once_with_the_task_and_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    beat, clock = Beat.create(), SystemClock()
    tasks = [("shop.blocks", blocks), ("shop.same", blocks)]  # as two of one factory
    watchdog = Watchdog(beat, clock, tasks, blocked_s=0.05)
    watchdog.start()
    beat.beat_at = clock.now()
    blocks(1.2)
    beat.beat_at = 0.0
    watchdog.stop()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert re.match(r"task shop.blocks or shop.same has blocked the event loop for \d\.\d s", warnings[0].getMessage())
    assert "while time.monotonic() < until" in warnings[0].getMessage()
    assert beat.watched_at > 0
    beat.close()


async def test_a_loop_with_nothing_to_run_may_sleep(caplog: pytest.LogCaptureFixture) -> None:
    beat, clock = Beat.create(), SystemClock()
    watchdog = Watchdog(beat, clock, [], blocked_s=0.05)
    watchdog.start()
    async with asyncio.timeout(30):
        while not beat.watched_at:  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.01)
    watchdog.stop()
    watchdog.stop()
    assert caplog.records == []
    beat.close()
