"""What the proof asks of a store: where it is, how to look into it from outside, how to starve it.

A second store is one more file like `sqlite.py`, one line in `BACKINGS`, and its drivers in `shop.DRIVERS`.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from proof.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that runs attempts, as the store knows it."""

    pid: int
    role: str
    supervisor: int
    ready: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """How this run makes the system refuse writes; `how` None: it can't, and `why` says why."""

    how: str | None
    why: str = ""


class Backing(Protocol):
    """One store of one run. Reads go past Headrace."""

    @property
    def name(self) -> str:
        """As in `--store`."""
        ...

    @property
    def url(self) -> str:
        """For HEADRACE_STORE."""
        ...

    @property
    def versions(self) -> dict[str, str]:
        """Of the store's software."""
        ...

    @property
    def place(self) -> str:
        """What the data lies on."""
        ...

    @property
    def refusal(self) -> Refusal:
        """Which refusal of writes it uses."""
        ...

    def prepare(self) -> None:
        """Make the application's own tables; the store's are there."""
        ...

    def workers(self) -> list[Worker]:
        """Those that registered and have not gone."""
        ...

    def running(self) -> dict[int, int]:
        """How many jobs each process runs, by its number."""
        ...

    def unfinished(self, jobs: Iterable[str]) -> list[str]:
        """Those of these jobs that have not ended, or that are not known."""
        ...

    def backlog(self) -> int:
        """How many jobs have not ended."""
        ...

    def refused(self, pids: Callable[[], Iterable[int]]) -> AbstractContextManager[None]:
        """While it is entered the system refuses writes; `pids` are the processes that run."""
        ...

    def restart(self) -> None:
        """Restart the store's server; nothing where there is none."""
        ...

    @property
    def own(self) -> Mapping[str, Callable[[], None]]:
        """Faults that only this store has, by name; each is over when it returns."""
        ...

    def read(self, evidence: Evidence, hurt: Callable[[int], bool]) -> None:
        """Fill in jobs, effects, placed rows, and crashes of processes that `hurt` does not know."""
        ...

    def close(self) -> None:
        """Let go of everything, also of what `prepare` made outside of the run's folder."""
        ...


Opener = Callable[[Path, int, str], Backing]
"""Opens a backing in a folder, for so many jobs, with this kind of refusal (`auto`, `tmpfs`, `limit`)."""
