"""What a worker and its supervisor let each other read even while one cannot run a single line of Python.

Some bytes of memory that both processes map. Each number is written by one side only and is one
aligned 8-byte store; the text beside them is for log lines, and may be torn.
"""

import mmap
import os
import sys
import tempfile
from typing import Final, Self

_BEAT_AT, _KILL_AT, _RUNNING, _WATCHED_AT, _HELD_UNTIL = range(5)
_NUMBERS: Final = 5 * 8
_TEXT_MAX: Final = 224
_SIZE: Final = _NUMBERS + 2 + _TEXT_MAX


class Beat:
    """A worker's signs of life, and until when it holds its lease: monotonic seconds of the machine, 0 for none."""

    __slots__ = ("_map", "_numbers", "fd")

    def __init__(self, memory: mmap.mmap | bytearray, fd: int = -1) -> None:
        """Keep them in `memory`; this object owns it, and `fd` behind it, from now on."""
        self.fd: Final = fd
        self._map: Final = memory
        self._numbers: Final = memoryview(self._map)[:_NUMBERS].cast("d")

    @classmethod
    def private(cls) -> Self:
        """A new one, all 0, that no other process reads."""
        return cls(bytearray(_SIZE))

    @classmethod
    def create(cls) -> Self:
        """A new one, all 0; hand its `fd` to a child by `pass_fds`."""
        if sys.platform == "linux":
            fd = os.memfd_create("headrace-beat", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile(prefix="headrace-beat-") as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, _SIZE)
        return cls(mmap.mmap(fd, _SIZE), fd)

    @classmethod
    def adopt(cls, fd: int) -> Self:
        """The one that a parent created; children of this process don't get it."""
        os.set_inheritable(fd, False)
        return cls(mmap.mmap(fd, _SIZE), fd)

    @property
    def beat_at(self) -> float:
        """When the event loop last said that it turns; 0 while nobody needs to know."""
        return self._numbers[_BEAT_AT]

    @beat_at.setter
    def beat_at(self, at: float) -> None:
        self._numbers[_BEAT_AT] = at

    @property
    def kill_at(self) -> float:
        """When the process is to be killed because an attempt outlived its timeout and grace."""
        return self._numbers[_KILL_AT]

    @kill_at.setter
    def kill_at(self, at: float) -> None:
        self._numbers[_KILL_AT] = at

    @property
    def running(self) -> int:
        """How many attempts run."""
        return int(self._numbers[_RUNNING])

    @running.setter
    def running(self, count: int) -> None:
        self._numbers[_RUNNING] = count

    @property
    def watched_at(self) -> float:
        """When a thread beside the loop last ran: stale together with `beat_at`, the interpreter is held."""
        return self._numbers[_WATCHED_AT]

    @watched_at.setter
    def watched_at(self, at: float) -> None:
        self._numbers[_WATCHED_AT] = at

    @property
    def held_until(self) -> float:
        """Until when the worker surely holds its lease, as its supervisor knows; 0 while it has not said."""
        return self._numbers[_HELD_UNTIL]

    @held_until.setter
    def held_until(self, until: float) -> None:
        self._numbers[_HELD_UNTIL] = until

    def holds(self, now: float) -> bool:
        """Whether the worker surely holds its lease; yes, while nobody has said how long."""
        return not self.held_until or now < self.held_until

    @property
    def what(self) -> str:
        """The attempt that `kill_at` is about, in words for the log."""
        length = min(int.from_bytes(self._map[_NUMBERS : _NUMBERS + 2]), _TEXT_MAX)
        return self._map[_NUMBERS + 2 : _NUMBERS + 2 + length].decode(errors="replace")

    @what.setter
    def what(self, text: str) -> None:
        data = text.encode(errors="replace")[:_TEXT_MAX]
        self._map[_NUMBERS : _NUMBERS + 2 + len(data)] = len(data).to_bytes(2) + data

    def close(self) -> None:
        """Let go of the memory. Idempotent."""
        self._numbers.release()
        if isinstance(self._map, mmap.mmap) and not self._map.closed:
            self._map.close()
            os.close(self.fd)
