"""What a member of a group is called: by a name that nobody else has now, and that its successor takes over at once.

Kafka waits for a member that vanished until its session ends, unless one of the same name joins. So a name is a
number of this machine, the lowest that no living process holds: a lock on a file that dies with its process. The
directory of those files has an identity of its own, so that who does not see the same files has other names.
"""

import fcntl
import os
import platform
import secrets
import tempfile
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final, Self

NUMBERS_MAX: Final = 256
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class Member:
    """A name, held as long as this object lives, or its process."""

    def __init__(self, name: str, fd: int | None = None) -> None:
        """`fd` holds the lock; None: the name is random, and nobody's."""
        self.name: Final = name
        self._fd = fd

    def __del__(self) -> None:
        """Others may have it."""
        if self._fd is not None:
            os.close(self._fd)

    @classmethod
    def take(cls, place: str, within: Path | None = None) -> Self:
        """A name for taking from `place`; random where files cannot be locked."""
        try:
            folder = _folder(within)
            return cls._numbered(folder, blake2b(place.encode(), digest_size=8).hexdigest())
        except OSError:
            return cls(f"headrace-{secrets.token_hex(8)}")

    @classmethod
    def _numbered(cls, folder: Path, place: str) -> Self:
        identity = _identity(folder)
        for number in range(NUMBERS_MAX):
            fd = os.open(folder / f"{place}-{number}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                continue
            return cls(f"headrace-{identity}-{number}", fd)
        raise OSError(f"{NUMBERS_MAX} members on this machine already")


def _folder(within: Path | None) -> Path:
    """A directory that is ours alone.

    Raises:
        OSError: it cannot be had.
    """
    folder = (within or Path(tempfile.gettempdir())) / f"headrace-members-{os.geteuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise PermissionError(f"{folder} is not ours")
    return folder


def _identity(folder: Path) -> str:
    """Of the directory, on this machine, since it was started: a copy of either is another."""
    made = folder / "identity"
    if not made.exists():
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            file.write(secrets.token_hex(16))
        with suppress(FileExistsError):
            os.link(file.name, made)
        Path(file.name).unlink()
    boot = _BOOT.read_text("ascii") if _BOOT.exists() else ""
    told = f"{made.read_text('ascii')} {boot} {platform.node()}"
    return blake2b(told.encode(), digest_size=8).hexdigest()
