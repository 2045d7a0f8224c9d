"""Who holds SQLite's write lock: read from the system's table of locks.

Nothing here opens the database or its -shm file: closing any descriptor of theirs would drop the
locks that SQLite holds for this process.
"""

import os
from pathlib import Path
from typing import Final

_WRITE_LOCK_BYTE: Final = 120  # of the -shm file: WALINDEX_LOCK_OFFSET, the writer's lock
_LOCKS: Final = Path("/proc/locks")


def write_lock_holder(path: str) -> int | None:
    """The pid that holds the write lock of the database at `path`; None: nobody, or not known here."""
    try:
        shm = os.stat(path + "-shm")  # noqa: PTH116 - a name, not a path to walk
        lines = _LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if len(fields) < _FIELDS or fields[1] != "POSIX" or fields[3] != "WRITE":
            continue
        if fields[5].rpartition(":")[2] != str(shm.st_ino):
            continue
        start, end = int(fields[6]), fields[7]
        if start <= _WRITE_LOCK_BYTE and (end == "EOF" or int(end) >= _WRITE_LOCK_BYTE):
            return int(fields[4])
    return None


_FIELDS: Final = 8


def program(pid: int) -> str:
    """What a process runs, for a message; empty: not known."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return " ".join(
        Path(word.decode(errors="replace")).name if at == 0 else word.decode(errors="replace")
        for at, word in enumerate(words[:3])
    ).strip()[:80]
