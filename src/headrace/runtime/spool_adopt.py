"""Files of processes that are gone: which of them may be taken over.

Invariant: what is of another store, or cannot be read, stays where it is and is told once.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from headrace.runtime.spool_file import ANY_STORE, Head, SpoolFile, Unreadable

logger = logging.getLogger(__name__)

UNNAMED_S: Final = 3600.0


class Finder:
    """Takes files over, and remembers what it told of the others."""

    def __init__(self) -> None:
        """Nothing was looked at."""
        self._told: dict[Path, str] = {}

    def sweep(self, directory: Path) -> None:
        """Remove files that a process died over before they had a name, and so before they held anything."""
        for path in directory.glob("*.new"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > UNNAMED_S:
                    path.unlink()

    def take(self, paths: Sequence[Path], here: Head) -> Iterator[SpoolFile]:
        """The files of one process, in its order, up to the first that is not to be had."""
        for path in paths:
            try:
                file = SpoolFile.take(path)
            except (Unreadable, OSError) as error:
                self._tell(path, f"{error}")
                return
            if file is None:
                return
            if not fits(file, here):
                self.refuse(file, here)
                return
            if file.torn_bytes:
                logger.warning("the last record of %s was not written to its end; it is dropped", path)
            yield file

    def refuse(self, file: SpoolFile, here: Head) -> None:
        """Let go of a file of another store."""
        file.close()
        self._tell(file.path, f"it is for the store {file.head.store}, and this one is {here.store}")

    def _tell(self, path: Path, why: str) -> None:
        if self._told.get(path) != why:
            self._told[path] = why
            logger.error("the spool file %s is left alone: %s; see `headrace doctor`", path, why)


def belongs(path: Path, head: Head, here: Head) -> bool:
    """Whether a file is for this store, or a person said so; while the store's epoch is not known, the address counts.

    The epoch goes along when a store moves, so that what was spooled for the old one belongs into the new one.
    """
    if path.name.endswith(ANY_STORE):
        return True
    return head.fits(here) if here.epoch else head.store == here.store


def fits(file: SpoolFile, here: Head) -> bool:
    """Whether an open file is for this store."""
    return belongs(file.path, file.head, here)
