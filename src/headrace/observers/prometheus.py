"""Prometheus' text: what the store says now, what this process counted, what is so in it at this moment.

Invariant: its size is bounded, whatever the store holds and whatever users call their queues and tasks.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from headrace.core.fleet import BreakerState
from headrace.core.fleet_record import UpstreamRecord
from headrace.core.model import QueueRecord, WorkerRecord
from headrace.core.states import JobState
from headrace.observers.tally import FAMILIES, LABELS_MAX, OTHER, Family, Labels, Tally
from headrace.ports.notifier import Health
from headrace.ports.observer import Moment, Spooled
from headrace.ports.post import SinkRecord, SourceRecord

ROLES: Final = ("embedded", "suspects", "worker")
WORKER_STATES: Final = ("alive", "draining", "lost")


@dataclass(slots=True)
class QueueFigures:
    """One queue, or all beyond the bound as one: `paused` is how many of them are."""

    jobs: dict[JobState, int]
    oldest_ready_s: float = 0.0
    paused: int = 0


def folded(queues: Sequence[QueueRecord], most: int = LABELS_MAX) -> dict[str, QueueFigures]:
    """The first `most` queues by name, each for itself, and the rest as `_other`."""
    figures: dict[str, QueueFigures] = {}
    for at, queue in enumerate(sorted(queues, key=lambda queue: queue.name)):
        name = queue.name if at < most else OTHER
        figure = figures.get(name)
        if figure is None:
            figure = figures[name] = QueueFigures(dict.fromkeys(JobState, 0))
        for state, jobs in queue.counts.items():
            figure.jobs[state] += jobs
        figure.oldest_ready_s = max(figure.oldest_ready_s, queue.oldest_ready_s or 0.0)
        figure.paused += queue.paused
    return figures


@dataclass(frozen=True, slots=True)
class Look:
    """What the store said when it was last looked at."""

    queues: Mapping[str, QueueFigures]
    workers: Sequence[WorkerRecord]
    upstreams: Sequence[UpstreamRecord] = ()
    sinks: Sequence[SinkRecord] = ()
    sources: Sequence[SourceRecord] = ()


def text(version: str, look: Look | None, tally: Tally, moment: Moment) -> bytes:
    """All of it; `look` None: the store did not answer."""
    registry = CollectorRegistry()
    registry.register(_Collected(version, look, tally, moment))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, version: str, look: Look | None, tally: Tally, moment: Moment) -> None:
        self._version = version
        self._look = look
        self._tally = tally
        self._moment = moment

    def collect(self) -> Iterator[Metric]:
        """Every family, in a fixed order."""
        about = "The version of headrace that answers."
        yield _gauge("headrace_build_info", about, ("version",), [((self._version,), 1)])
        up = self._look is not None
        yield _gauge("headrace_store_up", "Whether the store answered this time.", (), [((), up)])
        if self._look is not None:
            yield from _queues(self._look.queues)
            yield from _workers(self._look.workers)
            yield from _upstreams(self._look.upstreams[:LABELS_MAX])
            yield from _sinks(self._look.sinks[:LABELS_MAX])
            yield from _sources(self._look.sources[:LABELS_MAX])
        for family in FAMILIES:
            yield _spread(family, self._tally) if family.bounds else _total(family, self._tally)
        yield from _moment(self._moment)


def _gauge(
    name: str, about: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, about, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _total(family: Family, tally: Tally) -> CounterMetricFamily:
    metric = CounterMetricFamily(family.name, family.about, labels=family.labels)
    lines = tally.totals(family)
    for key in _expected(family, lines):
        lines.setdefault(key, 0)  # so that its first rise is seen as one
    for key, count in sorted(lines.items()):
        metric.add_metric(key, count)
    return metric


def _expected(family: Family, lines: Iterable[Labels]) -> list[Labels]:
    """What is shown from the beginning: whatever the last label can say, of every task that has counted something."""
    if not family.labels:
        return [()]
    heads = {key[:-1] for key in lines} if len(family.labels) > 1 else {()}
    return [(*head, word) for head in heads for word in family.words]


def _spread(family: Family, tally: Tally) -> HistogramMetricFamily:
    metric = HistogramMetricFamily(family.name, family.about, labels=family.labels)
    names = [*(f"{bound:g}" for bound in family.bounds), "+Inf"]
    for key, (counts, total) in sorted(tally.spreads(family).items()):
        metric.add_metric(key, list(zip(names, accumulate(counts), strict=True)), total)
    return metric


def _queues(queues: Mapping[str, QueueFigures]) -> Iterator[Metric]:
    yield _gauge(
        "headrace_jobs",
        "Jobs by queue and state.",
        ("queue", "state"),
        [((name, state.value), queue.jobs[state]) for name, queue in queues.items() for state in JobState],
    )
    yield _gauge(
        "headrace_queue_oldest_ready_seconds",
        "How long the oldest ready job has been ready; 0 where none is.",
        ("queue",),
        [((name,), queue.oldest_ready_s) for name, queue in queues.items()],
    )
    yield _gauge(
        "headrace_queue_paused",
        "Whether the queue is paused.",
        ("queue",),
        [((name,), queue.paused) for name, queue in queues.items()],
    )


def _workers(workers: Sequence[WorkerRecord]) -> Iterator[Metric]:
    roles = sorted({*ROLES, *(worker.role for worker in workers)})
    counts = {(role, state): 0 for role in roles for state in WORKER_STATES}
    slots, running = dict.fromkeys(roles, 0), dict.fromkeys(roles, 0)
    for worker in workers:
        state = "lost" if not worker.alive else "draining" if worker.draining else "alive"
        counts[worker.role, state] += 1
        running[worker.role] += worker.running
        if state == "alive":
            slots[worker.role] += worker.concurrency
    yield _gauge("headrace_workers", "Workers by role and state.", ("role", "state"), counts.items())
    about = "Attempts that the workers which are alive and not draining may run at a time."
    yield _gauge("headrace_worker_slots", about, ("role",), [((role,), slots[role]) for role in roles])
    about = "Attempts that run now, as the store knows."
    yield _gauge("headrace_worker_running", about, ("role",), [((role,), running[role]) for role in roles])


def _spool(spool: Spooled) -> Iterator[Metric]:
    yield _gauge("headrace_spool_bytes", "What the spool of this process takes on its disk.", (), [((), spool.bytes)])
    about = "Jobs that wait in the spool of this process for the store."
    yield _gauge("headrace_spool_jobs", about, (), [((), spool.jobs)])
    counts = (
        ("drained", "Spooled jobs that this process brought to the store.", spool.drained),
        ("rejected", "Spooled jobs that the store refused for good.", spool.rejected),
    )
    for word, about, count in counts:
        metric = CounterMetricFamily(f"headrace_spool_{word}", about)
        metric.add_metric((), count)
        yield metric


def _upstreams(upstreams: Sequence[UpstreamRecord]) -> Iterator[Metric]:
    yield _gauge(
        "headrace_upstream_state",
        "Whether the upstream's breaker is in this state.",
        ("upstream", "state"),
        [((one.name, state.value), one.state is state) for one in upstreams for state in BreakerState],
    )
    transitions = CounterMetricFamily(
        "headrace_upstream_transitions", "How often the upstream's breaker has changed its state.", labels=("upstream",)
    )
    for one in upstreams:
        transitions.add_metric((one.name,), one.generation - 1)
    yield transitions


def _sinks(sinks: Sequence[SinkRecord]) -> Iterator[Metric]:
    about = "Events that wait in the outbox, without the parked ones; counted up to 10,000."
    yield _gauge("headrace_sink_waiting", about, ("sink",), [((one.name,), one.waiting) for one in sinks])
    yield _gauge(
        "headrace_sink_oldest_seconds",
        "How long the first event that waits has waited; 0 where none does.",
        ("sink",),
        [((one.name,), one.age_s or 0.0) for one in sinks],
    )
    about = "Events that the sink has refused too often, and that wait for a person."
    yield _gauge("headrace_sink_parked", about, ("sink",), [((one.name,), one.parked) for one in sinks])


def _sources(sources: Sequence[SourceRecord]) -> Iterator[Metric]:
    about = "How long ago the source last took a message, in any process."
    taken = [((one.name,), one.taken_age_s) for one in sources if one.taken_age_s is not None]
    yield _gauge("headrace_source_taken_age_seconds", about, ("source",), taken)


def _notifier(health: Health) -> Iterator[Metric]:
    if health.working is None:
        return
    about = "Whether hints of other processes are known to arrive in this one."
    yield _gauge("headrace_notifier_working", about, ("kind",), [((health.kind,), health.working)])
    if health.echo_s is not None:
        about = "How long the last probe of the notifier took to come back."
        yield _gauge("headrace_notifier_echo_seconds", about, ("kind",), [((health.kind,), health.echo_s)])


def _moment(moment: Moment) -> Iterator[Metric]:
    if moment.notifier is not None:
        yield from _notifier(moment.notifier)
    if moment.spool is not None:
        yield from _spool(moment.spool)
    if moment.feeds is not None:
        about = "Live connections of this process."
        connections = [((transport,), count) for transport, count in sorted(moment.connections.items())]
        yield _gauge("headrace_live_connections", about, ("transport",), connections)
        closes = CounterMetricFamily(
            "headrace_live_closes", "Live connections of this process that ended.", labels=("transport", "reason")
        )
        for key, count in sorted(moment.closes.items()):
            closes.add_metric(key, count)
        yield closes
        yield _gauge(
            "headrace_followed_feeds", "Feeds that somebody in this process follows.", (), [((), moment.feeds)]
        )
        about = "What live feeds give up because the event loop is late: 0 nothing, 1 news at once, 2 further readers."
        yield _gauge("headrace_live_pressure", about, (), [((), moment.level)])
    if moment.loop_age_s:
        yield _gauge(
            "headrace_loop_age_seconds",
            "How long ago the event loop of a worker that runs something last turned; the longest.",
            ("role",),
            [((role,), age_s) for role, age_s in sorted(moment.loop_age_s.items())],
        )
