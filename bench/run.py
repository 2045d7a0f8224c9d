"""One run of the bench: where it writes, how much it does, what it found."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from bench.scale import Scale

Value: TypeAlias = float | int | str


@dataclass(slots=True)
class Run:
    """Figures go into `keys`; every measurement has a folder and a store of its own."""

    root: Path
    scale: Scale
    synchronous: str = "FULL"
    keys: dict[str, Value] = field(default_factory=dict)
    _folders: int = 0

    def folder(self, name: str) -> Path:
        """A new, empty place."""
        self._folders += 1
        folder = self.root / f"{self._folders:02}-{name}"
        folder.mkdir()
        return folder

    def put(self, name: str, value: Value, digits: int = 3) -> None:
        """Keep one figure, in as many digits as it deserves."""
        self.keys[name] = round(value, digits) if isinstance(value, float) else value
        print(f"  {name} = {self.keys[name]}", flush=True)


def store_path(folder: Path) -> Path:
    return folder / "headrace.db"


def store_url(folder: Path) -> str:
    return f"sqlite:///{store_path(folder)}"


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
