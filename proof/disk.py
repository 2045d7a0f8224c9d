"""A disk that gets full: a small tmpfs of our own, or a limit of the kernel's on the processes' files."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from proof.backing import Refusal

MIB: Final = 2**20
STEP: Final = 1 << 20
LIMIT_BYTES: Final = 4096  # so that what is small and in place can still be written, as on a full disk


class Disk:
    """A folder for the database, and the power to refuse writes in it."""

    def __init__(self, folder: Path, mebibytes: int, wish: str) -> None:
        """Mounts, where `wish` and the system allow it."""
        self.folder = folder
        folder.mkdir()
        self._mounted = False
        why = "not asked for"
        if wish in ("auto", "tmpfs"):
            why = self._mount(mebibytes)
        if self._mounted:
            self.refusal = Refusal("a tmpfs filled to the last byte")
        elif wish != "tmpfs" and hasattr(resource, "prlimit"):
            self.refusal = Refusal("RLIMIT_FSIZE on every process", f"a tmpfs: {why}")
        else:
            self.refusal = Refusal(None, why)

    @property
    def place(self) -> str:
        """What kind of file system it is."""
        return "tmpfs" if self._mounted else "the disk of the temporary directory"

    def _mount(self, mebibytes: int) -> str:
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0700", "headrace-proof", str(self.folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return str(error)
        self._mounted = done.returncode == 0
        return done.stderr.strip()

    @contextmanager
    def refused(self, pids: Callable[[], Iterable[int]]) -> Iterator[None]:
        """Writes fail while this is entered; nothing if it is not possible here."""
        if self._mounted:
            ballast = self.folder / "ballast"
            try:
                _fill(ballast)
                yield
            finally:
                ballast.unlink(missing_ok=True)
        elif self.refusal.how is not None:
            limited = list(pids())
            try:
                for pid in limited:
                    _limit(pid, LIMIT_BYTES)
                yield
            finally:
                for pid in {*limited, *pids()}:  # a child has its parent's limit
                    _limit(pid, resource.RLIM_INFINITY)
        else:
            yield

    def close(self) -> None:
        """Unmount."""
        if self._mounted:
            self._mounted = False
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False)


def _fill(ballast: Path) -> None:
    """Until the system takes not one byte more."""
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = STEP
        while size:
            try:
                os.write(fd, bytes(size))
            except OSError:
                size //= 2
    finally:
        os.close(fd)


def _limit(pid: int, size: int) -> None:
    """Only the soft limit: it can be raised again."""
    with suppress(ProcessLookupError, PermissionError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(
            pid, resource.RLIMIT_FSIZE, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard)
        )
