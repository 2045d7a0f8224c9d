"""How many bodies have started, and when the first and the last one did; shared by mapped memory.

A hit costs well under a microsecond. Only one process at a time may hit one meter.
"""

import mmap
import os
import time
from pathlib import Path

FOLDER_VARIABLE = "HEADRACE_BENCH_FOLDER"
"""Tells a worker process where this measurement keeps its files."""

_COUNT, _FIRST, _LAST = range(3)
_BYTES = 3 * 8


def shared_folder() -> Path:
    """Where this measurement keeps its files, in a worker process."""
    return Path(os.environ.get(FOLDER_VARIABLE, "."))


class Meter:
    """One file of three numbers."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_BYTES))
        with path.open("r+b") as file:
            self._cells = memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("d")

    def hit(self) -> None:
        cells = self._cells
        now = time.time()
        cells[_LAST] = now
        if not cells[_COUNT]:
            cells[_FIRST] = now
        cells[_COUNT] += 1

    def reset(self) -> None:
        for cell in (_COUNT, _FIRST, _LAST):
            self._cells[cell] = 0.0

    @property
    def count(self) -> int:
        return int(self._cells[_COUNT])

    @property
    def rate(self) -> float:
        """Starts per second, from the first to the last."""
        elapsed = self._cells[_LAST] - self._cells[_FIRST]
        return (self.count - 1) / elapsed if elapsed > 0 else 0.0
