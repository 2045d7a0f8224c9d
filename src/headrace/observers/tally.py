"""What one process counted: plain numbers under bounded labels, cheap to add to and to hand on.

It knows nothing of Prometheus, so that a worker's process needs no more than this. Invariant: a family has at most
`LABELS_MAX` names of tasks, queues or upstreams, and `_other` for all that come later.
"""

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from headrace.core.admission import Reason
from headrace.core.model import (
    AttemptOutcome,
    Cancelled,
    ClaimedJob,
    Enqueued,
    Exchanged,
    Failed,
    GivenBack,
    NewJob,
    Outcome,
    Retried,
    SettleResult,
    Snoozed,
    Succeeded,
)
from headrace.ports.observer import CALL_BOUNDS_S, Called

logger = logging.getLogger(__name__)

LABELS_MAX: Final = 200
OTHER: Final = "_other"
LOST: Final = "lost"  # an attempt whose lease was lost: others settle its job

Labels: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: a total, or with `bounds` a histogram of seconds. `words` is all that its last label can be."""

    name: str
    about: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()
    words: tuple[str, ...] = ()


_WORDS: Final[dict[type[object], str]] = {
    type(None): AttemptOutcome.SUCCEEDED.value,  # by `succeed`
    Succeeded: AttemptOutcome.SUCCEEDED.value,
    Retried: AttemptOutcome.RETRY.value,
    Failed: AttemptOutcome.FAILED.value,
    Snoozed: AttemptOutcome.SNOOZED.value,
    Cancelled: AttemptOutcome.CANCELLED.value,
    GivenBack: AttemptOutcome.GIVEN_BACK.value,
}
_QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

ENQUEUED: Final = Family("headrace_enqueued", "New jobs that were enqueued here.", ("task",))
SHED: Final = Family(
    "headrace_shed",
    "Jobs that were refused at enqueue here by the policy of their queue, by reason.",
    ("queue", "reason"),
    words=tuple(Reason),
)
MESSAGES: Final = Family(
    "headrace_source_messages",
    "Messages that sources took here: new jobs, repeats of some, or letters, which fit their task not.",
    ("source", "result"),
    words=("taken", "repeated", "letter"),
)
ATTEMPTS: Final = Family(
    "headrace_attempts",
    "Attempts that have ended, by outcome.",
    ("task", "outcome"),
    words=(*dict.fromkeys(_WORDS.values()), LOST),
)
ATTEMPT: Final = Family(
    "headrace_attempt_seconds",
    "How long attempts ran.",
    ("task",),
    (*_QUICK[2:], 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
WAIT: Final = Family(
    "headrace_wait_seconds",
    "How long jobs were ready before they were claimed.",
    ("queue",),
    (*_QUICK, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
)
EXCHANGE: Final = Family(
    "headrace_exchange_seconds",
    "How long exchanges with the store (settle and claim) took.",
    (),
    (0.0005, *_QUICK, 10.0, 30.0),
)
EXCHANGE_FAILURES: Final = Family("headrace_exchange_failures", "Exchanges with the store that failed.")
SETTLES: Final = Family(
    "headrace_settles",
    "Outcomes that were brought to the store, by its answer.",
    ("result",),
    words=tuple(SettleResult),
)
CRASHES: Final = Family(
    "headrace_worker_crashes", "Supervised workers that died or were killed.", ("role",), words=("suspects", "worker")
)
CALLS: Final = Family(
    "headrace_upstream_calls",
    "Calls of upstreams that have ended or were refused, by outcome.",
    ("upstream", "outcome"),
    words=("succeeded", "failed", "ignored", "refused"),
)
CALL: Final = Family(
    "headrace_upstream_call_seconds", "How long calls of upstreams took.", ("upstream",), CALL_BOUNDS_S
)

SENT: Final = Family(
    "headrace_sink_events",
    "Events that sinks have confirmed, refused (they are tried again), or refused so often that they are parked.",
    ("sink", "result"),
    words=("sent", "refused", "parked"),
)

FAMILIES: Final = (
    ENQUEUED, SHED, MESSAGES, SENT, ATTEMPTS, ATTEMPT, WAIT, EXCHANGE, EXCHANGE_FAILURES, SETTLES, CRASHES, CALLS, CALL,
)  # fmt: skip
_NAMES: Final = ("task", "queue", "upstream", "source", "sink")  # labels whose values are names of the user's


class Spread:
    """How values are spread: how many up to each bound and beyond the last, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self, bounds: int) -> None:
        """None yet."""
        self.counts = [0] * (bounds + 1)
        self.total = 0.0


class Tally:
    """An `Observer` that adds up."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` tells monotonic seconds."""
        self.mark = now
        self._lock = threading.Lock()
        self._puzzled = False
        self._begin()

    def _begin(self) -> None:
        self._names: dict[str, dict[str, str]] = {kind: {} for kind in _NAMES}
        self._totals: dict[str, dict[Labels, int]] = {family.name: {} for family in FAMILIES if not family.bounds}
        self._spreads: dict[str, dict[Labels, Spread]] = {family.name: {} for family in FAMILIES if family.bounds}
        self._ended = self._totals[ATTEMPTS.name]
        self._tasks: dict[str, tuple[str, Spread]] = {}  # where each counts its attempts, looked up once
        self._queues: dict[str, Spread] = {}  # and each its waits

    # -- what is told -----------------------------------------------------------------------------

    def attempt_ended(self, job: ClaimedJob, outcome: Outcome | None, mark: float, *, lost: bool) -> None:
        """Count it under its task and outcome."""
        seconds = self.mark() - mark
        word = LOST if lost else _WORDS[type(outcome)]
        with self._lock:
            label, spread = self._tasks.get(job.task) or self._begin_task(job.task)
            spread.counts[bisect_left(ATTEMPT.bounds, seconds)] += 1
            spread.total += seconds
            key = (label, word)
            self._ended[key] = self._ended.get(key, 0) + 1

    def _begin_task(self, task: str) -> tuple[str, Spread]:
        label = self._label("task", task)
        line = label, self._spread(ATTEMPT, (label,))
        if label != OTHER:
            self._tasks[task] = line
        return line

    def exchanged(self, answer: Exchanged | None, mark: float) -> None:
        """Count the exchange, what it settled and how long its jobs had waited."""
        seconds = self.mark() - mark
        with self._lock:
            if answer is None:
                self._add(EXCHANGE_FAILURES, (), 1)
                return
            spread = self._spread(EXCHANGE, ())
            spread.counts[bisect_left(EXCHANGE.bounds, seconds)] += 1
            spread.total += seconds
            for result in set(answer.settled):
                self._add(SETTLES, (result.value,), answer.settled.count(result))
            for job in answer.claimed:
                waited_s = job.waited_s
                if waited_s is not None:
                    spread = self._queues.get(job.queue) or self._begin_queue(job.queue)
                    spread.counts[bisect_left(WAIT.bounds, waited_s)] += 1
                    spread.total += waited_s

    def _begin_queue(self, queue: str) -> Spread:
        label = self._label("queue", queue)
        spread = self._spread(WAIT, (label,))
        if label != OTHER:
            self._queues[queue] = spread
        return spread

    def enqueued(self, jobs: Sequence[NewJob], landed: Sequence[Enqueued]) -> None:
        """Count those that are new."""
        with self._lock:
            for job, answer in zip(jobs, landed, strict=True):
                if answer.created:
                    self._add(ENQUEUED, (self._label("task", job.task),), 1)

    def shed(self, queue: str, reason: str, jobs: int) -> None:
        """Count them."""
        with self._lock:
            self._add(SHED, (self._label("queue", queue), str(reason)), jobs)

    def sent(self, sink: str, counts: Mapping[str, int]) -> None:
        """Count them."""
        with self._lock:
            label = self._label("sink", sink)
            for result, count in counts.items():
                if count:
                    self._add(SENT, (label, result), count)

    def received(self, source: str, task: str, *, taken: int, repeated: int, letters: int) -> None:
        """Count them, and the jobs that they are."""
        with self._lock:
            label = self._label("source", source)
            for word, count in zip(MESSAGES.words, (taken, repeated, letters), strict=True):
                if count:
                    self._add(MESSAGES, (label, word), count)
            if taken + letters:
                self._add(ENQUEUED, (self._label("task", task),), taken + letters)

    def worker_crashed(self, role: str) -> None:
        """Count it."""
        with self._lock:
            self._add(CRASHES, (role,), 1)

    def called(self, upstream: str, called: Called) -> None:
        """Add what a guard has counted since it was last asked."""
        with self._lock:
            counts = {word: n for word in CALLS.words if (n := getattr(called, word))}
            if not counts:
                return
            label = self._label("upstream", upstream)
            for word, n in counts.items():
                self._add(CALLS, (label, word), n)
            if any(called.spread):
                self._merge_spread(CALL, (label,), called.spread, called.total_s)

    def counted(self, counts: Mapping[str, object]) -> None:
        """Add what a child took from its own tally; what another version's child means by it is left out."""
        try:
            with self._lock:
                self._merge(cast("Mapping[str, Any]", counts))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            if not self._puzzled:
                self._puzzled = True
                logger.warning("what a worker counts is left out, since its version is another: %r", error)

    # -- what is asked ------------------------------------------------------------------------------

    def take(self) -> dict[str, object] | None:
        """All that was counted since the last call, as JSON can carry it; None: nothing."""
        with self._lock:
            totals = {name: [[*key, n] for key, n in lines.items()] for name, lines in self._totals.items() if lines}
            spreads = {
                name: [[*key, line.counts, line.total] for key, line in lines.items()]
                for name, lines in self._spreads.items()
                if lines
            }
            if not totals and not spreads:
                return None
            self._begin()
        return {"totals": totals, "spreads": spreads}

    def totals(self, family: Family) -> dict[Labels, int]:
        """The numbers of a family without bounds."""
        with self._lock:
            return dict(self._totals[family.name])

    def spreads(self, family: Family) -> dict[Labels, tuple[list[int], float]]:
        """Of a family with bounds: how many per bucket, not cumulated, and the sum."""
        with self._lock:
            return {key: (list(line.counts), line.total) for key, line in self._spreads[family.name].items()}

    # -- under the lock -----------------------------------------------------------------------------

    def _label(self, kind: str, name: str) -> str:
        names = self._names[kind]
        label = names.get(name)
        if label is None:
            if len(names) >= LABELS_MAX:
                return OTHER
            label = names[name] = name
        return label

    def _add(self, family: Family, key: Labels, count: int) -> None:
        lines = self._totals[family.name]
        lines[key] = lines.get(key, 0) + count

    def _spread(self, family: Family, key: Labels) -> Spread:
        lines = self._spreads[family.name]
        line = lines.get(key)
        if line is None:
            line = lines[key] = Spread(len(family.bounds))
        return line

    def _merge(self, counts: Mapping[str, Any]) -> None:
        for family in FAMILIES:
            if family.bounds:
                for *key, buckets, total in counts["spreads"].get(family.name, ()):
                    self._merge_spread(family, self._key(family, key), buckets, total)
            else:
                for *key, count in counts["totals"].get(family.name, ()):
                    self._add(family, self._key(family, key), int(count))

    def _merge_spread(self, family: Family, key: Labels, buckets: Sequence[int], total: float) -> None:
        if len(buckets) != len(family.bounds) + 1:
            raise ValueError(f"{family.name} has other bounds there")
        line = self._spread(family, key)
        line.counts = [mine + int(theirs) for mine, theirs in zip(line.counts, buckets, strict=True)]
        line.total += float(total)

    def _key(self, family: Family, key: Sequence[str]) -> Labels:
        return tuple(
            self._label(kind, value) if kind in _NAMES else value
            for kind, value in zip(family.labels, key, strict=True)
        )
