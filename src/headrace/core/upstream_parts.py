"""What one process holds of an upstream's bounds: slots, starts under the rate, permits at half-open."""

from dataclasses import dataclass, field
from typing import Final

from headrace.core.fleet import Probe

SPARE: Final = 1.25  # slots held for each one in use
PEAK_S: Final = 10.0  # so long after a peak its slots are kept
STARTS_S: Final = 1.0  # starts under a rate are taken so long ahead, and lapse


@dataclass(slots=True)
class Slots:
    """This process's slice of `max_concurrency`."""

    held: int = 0
    fair: int = 0
    lapses_at: float = 0.0
    in_use: int = 0
    waiting: int = 0
    peak: int = 0
    peak_at: float = 0.0

    def limit(self, now: float) -> int:
        """How many calls may run at once: what it holds, and leaves to nobody else."""
        return min(self.held, self.fair) if now < self.lapses_at else 0

    def wanted(self, now: float) -> int:
        """How many it has use for."""
        use = self.in_use + self.waiting
        if use >= self.peak or now - self.peak_at > PEAK_S:
            self.peak, self.peak_at = use, now
        return int(self.peak * SPARE + 0.999) if self.peak else 0


@dataclass(slots=True)
class Starts:
    """This process's starts under the rate."""

    left: int = 0
    lapses_at: float = 0.0
    made: int = 0  # since it last spoke
    spoke_at: float = 0.0
    waiting: int = 0
    next_at: float = 0.0

    def available(self, now: float) -> int:
        """How many may be made now."""
        return self.left if now < self.lapses_at else 0

    def wanted(self, now: float) -> int:
        """How many will be wanted soon, if calls go on as they do."""
        elapsed = max(now - self.spoke_at, 0.1)
        ahead = int(self.made / elapsed * STARTS_S / 2)
        return max(self.waiting, min(ahead, self.made) if self.waiting or self.made else 0)


@dataclass(slots=True)
class Permits:
    """Permits of this process at half-open, by name."""

    free: set[str] = field(default_factory=set[str])  # granted, and bound to nothing
    bound: set[str] = field(default_factory=set[str])  # to a call, or to an attempt
    busy: set[str] = field(default_factory=set[str])  # an attempt's, with a call under way
    kept: set[str] = field(default_factory=set[str])  # an attempt's
    parting: dict[str, Probe] = field(default_factory=dict[str, Probe])  # its attempt has ended before its call
    asked: set[str] = field(default_factory=set[str])
    ended: list[Probe] = field(default_factory=list[Probe])
    lent: frozenset[str] = frozenset()  # that the fleet thinks it has
    number: int = 0
    free_since: float = 0.0
    lapse_at: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Every one that it holds or wants, in one order."""
        return (*sorted(self.free), *sorted(self.bound), *sorted(self.asked))

    @property
    def given_up(self) -> bool:
        """Whether the fleet keeps some for this process that it has no use for, as after a word that was lost."""
        return bool(self.lent) and not self.lent.issubset(self.names)
