"""A ladder of degradation: how much is given up, from how bad things have been and for how long.

A level is held for its `fall` at least, so that the ladder never goes up and down faster than that.
"""

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from headrace.core.checks import plain_s, real, seconds
from headrace.core.errors import InvalidConfig

VALUE_MAX = 1e15


@dataclass(frozen=True, slots=True)
class Level:
    """One level: it is entered once the value was at or over `enter` for `rise` seconds without a break.

    It is left once the value was under `leave` for `fall` seconds without a break.
    """

    name: str
    enter: float
    leave: float
    rise: float | timedelta = 1.0
    fall: float | timedelta = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot work; keep durations as seconds."""
        for name in ("enter", "leave"):
            value = real(f"Level.{name} of {self.name}", getattr(self, name), least=-VALUE_MAX, most=VALUE_MAX)
            object.__setattr__(self, name, value)
        if not self.leave < self.enter:
            raise InvalidConfig(
                f"Level.leave of {self.name} must be less than its enter ({self.enter:g}), not {self.leave:g}:"
                " without a gap it flaps"
            )
        object.__setattr__(self, "rise", seconds(f"Level.rise of {self.name}", self.rise))
        object.__setattr__(self, "fall", seconds(f"Level.fall of {self.name}", self.fall, above=True))

    @property
    def rise_s(self) -> float:
        """`rise` in seconds."""
        return plain_s(self.rise)

    @property
    def fall_s(self) -> float:
        """`fall` in seconds."""
        return plain_s(self.fall)


@dataclass(frozen=True, slots=True)
class Ladder:
    """Levels from the mildest to the worst; level 0 is below them all: nothing is given up."""

    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        """Refuse levels that are out of order."""
        if not self.levels:
            raise InvalidConfig("Ladder.levels must have at least one Level")
        for lower, upper in pairwise(self.levels):
            if not (lower.enter < upper.enter and lower.leave <= upper.leave):
                raise InvalidConfig(
                    f"Ladder.levels must rise: {upper.name} needs an enter above {lower.enter:g} and a leave of at"
                    f" least {lower.leave:g}, those of {lower.name}, not {upper.enter:g} and {upper.leave:g}"
                )

    def name(self, level: int) -> str:
        """What a level is called; 0 is "normal"."""
        return self.levels[level - 1].name if level else "normal"


class Climber:
    """Where one observer stands on a ladder.

    Up it goes straight to the worst level that has been called for long enough, down by one level at a
    time. What a value was is taken to last until the next is observed; one that is no number breaks
    every run and moves nothing.
    """

    __slots__ = ("_ladder", "_over_since", "_under_since", "level")

    def __init__(self, ladder: Ladder) -> None:
        """At level 0."""
        self._ladder = ladder
        self._over_since: list[float | None] = [None] * len(ladder.levels)
        self._under_since: float | None = None
        self.level = 0

    def observe(self, now: float, value: float) -> int:
        """The level, 0 to the number of levels, after the value is seen to be this."""
        for at, level in enumerate(self._ladder.levels):
            since = self._over_since[at]
            self._over_since[at] = (now if since is None else since) if value >= level.enter else None
        called = self._called_for(now)
        if called > self.level:
            self.level, self._under_since = called, None
        elif self.level:
            self._fall(now, value)
        return self.level

    def _called_for(self, now: float) -> int:
        """The worst level whose threshold has been passed for long enough."""
        for at in range(len(self._ladder.levels), 0, -1):
            since = self._over_since[at - 1]
            if since is not None and now - since >= self._ladder.levels[at - 1].rise_s:
                return at
        return 0

    def _fall(self, now: float, value: float) -> None:
        level = self._ladder.levels[self.level - 1]
        if not value < level.leave:
            self._under_since = None
        elif self._under_since is None:
            self._under_since = now
        elif now - self._under_since >= level.fall_s:
            self.level -= 1
            self._under_since = None
            if self.level and value < self._ladder.levels[self.level - 1].leave:
                self._under_since = now
