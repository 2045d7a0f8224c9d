"""When to try again: exponential back-off with full jitter and a cap, or a schedule; and rules per exception."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headrace.core.errors import InvalidConfig

ATTEMPTS: Final = 5
MAX_ATTEMPTS: Final = 1_000
DELAY_S_MAX: Final = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class Retry:
    """A task's retry policy.

    The n-th failure is followed by an attempt after a random delay between 0 and
    `min(cap, initial * factor ** (n - 1))` seconds (full jitter; `jitter=False` takes the upper
    end, and a number between 0 and 1 shortens it by at most that part). A `schedule` lists these
    upper ends instead, and makes one attempt more than it has delays. `max_attempts` counts
    failures, not crashes, snoozes or give-backs. `give_up_on` lists exceptions that fail the job at
    once; `rules` gives other policies to some exceptions, the closest class in the exception's
    ancestry first.

    Source: full jitter, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    max_attempts: int = ATTEMPTS
    initial: float = 1.0
    factor: float = 2.0
    cap: float = 300.0
    jitter: bool | float = True
    give_up_on: tuple[type[BaseException], ...] = ()
    rules: Mapping[type[BaseException], "Retry"] = field(default_factory=dict[type[BaseException], "Retry"])
    schedule: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.schedule:
            self._take_schedule()
        if not 0 <= self.jitter <= 1:
            raise InvalidConfig(f"Retry.jitter is True, False or a number between 0 and 1, not {self.jitter}")
        if not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise InvalidConfig(f"Retry.max_attempts must be between 1 and {MAX_ATTEMPTS}, not {self.max_attempts}")
        if not (self.initial >= 0 and self.factor >= 1 and self.cap >= 0):
            raise InvalidConfig("Retry needs initial >= 0, factor >= 1 and cap >= 0 (seconds)")

    def _take_schedule(self) -> None:
        delays = tuple(self.schedule)
        if len(delays) >= MAX_ATTEMPTS or not all(0 <= each <= DELAY_S_MAX for each in delays):
            raise InvalidConfig(
                f"Retry.schedule has at most {MAX_ATTEMPTS - 1} delays, each between 0 and {DELAY_S_MAX:.0f} seconds"
            )
        if self.max_attempts not in (ATTEMPTS, len(delays) + 1):
            raise InvalidConfig(
                f"Retry: a schedule of {len(delays)} delays makes {len(delays) + 1} attempts, and max_attempts says"
                f" {self.max_attempts}: leave it out"
            )
        object.__setattr__(self, "schedule", delays)
        object.__setattr__(self, "max_attempts", len(delays) + 1)

    def policy_for(self, error: type[BaseException]) -> "Retry | None":
        """The policy that governs this exception class; None: give up at once."""
        for cls in error.__mro__:
            if cls in self.give_up_on:
                return None
            if cls in self.rules:
                return self.rules[cls]
        return self

    def delay_s(self, failures: int, rng: random.Random) -> float:
        """How long to wait after failure number `failures` (from 1)."""
        if self.schedule:
            ceiling = self.schedule[min(failures, len(self.schedule)) - 1]
        else:
            ceiling = min(self.cap, self.initial * self.factor ** min(failures - 1, 64))
        return rng.uniform(ceiling * (1 - self.jitter), ceiling) if self.jitter else ceiling

    def decide(self, failures: int, error: type[BaseException], rng: random.Random) -> float | None:
        """The delay before the next attempt after failure number `failures`; None: it was the last."""
        policy = self.policy_for(error)
        if policy is None or failures >= policy.max_attempts:
            return None
        return policy.delay_s(failures, rng)
