"""What `headrace doctor` looks at on SQLite: its version, the database file, its rights, its disk, who writes.

Every check is a function that says what it saw; none changes anything.
"""

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headrace.cli.checks import Check, fail, ok, warn
from headrace.cli.output import size

MIB: Final = 1 << 20
DISK_MIN_BYTES, DISK_GOOD_BYTES = 16 * MIB, 256 * MIB
WAL_BIG_BYTES: Final = 256 * MIB
SQLITE_HEAD: Final = b"SQLite format 3\0"
SQLITE_MIN: Final = (3, 35, 0)
WAL_BUG: Final = ((3, 7, 0), (3, 51, 2))
WAL_BUG_MENDED: Final = {(3, 44, 6), (3, 50, 7)}
REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "ceph", "glusterfs"})


def check_sqlite_version(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> Iterator[Check]:
    """Whether this SQLite can do what the store asks, and whether it has the WAL-reset bug."""
    text = ".".join(map(str, version))
    if version < SQLITE_MIN:
        yield fail("sqlite", f"SQLite {text} is too old", f"use a Python built with {'.'.join(map(str, SQLITE_MIN))}+")
    elif WAL_BUG[0] <= version <= WAL_BUG[1] and version not in WAL_BUG_MENDED:
        yield warn(
            "sqlite",
            f"SQLite {text} has the WAL-reset bug (two connections that checkpoint at one moment may damage the file);"
            " Headrace never does that, other programs on the same file may",
            "in those, run `PRAGMA wal_autocheckpoint=0`; or use SQLite 3.51.3, 3.50.7 or 3.44.6",
        )
    else:
        yield ok("sqlite", f"SQLite {text}")


def check_file(path: Path) -> Iterator[Check]:
    """The database file and its directory: there, ours, writable, on a disk that suits."""
    parent = path.parent
    if not parent.is_dir():
        yield fail("database file", f"the directory {parent} does not exist", f"`mkdir -p {parent}`")
        return
    yield from _check_directory(parent)
    if not path.exists():
        yield warn("database file", f"{path} does not exist yet", "the first start makes it, or `headrace migrate`")
        return
    if not path.is_file():
        yield fail("database file", f"{path} is not a file", "name another with HEADRACE_STORE")
        return
    if not os.access(path, os.R_OK | os.W_OK):
        owner = path.stat()
        yield fail(
            "database file",
            f"{path} is read-only for this user (it belongs to uid {owner.st_uid}, mode {owner.st_mode & 0o777:o})",
            f"run as its owner, or `chmod u+rw {path}`",
        )
        return
    with path.open("rb") as file:
        head = file.read(len(SQLITE_HEAD))
    if head and head != SQLITE_HEAD:
        yield fail("database file", f"{path} is not a SQLite database", "name another with HEADRACE_STORE")
        return
    yield from _check_rights(path)
    yield from _check_wal(path)


def _check_directory(parent: Path) -> Iterator[Check]:
    if not os.access(parent, os.W_OK | os.X_OK):
        yield fail("directory", f"{parent} is read-only for this user", "SQLite writes beside the file: give it rights")
    kind = file_system(parent)
    if kind in REMOTE:
        yield fail("directory", f"{parent} is on a network file system ({kind}), where SQLite's log does not work",
                   "keep the database on a local disk")  # fmt: skip
    free = shutil.disk_usage(parent).free
    mend = f"make room on the disk of {parent}"
    if free < DISK_MIN_BYTES:
        yield fail("disk", f"{size(free)} free", mend)
    elif free < DISK_GOOD_BYTES:
        yield warn("disk", f"{size(free)} free", mend)
    else:
        yield ok("disk", f"{size(free)} free")


def _check_rights(path: Path) -> Iterator[Check]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & stat.S_IWOTH:
        yield fail("file rights", f"anybody on this machine may write {path} (mode {mode:o})", f"`chmod o-w {path}`")
    elif mode & stat.S_IROTH:
        yield warn("file rights", f"anybody on this machine may read {path}, arguments and results included"
                   f" (mode {mode:o})", f"`chmod o-r {path}`")  # fmt: skip
    else:
        yield ok("file rights", f"mode {mode:o}")


def _check_wal(path: Path) -> Iterator[Check]:
    wal = path.with_name(f"{path.name}-wal")
    try:
        length = wal.stat().st_size
    except FileNotFoundError:
        length = 0
    shown = f"{size(path.stat().st_size)}, log {size(length)}"
    if length > WAL_BIG_BYTES:
        yield warn("database file", f"{path}: {shown}; a long read transaction holds the log back",
                   "end programs that keep a transaction open")  # fmt: skip
    else:
        yield ok("database file", f"{path}: {shown}")


def check_side_directory(path: Path) -> Iterator[Check]:
    """The directory of leases and wake-ups beside the database."""
    side = path.with_name(f"{path.name}-headrace")
    if not side.exists():
        yield ok("side directory", f"{side} is made by the first worker")
        return
    if not os.access(side, os.R_OK | os.W_OK | os.X_OK):
        yield fail("side directory", f"{side} may not be used by this user", f"run as its owner, or `chown` {side}")
        return
    mode = stat.S_IMODE(side.stat().st_mode)
    if mode & 0o077:
        yield warn("side directory", f"others on this machine may enter {side} (mode {mode:o})", f"`chmod 700 {side}`")
        return
    fifos = sum(1 for found in side.rglob("*") if found.is_fifo())
    yield ok("side directory", f"{side}; {fifos} wake-up pipes")


def file_system(path: Path) -> str:
    """The kind of file system that holds `path`; empty where the system does not say."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    here = path.resolve()
    best = ("", "")
    for mount in mounts:
        _, point, kind, *_ = mount.split(" ")
        point = point.replace("\\040", " ")
        if here.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def check_lock(path: Path) -> Iterator[Check]:
    """Who writes just now."""
    from headrace.stores.sqlite.holder import program, write_lock_holder

    holder = write_lock_holder(str(path))
    if holder is None:
        yield ok("write lock", "free")
    else:
        yield warn(
            "write lock",
            f"held by process {holder} ({program(holder) or 'unknown'}) when it was looked at",
            "no harm if it comes and goes; a transaction that stays open stops every enqueue",
        )


def check_move(path: Path) -> Iterator[Check]:
    """Whether a move to another store has begun and not ended."""
    from headrace.stores.sqlite import moving
    from headrace.stores.sqlite.connection import connect

    try:
        connection = connect(str(path), reader=True)
    except sqlite3.Error:
        return  # said elsewhere
    try:
        record = None if moving.moved_to(connection) is not None else moving.record(connection)
    except sqlite3.Error:
        return  # no schema of ours
    finally:
        connection.close()
    if record is not None:
        mend = f"the same `headrace move` goes on; `headrace move --abort sqlite:///{path}` gives it up"
        yield warn("move", f"a move to {record.to} has begun and not ended", mend)
