"""What stands in a spool's directory, for whoever looks without taking anything over; and its list of refused jobs.

Invariant: looking locks nothing for longer than it takes to ask, and changes nothing.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.core.errors import HeadraceError
from headrace.core.ids import as_uuid
from headrace.core.model import NewJob
from headrace.core.wire import instant
from headrace.runtime.spool_file import DAMAGED, REJECTED, SUFFIX, Head, Unreadable, read_head, sync

SHOWN_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Found:
    """One file: `head` is None where it could not be read, and `why` says so."""

    path: Path
    bytes: int
    head: Head | None
    alive: bool  # its process is, or another one has taken it over
    why: str = ""


def by_writer(directory: Path) -> dict[str, list[Path]]:
    """The spool files, each process's in its order, oldest process first."""
    found: dict[str, list[Path]] = {}
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        found.setdefault(path.name.partition(".")[0], []).append(path)
    return found


def look(directory: Path) -> Iterator[Found]:
    """Every spool file that is there."""
    for path in [path for paths in by_writer(directory).values() for path in paths]:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Found(path, 0, None, alive=False, why=str(error.strerror))
            continue
        size = os.fstat(descriptor).st_size
        try:
            yield Found(path, size, read_head(descriptor)[0], alive=_is_locked(descriptor))
        except Unreadable as error:
            yield Found(path, size, None, alive=False, why=str(error))
        finally:
            os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Whether somebody else holds it; asked by a lock that is shared and let go of at once."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def damaged(directory: Path) -> list[Path]:
    """What was set aside."""
    return sorted(directory.glob(f"*{DAMAGED}"))


class Rejections:
    """Jobs that the store refused for good, in one file that all processes add to."""

    def __init__(self, directory: Path) -> None:
        """Nothing is made before the first one."""
        self.path = directory / REJECTED

    @property
    def bytes(self) -> int:
        """Its length."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def add(self, jobs: Sequence[NewJob], error: HeadraceError, now_at: float) -> None:
        """Write the jobs of one enqueue down, with the reason.

        Raises:
            OSError: nothing was added.
        """
        told = [{"id": str(as_uuid(job.id)), "task": job.task, "key": job.key, "args": job.args} for job in jobs]
        line = {"at": instant(now_at), "code": error.code, "reason": str(error), "jobs": told}
        data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            before = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, data) != len(data):
                    raise OSError(28, "No space left on device")  # noqa: TRY301 - as the system says it
                sync(descriptor)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)

    def read(self) -> list[dict[str, object]]:
        """All of them; what was not written to its end is left out."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in data.split(b"\n")[:-1]]


def shown(names: Sequence[object]) -> str:
    """The first few of them."""
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return ", ".join(str(name) for name in names[:SHOWN_MAX]) + more
