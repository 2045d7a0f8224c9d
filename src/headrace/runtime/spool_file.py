"""The files of a spool: how records stand in them, and one file that is written, locked and read.

A file is lines of JSON, each behind the CRC-32 of its text: a head that names the store, then one line per enqueue. It
gets its name when its head and its first records are on the disk and its lock is held, so that whoever finds it
unlocked knows that its writer is gone. Invariant: what an `append` that returned has written is read again, whatever
becomes of the process; a line that is not as it was written is never taken for a record.
"""

import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Final, cast

from headrace.core.model import JobId, NewJob

VERSION: Final = 1
SUFFIX: Final = ".spool"
ANY_STORE: Final = ".any.spool"
"""A person who gives a file this ending says that its jobs may go to whatever store the app is on."""
DAMAGED: Final = ".damaged"
REJECTED: Final = "rejected.jsonl"
_DIGEST: Final = 9  # eight digits and a blank
_OMITTED: Final = frozenset({"fresh"})  # only true in the call that made the id


@dataclass(frozen=True, slots=True)
class Head:
    """The first line: which store the jobs are for. `epoch` is empty where the writer had never reached it."""

    store: str
    epoch: str
    made_at: float
    version: int = VERSION

    def fits(self, other: "Head") -> bool:
        """Whether what was spooled under this head belongs into the store of `other`."""
        return self.epoch == other.epoch if self.epoch else self.store == other.store


@dataclass(frozen=True, slots=True)
class Record:
    """The jobs of one enqueue, and where in the file their line begins and ends."""

    jobs: tuple[NewJob, ...]
    begin: int
    end: int


class Unreadable(Exception):
    """A file whose head is damaged, or of another version."""


def frame(value: object) -> bytes:
    """One line."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def unframe(line: bytes) -> Any:
    """What stands in a line; None: it is not as it was written."""
    text = line[_DIGEST:-1]
    if line[-1:] != b"\n" or line[:_DIGEST] != b"%08x " % zlib.crc32(text):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def job_record(jobs: Sequence[NewJob]) -> bytes:
    """The line of one enqueue; what is as by default is left out."""
    return frame({"jobs": [_told(job) for job in jobs]})


def read_jobs(line: bytes) -> tuple[NewJob, ...] | None:
    """The jobs of a line; None: it is damaged, or none of ours."""
    try:
        return tuple(_job(told) for told in unframe(line)["jobs"])
    except (KeyError, TypeError, ValueError):
        return None


def _told(job: NewJob) -> dict[str, object]:
    told: dict[str, object] = {}
    for each in fields(NewJob):
        value: object = getattr(job, each.name)
        if each.name not in _OMITTED and (each.default is MISSING or value != each.default):
            told[each.name] = value.hex() if isinstance(value, bytes) else value
    return told


def _job(told: dict[str, Any]) -> NewJob:
    lists = {name: tuple(cast("list[object]", value)) for name, value in told.items() if isinstance(value, list)}
    given: dict[str, Any] = {**told, **lists, "id": bytes.fromhex(told["id"])}
    return NewJob(**given)


class SpoolFile:
    """One file under its lock: written by its process, or taken over from one that is gone."""

    def __init__(self, path: Path, descriptor: int, head: Head, begin: int, size: int) -> None:
        """Made by `create` and `take`; `size` is what is known to be on the disk."""
        self.path = path
        self.head = head
        self.size = size
        self.at = begin  # what is before it has been brought to the store
        self.jobs: set[JobId] = set()  # that are in it and not yet brought
        self.sealed = False
        self.damaged = False
        self.torn_bytes = 0
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path, head: Head, first: bytes) -> tuple["SpoolFile", int]:
        """A new file that begins with these records, on the disk and locked; and where they begin.

        Raises:
            OSError: nothing is left of it.
        """
        made = path.with_suffix(".new")
        descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            line = frame({"version": head.version, "store": head.store, "epoch": head.epoch, "made_at": head.made_at})
            _write(descriptor, line + first, 0)
            sync(descriptor)
            made.rename(path)
            sync_directory(path.parent)
        except BaseException:
            with suppress(OSError):
                made.unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return cls(path, descriptor, head, len(line), len(line) + len(first)), len(line)

    @classmethod
    def take(cls, path: Path) -> "SpoolFile | None":
        """The file of a process that is gone, locked; None: its process lives, or another one was quicker.

        Raises:
            Unreadable: its head is damaged, or of another version.
            OSError: it may not be read.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino != os.fstat(descriptor).st_ino:  # it was removed before the lock was let go
                os.close(descriptor)
                return None
            head, begin = read_head(descriptor)
            found = cls(path, descriptor, head, begin, os.fstat(descriptor).st_size)
        except (BlockingIOError, FileNotFoundError):
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        found.sealed = True
        found.torn_bytes = found.torn()
        found.size -= found.torn_bytes
        return found

    def append(self, data: bytes) -> int:
        """Put records at the end, on the disk; where they begin.

        Raises:
            OSError: nothing of them is there; after a failed flush nothing may be appended any more.
        """
        begin = self.size
        try:
            _write(self._descriptor, data, begin)
            sync(self._descriptor)
        except OSError:
            self.sealed = True
            os.ftruncate(self._descriptor, begin)
            raise
        self.size = begin + len(data)
        return begin

    def records(self, begin: int, bytes_max: int) -> list[Record]:
        """The records from `begin` on, at least one if there is any, else up to `bytes_max`.

        A damaged line is left out, and then `damaged`; what comes after the last whole line is none.
        """
        found: list[Record] = []
        for line, at in lines(self._read(begin, bytes_max), begin):
            jobs = read_jobs(line)
            if jobs is None:
                self.damaged = True
            found.append(Record(jobs or (), at, at + len(line)))
        return found

    def torn(self) -> int:
        """How many bytes follow the last whole line: what was being written when the power went."""
        data = os.pread(self._descriptor, self.size, 0)
        return len(data) - (data.rfind(b"\n") + 1)

    def _read(self, begin: int, bytes_max: int) -> bytes:
        """Whole lines, up to `bytes_max`, or one."""
        length = self.size - begin
        data = os.pread(self._descriptor, min(length, bytes_max), begin)
        whole = data.rfind(b"\n") + 1
        if not whole and length > bytes_max:
            data = os.pread(self._descriptor, length, begin)
            whole = data.find(b"\n") + 1
        return data[:whole] if whole else data

    def set_aside(self) -> None:
        """Keep what is on the disk now beside the spool, for a person to look at."""
        with suppress(FileExistsError):
            os.link(self.path, self.path.with_name(self.path.name + DAMAGED))

    def remove(self) -> None:
        """All of it is in the store."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of it: from now on, another process may take it over."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def lines(data: bytes, begin: int = 0) -> Iterator[tuple[bytes, int]]:
    """The whole lines, and where each begins."""
    at = 0
    while (end := data.find(b"\n", at) + 1) > 0:
        yield data[at:end], begin + at
        at = end


def read_head(descriptor: int) -> tuple[Head, int]:
    """The head of an open file, and where the records begin.

    Raises:
        Unreadable: it is damaged, or of another version.
    """
    line, _, _ = os.pread(descriptor, 1 << 16, 0).partition(b"\n")
    told = unframe(line + b"\n")
    try:
        version, store, epoch, made_at = (told[name] for name in ("version", "store", "epoch", "made_at"))
        head = Head(str(store), str(epoch), float(made_at), int(version))
    except (KeyError, TypeError, ValueError):
        raise Unreadable("its first line is damaged") from None
    if head.version != VERSION:
        raise Unreadable(f"it is of version {head.version}, and this Headrace reads {VERSION}")
    return head, len(line) + 1


def _write(descriptor: int, data: bytes, at: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, at)
        left, at = left[written:], at + written


def sync(descriptor: int) -> None:
    """Have it on the disk, not only on its way."""
    full: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync alone leaves it in the drive's cache
    if full is None:
        os.fsync(descriptor)
    else:
        fcntl.fcntl(descriptor, full)


def sync_directory(path: Path) -> None:
    """Have the names in a directory on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
