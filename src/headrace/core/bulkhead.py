"""How many calls of an upstream may be in flight, found from how long they take.

The limit never leaves `min` to `max`, and grows only while it is used.
"""

from dataclasses import dataclass
from enum import Enum, auto
from math import log10

from headrace.core.checks import whole
from headrace.core.errors import InvalidConfig

LIMIT_MAX = 100_000
WINDOW_S = 1.0
WINDOW_RTTS = 2  # a window outlives the calls that were in flight when it began
SAMPLES_MIN = 20
PROBE_WINDOWS = 30
DROPPED_SHARE_MAX = 0.05  # a timeout in a hundred calls is life, not overload
CUT = 0.9
EASE = 0.2


@dataclass(frozen=True, slots=True)
class Adaptive:
    """A limit on calls in flight that finds itself, between `min` and `max`, from `initial`.

    It is Vegas: of L calls in flight about `L * (1 - base / now)` wait in the upstream's queue, where
    `base` is what a call takes without one; the limit grows while few of them wait, and shrinks when
    many do. A gradient between a short and a long average is the other choice: its base rises with
    whatever lasts, so under a lasting overload the limit creeps up. Vegas' own weakness, that a base
    measured over a queue is too high, is met as in BBR: now and then the limit is halved for
    two windows, and the base measured anew. So the limit stays within a few calls of what the
    upstream does at once, and follows it up and down.

    Calls that were dropped (timed out, refused by the upstream) tell nothing of the base; when more
    than one in twenty is, the limit is cut by a tenth.

    Source: Brakmo and Peterson, "TCP Vegas", 1995; Netflix' concurrency-limits (VegasLimit, whose
    steps these are); Cardwell and others, "BBR", 2016 (ProbeRTT).
    """

    initial: int = 20
    min: int = 1
    max: int = 200

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("initial", "min", "max"):
            whole(f"Adaptive.{name}", getattr(self, name), least=1, most=LIMIT_MAX)
        if not self.min <= self.initial <= self.max:
            raise InvalidConfig(
                f"Adaptive.initial must be between min and max ({self.min} and {self.max}), not {self.initial}:"
                " move it, or widen them"
            )


class _Phase(Enum):
    STEADY = auto()
    DRAIN = auto()
    MEASURE = auto()


class AdaptiveLimit:
    """The limit of one process, as its calls end. Not safe for threads: its owner locks.

    Each process measures for itself: the queue that others keep looks to it like the upstream's own time.
    """

    __slots__ = (
        "_base_s",
        "_dropped",
        "_inflight",
        "_inflight_max",
        "_limit",
        "_phase",
        "_policy",
        "_rtt_s",
        "_samples",
        "_since",
        "_windows",
    )

    def __init__(self, policy: Adaptive) -> None:
        """At the policy's `initial`."""
        self._policy = policy
        self._limit = float(policy.initial)
        self._base_s: float | None = None
        self._phase = _Phase.STEADY
        self._windows = 0
        self._since: float | None = None
        self._samples = self._dropped = self._inflight = self._inflight_max = 0
        self._rtt_s = 0.0

    @property
    def limit(self) -> int:
        """How many calls may be in flight now."""
        limit = self._limit if self._phase is _Phase.STEADY else self._limit / 2
        return max(self._policy.min, int(limit))

    def record(self, now: float, rtt_s: float, inflight: int, *, dropped: bool = False) -> int:
        """The limit after a call that ended now, took `rtt_s` and was one of `inflight` until then."""
        if self._since is None:
            self._since = now
        if dropped:
            self._dropped += 1
        else:
            self._samples += 1
            self._rtt_s += max(rtt_s, 0.0)
            self._inflight += inflight
            self._inflight_max = max(self._inflight_max, inflight)
        ended = self._samples + self._dropped
        if ended >= SAMPLES_MIN and now - self._since >= max(WINDOW_S, WINDOW_RTTS * self._mean_s()):
            self._close()
            self._since = now
            self._samples = self._dropped = self._inflight = self._inflight_max = 0
            self._rtt_s = 0.0
        return self.limit

    def _mean_s(self) -> float:
        return self._rtt_s / self._samples if self._samples else 0.0

    def _close(self) -> None:
        """A window is full: go a step, or a phase on."""
        if self._dropped > DROPPED_SHARE_MAX * (self._samples + self._dropped):
            self._phase, self._windows = _Phase.STEADY, 0
            self._move_to(self._limit * CUT)
        elif self._phase is _Phase.DRAIN:
            self._phase = _Phase.MEASURE
        elif self._phase is _Phase.MEASURE:
            self._phase, self._windows = _Phase.STEADY, 0
            self._base_s = self._mean_s()
        else:
            self._steady()

    def _steady(self) -> None:
        mean_s = self._mean_s()
        if self._base_s is None:
            self._base_s = mean_s
        elif mean_s < self._base_s:
            self._base_s += EASE * (mean_s - self._base_s)  # not the least of noisy means, which is too low
        if self._inflight_max * 2 >= self._limit:
            self._step(mean_s, self._base_s)
        self._windows += 1
        if self._windows >= PROBE_WINDOWS:
            self._phase = _Phase.DRAIN

    def _step(self, mean_s: float, base_s: float) -> None:
        """Towards a queue of a few calls."""
        waiting = self._inflight / self._samples * (1 - base_s / mean_s) if mean_s > base_s else 0.0
        unit = max(1.0, log10(self._limit))
        few, many = 3 * unit, 6 * unit
        if waiting <= unit:
            self._move_to(self._limit + many)
        elif waiting < few:
            self._move_to(self._limit + unit)
        elif waiting > many:
            self._move_to(self._limit - max(unit, (waiting - many) / 2))

    def _move_to(self, limit: float) -> None:
        self._limit = min(max(limit, float(self._policy.min)), float(self._policy.max))
