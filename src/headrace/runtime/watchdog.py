"""Who blocks the event loop: the task's name and its stack.

Two pairs of eyes. A thread beside the loop sees a blocked loop, and reads the stack as Python
objects. If one C call holds the interpreter, that thread is held up too: then the supervisor sees
it, has `faulthandler` write the stacks by a signal, and finds the task by file and line.
"""

import faulthandler
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from inspect import unwrap
from types import CodeType, FrameType
from typing import Any, Final

from headrace.ports.clock import Clock
from headrace.runtime.beat import Beat

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.25
BEAT_EVERY_S: Final = 0.25  # how often a worker's loop beats while attempts run
NAMES_MAX: Final = 3  # of tasks that have their code in common
STACKS_SIGNAL: Final = signal.SIGURG  # ignored where nobody asked for it, so that sending it is safe
_FRAME: Final = re.compile(r'^ +File "(.+)", line (\d+) in ', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task's function stands."""

    task: str
    file: str
    first: int
    last: int

    @classmethod
    def of(cls, task: str, function: Callable[..., Any]) -> "Place | None":
        """The place of a function written in Python; None for others."""
        code = _code(function)
        if code is None:
            return None
        lines = [line for _, _, line in code.co_lines() if line is not None]
        return cls(task, code.co_filename, code.co_firstlineno, max(lines, default=code.co_firstlineno))


def _code(function: Callable[..., Any]) -> CodeType | None:
    code = getattr(unwrap(function), "__code__", None)
    return code if isinstance(code, CodeType) else None


def find_tasks(stacks: str, places: Iterable[Place]) -> list[str]:
    """The tasks that these stacks, as `faulthandler` writes them, are in."""
    frames = {(file, int(line)) for file, line in _FRAME.findall(stacks)}
    found = {
        place.task for place in places for file, line in frames
        if file == place.file and place.first <= line <= place.last
    }  # fmt: skip
    return sorted(found)


def write_stacks_on_signal(fd: int) -> None:
    """Have every thread's stack written to `fd` when `STACKS_SIGNAL` comes, whatever the interpreter does."""
    os.set_inheritable(fd, False)
    faulthandler.register(STACKS_SIGNAL, file=fd, all_threads=True, chain=False)


class Watchdog:
    """A thread that warns when attempts run and the loop has not turned for `blocked_s`, once per stall."""

    def __init__(
        self, beat: Beat, clock: Clock, tasks: Sequence[tuple[str, Callable[..., Any]]], blocked_s: float = 0.5
    ) -> None:
        """`tasks` pairs names with functions. Make it on the thread of the loop that it watches."""
        self._beat: Final = beat
        self._clock: Final = clock
        self._blocked_s: Final = blocked_s
        self._names: Final[dict[CodeType, list[str]]] = {}  # those of one factory have their code in common
        for name, function in tasks:
            if (code := _code(function)) is not None:
                self._names.setdefault(code, []).append(name)
        self._watched: Final = threading.get_ident()
        self._ended: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._watch, name="headrace-watchdog", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Idempotent."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        reported = 0.0
        while not self._ended.wait(LOOK_EVERY_S):
            now = self._clock.now()
            self._beat.watched_at = now
            at = self._beat.beat_at
            late_s = now - at - BEAT_EVERY_S
            if at and at != reported and late_s > self._blocked_s:
                reported = at
                self._report(late_s)

    def _report(self, late_s: float) -> None:
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - documented, for such uses
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        name = self._task_in(frame) or "something other than a task"
        log.warning("%s has blocked the event loop for %.1f s; its lease stays alive\n%s", name, late_s, stack)

    def _task_in(self, frame: FrameType | None) -> str | None:
        while frame is not None:
            if (names := self._names.get(frame.f_code)) is not None:
                return f"task {' or '.join(names[:NAMES_MAX])}" + (" or another" if len(names) > NAMES_MAX else "")
            frame = frame.f_back
        return None
