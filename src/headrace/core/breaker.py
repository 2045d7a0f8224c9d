"""When a breaker trips: the policy of an upstream's breaker, and the rates that it looks at.

Source: resilience4j's CircuitBreakerConfig and CircuitBreakerMetrics; ADR 16.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from headrace.core.checks import plain_s, real, seconds, whole
from headrace.core.errors import InvalidConfig

WINDOW_SIZE_MAX = 100_000


class WindowType(StrEnum):
    """What a breaker's window is made of: the last calls, or the last seconds."""

    COUNT = "count"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Breaker:
    """When calls of an upstream are stopped, and how they come back.

    It opens when, of the calls in its window, `failure_rate_threshold` percent failed or
    `slow_call_rate_threshold` percent took longer than `slow_call_duration_threshold`, once there
    are `minimum_number_of_calls` of them. The window is the last `sliding_window_size` calls
    ("count") or seconds ("time"). After `wait_duration_in_open_state` (a second at least: so long
    it takes until all processes know) it lets `permitted_number_of_calls_in_half_open_state` calls
    through, whose rates decide whether it closes; `max_wait_duration_in_half_open_state` opens it
    again if they take longer (0: it waits for them). Once closed, held work comes back over `ramp`
    seconds (0: at once).

    Durations are seconds or timedelta, and are kept as seconds.
    """

    failure_rate_threshold: float = 50.0
    slow_call_duration_threshold: float | timedelta = 60.0
    slow_call_rate_threshold: float = 100.0
    sliding_window_type: WindowType | Literal["count", "time"] = WindowType.COUNT
    sliding_window_size: int = 100
    minimum_number_of_calls: int = 20
    wait_duration_in_open_state: float | timedelta = 10.0
    permitted_number_of_calls_in_half_open_state: int = 10
    max_wait_duration_in_half_open_state: float | timedelta = 0.0
    ramp: float | timedelta = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot work; keep durations as seconds and the type of the window as its enum."""
        for name in ("failure_rate_threshold", "slow_call_rate_threshold"):
            rate = real(f"Breaker.{name}", getattr(self, name), least=0, most=100, above=True, unit=" percent")
            object.__setattr__(self, name, rate)
        for name in ("slow_call_duration_threshold", "wait_duration_in_open_state"):
            object.__setattr__(self, name, seconds(f"Breaker.{name}", getattr(self, name), above=True))
        for name in ("max_wait_duration_in_half_open_state", "ramp"):
            object.__setattr__(self, name, seconds(f"Breaker.{name}", getattr(self, name)))
        for name in (
            "sliding_window_size",
            "minimum_number_of_calls",
            "permitted_number_of_calls_in_half_open_state",
        ):
            whole(f"Breaker.{name}", getattr(self, name), least=1, most=WINDOW_SIZE_MAX)
        self._check_window()

    def _check_window(self) -> None:
        try:
            object.__setattr__(self, "sliding_window_type", WindowType(self.sliding_window_type))
        except ValueError:
            raise InvalidConfig(
                f'Breaker.sliding_window_type must be "count" or "time", not {self.sliding_window_type!r}'
            ) from None
        if self.sliding_window_type == WindowType.COUNT and self.minimum_number_of_calls > self.sliding_window_size:
            raise InvalidConfig(
                f"Breaker.minimum_number_of_calls must be at most sliding_window_size ({self.sliding_window_size}),"
                f" not {self.minimum_number_of_calls}: the window never holds so many; lower it or widen the window"
            )

    @property
    def slow_s(self) -> float:
        """`slow_call_duration_threshold` in seconds."""
        return plain_s(self.slow_call_duration_threshold)

    @property
    def open_s(self) -> float:
        """`wait_duration_in_open_state` in seconds."""
        return plain_s(self.wait_duration_in_open_state)

    @property
    def half_open_s_max(self) -> float:
        """`max_wait_duration_in_half_open_state` in seconds; 0: for ever."""
        return plain_s(self.max_wait_duration_in_half_open_state)

    @property
    def ramp_s(self) -> float:
        """`ramp` in seconds."""
        return plain_s(self.ramp)


@dataclass(frozen=True, slots=True)
class CallCounts:
    """Calls that ended, how many of them failed, and how many were slow; one may be both."""

    calls: int = 0
    failures: int = 0
    slow: int = 0

    def __add__(self, other: "CallCounts") -> "CallCounts":
        return CallCounts(self.calls + other.calls, self.failures + other.failures, self.slow + other.slow)


def tripped(policy: Breaker, counts: CallCounts, *, minimum: int | None = None) -> str | None:
    """Why a breaker with these counts opens, in plain words; None: it does not.

    A rate that is exactly at its threshold trips. Fewer than `minimum_number_of_calls` calls say
    nothing; `minimum` takes its place at half-open, where there are only the permitted ones.
    """
    calls = counts.calls
    if not calls or calls < (policy.minimum_number_of_calls if minimum is None else minimum):
        return None
    # Rates are divided, not thresholds multiplied: 71 of 1,000 is the very float that `7.1` is.
    failed = 100 * counts.failures / calls
    slow = 100 * counts.slow / calls
    reasons: list[str] = []
    if failed >= policy.failure_rate_threshold:
        reasons.append(_reason(counts.failures, calls, "failed", failed, policy.failure_rate_threshold))
    if slow >= policy.slow_call_rate_threshold:
        did = f"took longer than {policy.slow_s:g} s"
        reasons.append(_reason(counts.slow, calls, did, slow, policy.slow_call_rate_threshold))
    return " and ".join(reasons) if reasons else None


def _reason(some: int, calls: int, did: str, rate: float, threshold: float) -> str:
    return f"{some} of {calls} calls {did} ({rate:.3g} %, threshold {threshold:g} %)"
