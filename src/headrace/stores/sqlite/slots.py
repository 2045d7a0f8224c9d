"""Slots: leases as files beside the database, so that no open transaction can block their renewal.

A slot is locked (`flock`) by its worker's process, and by its supervisor through the same open file
description: the lock falls when both are gone, at once, however they went. Inside stands the
instant at which the lease ends. Invariant: a slot appears under its name already locked and filled.
"""

import fcntl
import os
import struct
import tempfile
import threading
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from headrace.core.model import WorkerId

_RECORD: Final = struct.Struct("<d")


class Slot:
    """One worker's slot, held by this process."""

    def __init__(self, path: Path, fd: int) -> None:
        """`fd` is open and locked."""
        self._path = path
        self._fd = fd

    @classmethod
    def create(cls, path: Path, ends_at: float) -> "Slot":
        """A new slot; whoever held one of this name has lost it. Waits for nobody: the file is its own."""
        fd, fresh = tempfile.mkstemp(prefix=".", dir=path.parent)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(fd, _RECORD.pack(ends_at), 0)
            Path(fresh).rename(path)
        except BaseException:
            os.close(fd)
            Path(fresh).unlink(missing_ok=True)
            raise
        return cls(path, fd)

    @classmethod
    def adopt(cls, path: Path, fd: int) -> "Slot":
        """A slot that a supervisor created and handed on: open in this process, it stays locked."""
        return cls(path, fd)

    @property
    def fd(self) -> int:
        """For `pass_fds`: inherited, it is the same lock."""
        return self._fd

    @property
    def lost(self) -> bool:
        """Whether somebody took the slot away."""
        return os.fstat(self._fd).st_nlink == 0

    def renew(self, now: float, lease_s: float) -> bool:
        """Extend the lease; False: it had ended, or was taken away."""
        record = os.pread(self._fd, _RECORD.size, 0)
        if self.lost or _RECORD.unpack(record)[0] <= now:
            return False
        os.pwrite(self._fd, _RECORD.pack(now + lease_s), 0)
        return True

    def close(self) -> None:
        """Let go of the lock, unless another process holds it too."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Slots:
    """The slots beside one database, and those that this process holds. For any number of threads."""

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        """`clock` is one that all processes of the machine share."""
        self._directory = directory
        self._clock = clock
        self._held: dict[WorkerId, Slot] = {}
        self._lock = threading.Lock()  # over what is held: one thread must not close what another renews

    def open(self) -> None:
        """Make the directory."""
        self._directory.parent.mkdir(mode=0o700, exist_ok=True)
        self._directory.mkdir(mode=0o700, exist_ok=True)

    def path(self, worker: WorkerId) -> Path:
        """Where a worker's slot is."""
        return self._directory / urllib.parse.quote(worker, safe="@+=,:")

    def take(self, worker: WorkerId, lease_s: float) -> None:
        """Give a worker its slot, or extend the one it has."""
        with self._lock:
            held = self._held.get(worker)
            if held is not None:
                if held.renew(self._clock(), lease_s):
                    return
                self._held.pop(worker).close()
            self._held[worker] = Slot.create(self.path(worker), self._clock() + lease_s)

    def adopt(self, worker: WorkerId, fd: int) -> None:
        """Keep a slot open that the supervisor handed on."""
        os.set_inheritable(fd, False)
        with self._lock:
            self._held[worker] = Slot.adopt(self.path(worker), fd)

    def fd(self, worker: WorkerId) -> int:
        """The descriptor to hand on."""
        return self._held[worker].fd

    def renew(self, worker: WorkerId, lease_s: float) -> bool:
        """Extend a lease, held here or elsewhere; False: it has ended."""
        with self._lock:
            held = self._held.get(worker)
            if held is not None:
                return held.renew(self._clock(), lease_s)
        try:
            fd = os.open(self.path(worker), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        passing = Slot(self.path(worker), fd)
        try:
            return passing.renew(self._clock(), lease_s)
        finally:
            passing.close()

    def alive(self, worker: WorkerId) -> bool:
        """Whether somebody holds the slot and its lease has not ended."""
        try:
            fd = os.open(self.path(worker), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            record = os.pread(fd, _RECORD.size, 0)
            return bool(_RECORD.unpack(record)[0] > self._clock())
        else:
            return False
        finally:
            os.close(fd)

    def remove(self, *workers: WorkerId) -> None:
        """Take slots away."""
        for worker in workers:
            with self._lock:
                held = self._held.pop(worker, None)
                self.path(worker).unlink(missing_ok=True)
                if held is not None:
                    held.close()

    def close(self) -> None:
        """Let go of every slot; the files stay, free, for whoever reaps."""
        with self._lock:
            for slot in self._held.values():
                slot.close()
            self._held.clear()
