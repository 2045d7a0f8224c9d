"""Hints within a process, and between the processes of one machine by FIFOs in a directory.

Every listening process keeps one FIFO per kind of hint, named `<kind>-<pid>-<random>.fifo`, for as
long as somebody in it listens. So a process that only writes wakes only those who want to hear, and
an empty directory says that publishing is useless. A FIFO whose reader died is removed by whoever
finds out.
"""

import asyncio
import errno
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from headrace.notifiers.listeners import KINDS, MANY_JOBS, Listeners, concerns, kind_of
from headrace.ports.notifier import Health, Hint, Listener

MESSAGE_BYTES_MAX: Final = 512  # POSIX's smallest PIPE_BUF: shorter writes never interleave
READ_BYTES: Final = 65_536


class LocalNotifier:
    """A bell for one machine; with `directory` None, for one process.

    The directory is made when it is first needed, for its owner only.
    """

    working = False
    """Never known: a FIFO that is full takes nothing, and looking costs little on one machine."""
    health = Health("local", working=None)

    def __init__(self, directory: Path | None) -> None:
        self._directory: Final = directory
        self._lock: Final = threading.Lock()
        self._listeners: Final = Listeners()
        self._readers: dict[str, tuple[str, int]] = {}  # kind -> FIFO's name, descriptor
        self._writers: dict[str, int] = {}  # FIFO's name -> descriptor
        self._seen: int | None = None  # the directory's mtime when it was last read

    async def start(self) -> None:
        """Begin to hear on the running loop."""
        loop = asyncio.get_running_loop()
        if self._listeners.loop is loop:
            return
        await self.stop()
        self._listeners.hear_on(loop)
        self._listen()

    async def stop(self) -> None:
        """Stop hearing; remove our FIFOs and close every descriptor. Publishing still works."""
        loop = self._listeners.loop
        self._listeners.hear_on(None)
        for kind in tuple(self._readers):
            self._close_reader(kind, loop)
        with self._lock:
            for fd in self._writers.values():
                os.close(fd)
            self._writers.clear()
            self._seen = None

    def publish(self, hints: Iterable[Hint]) -> None:
        """Ring for these hints, in this process and in every other that listens for their kind."""
        wanted = frozenset(hints)
        if not wanted:
            return
        self._listeners.ring(wanted)
        if self._directory is None:
            return
        with self._lock:
            self._look()
            for name in tuple(self._writers):
                kind = name.partition("-")[0]
                for message in _messages([hint for hint in wanted if kind_of(hint) == kind]):
                    if not self._write(name, message):
                        break

    def wants(self, prefix: str) -> bool:
        """Whether somebody here subscribed, or another process keeps a FIFO for this kind."""
        kinds = [kind for kind in KINDS if concerns(prefix, kind)]
        if not self._listeners.kinds().isdisjoint(kinds):
            return True
        if self._directory is None:
            return False
        with self._lock:
            self._look()
            return any(name.partition("-")[0] in kinds for name in self._writers)

    def subscribe(self, prefixes: tuple[str, ...], listener: Listener) -> Callable[[], None]:
        """Call `listener` on the loop of `start`; both this and its end are called on that loop."""
        subscription = self._listeners.add(prefixes, listener)
        self._listen()

        def unsubscribe() -> None:
            self._listeners.remove(subscription)
            self._listen()

        return unsubscribe

    # -- hearing ------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Have a FIFO for each kind that somebody here listens for, and no other."""
        loop = self._listeners.loop
        if loop is None or self._directory is None:
            return
        wanted = self._listeners.kinds()
        for kind in wanted - self._readers.keys():
            self._open_reader(kind, self._directory, loop)
        for kind in self._readers.keys() - wanted:
            self._close_reader(kind, loop)

    def _open_reader(self, kind: str, directory: Path, loop: asyncio.AbstractEventLoop) -> None:
        name = f"{kind}-{os.getpid()}-{secrets.token_hex(4)}.fifo"
        made = directory / f".{name}"
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        os.mkfifo(made, 0o600)
        # Read-write, so that it never comes to an end when the last writer goes. It gets its name
        # after it has a reader, so that no writer takes it for an orphan.
        fd = os.open(made, os.O_RDWR | os.O_NONBLOCK)
        with self._lock:
            self._readers[kind] = (name, fd)
        loop.add_reader(fd, self._read, fd)
        made.rename(directory / name)
        # Two changes within one tick of the file system's clock leave the same mtime behind; a random
        # one can't be mistaken for an earlier one.
        mtime_ns = secrets.randbits(60)
        os.utime(directory, ns=(mtime_ns, mtime_ns))

    def _close_reader(self, kind: str, loop: asyncio.AbstractEventLoop | None) -> None:
        with self._lock:
            name, fd = self._readers.pop(kind)
        if loop is not None and not loop.is_closed():
            loop.remove_reader(fd)
        if self._directory is not None:
            (self._directory / name).unlink(missing_ok=True)
        os.close(fd)

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        hints = set(data.decode(errors="replace").split("\n"))
        hints.discard("")
        if len(data) > READ_BYTES - 2 * MESSAGE_BYTES_MAX and any(hint.startswith("job:") for hint in hints):
            hints.add(MANY_JOBS)  # the FIFO was full: some may have been dropped
        self._listeners.call(frozenset(hints))

    # -- ringing others -----------------------------------------------------------------------------

    def _look(self) -> None:
        """Know the FIFOs of the other processes; reads the directory only when it changed."""
        if self._directory is None:
            return
        try:
            changed = os.stat(self._directory).st_mtime_ns  # noqa: PTH116 - on the way of every commit
            if changed == self._seen:
                return
            ours = {name for name, _ in self._readers.values()}
            found = {name for name in os.listdir(self._directory) if _is_fifo(name)} - ours  # noqa: PTH208
        except OSError:  # not made yet, or taken away: then nobody listens
            found = set[str]()
            changed = None
        self._seen = changed
        for name in self._writers.keys() - found:
            os.close(self._writers.pop(name))
        for name in found - self._writers.keys():
            self._open_writer(self._directory / name)

    def _open_writer(self, path: Path) -> None:
        try:
            self._writers[path.name] = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:  # its reader died
                _remove(path)

    def _write(self, name: str, message: bytes) -> bool:
        try:
            os.write(self._writers[name], message)
        except BlockingIOError:  # full: its reader has plenty to wake up for
            return False
        except OSError:  # its reader died
            os.close(self._writers.pop(name))
            if self._directory is not None:
                _remove(self._directory / name)
            return False
        return True


def _is_fifo(name: str) -> bool:
    return name.endswith(".fifo") and name.partition("-")[0] in KINDS


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # somebody else's to remove


def _messages(hints: Sequence[Hint]) -> Iterable[bytes]:
    """Lines, packed into messages that a FIFO takes whole; what cannot be a line is left out."""
    message = b""
    for hint in hints:
        line = hint.encode(errors="replace") + b"\n"
        if len(line) > MESSAGE_BYTES_MAX or "\n" in hint:
            continue
        if len(message) + len(line) > MESSAGE_BYTES_MAX:
            yield message
            message = b""
        message += line
    if message:
        yield message
