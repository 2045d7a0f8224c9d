"""When to try again: exponential back-off with full jitter, a cap, and rules per exception."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.core.errors import InvalidConfig


@dataclass(frozen=True, slots=True)
class Retry:
    """A task's retry policy.

    The n-th failure is followed by an attempt after a random delay between 0 and
    `min(cap, initial * factor ** (n - 1))` seconds (full jitter; `jitter=False` takes the upper
    end). `max_attempts` counts failures, not crashes, snoozes or give-backs. `give_up_on` lists
    exceptions that fail the job at once; `rules` gives other policies to some exceptions, the
    closest class in the exception's ancestry first.

    Source: full jitter, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    max_attempts: int = 5
    initial: float = 1.0
    factor: float = 2.0
    cap: float = 300.0
    jitter: bool = True
    give_up_on: tuple[type[BaseException], ...] = ()
    rules: Mapping[type[BaseException], "Retry"] = field(default_factory=dict[type[BaseException], "Retry"])

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise InvalidConfig(f"Retry.max_attempts must be between 1 and {MAX_ATTEMPTS}, not {self.max_attempts}")
        if not (self.initial >= 0 and self.factor >= 1 and self.cap >= 0):
            raise InvalidConfig("Retry needs initial >= 0, factor >= 1 and cap >= 0 (seconds)")

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
        exponent = min(failures - 1, 64)
        ceiling = min(self.cap, self.initial * self.factor**exponent)
        return rng.uniform(0.0, ceiling) if self.jitter else ceiling

    def decide(self, failures: int, error: type[BaseException], rng: random.Random) -> float | None:
        """The delay before the next attempt after failure number `failures`; None: it was the last."""
        policy = self.policy_for(error)
        if policy is None or failures >= policy.max_attempts:
            return None
        return policy.delay_s(failures, rng)


MAX_ATTEMPTS = 1_000
