"""A backlog through one worker process or two: body starts a second, and the CPU time that a job costs."""

import contextlib
import dataclasses
import time
from dataclasses import dataclass

from bench.peers.harness import Harness, Place
from bench.peers.meter import Reading
from bench.peers.moment import look
from bench.peers.peer import Peer, Setting
from bench.peers.results import Figures
from bench.peers.trees import Tree
from servers.postgres import Postgres

START_S = 60.0
LOOK_S = 0.01
WARM = 0.3
"""This share of the time passes before CPU time is counted: some of a worker's processes still start then."""
SPARE = 1.2
"""So much more than what is expected to be done in the time is put in, so that the time ends the drain."""


@dataclass(frozen=True, slots=True)
class Drain:
    """What is drained, by how many workers, at which setting."""

    name: str
    task: str
    workers: int
    setting: str  # a field of Peer
    guess: float = 1.0
    """Of the peer's rate: sizes the first backlog."""

    def applies(self, peer: Peer) -> bool:
        return self.setting != "default" or peer.default is not None

    def measure(self, harness: Harness, peer: Peer) -> Figures:
        setting = _in_headrace_batches(harness, peer, self.of(peer))
        scale = harness.scale
        rate = harness.results.latest(peer.name, self.name, "per_s") or peer.rate * self.guess
        count = round(min(max(scale.jobs_min, rate * scale.drain_s * SPARE), scale.jobs_max))
        with harness.place(peer) as place:
            place.produce("fill", task=self.task, count=count)
            commits = place.commits()
            with contextlib.ExitStack() as stack:
                workers = [stack.enter_context(place.worker(setting)) for _ in range(self.workers)]
                figures = _watch(place, workers, count, scale.drain_s, self.workers * setting.processes)
            spent = place.commits() - commits  # a session tells at its end
            return {**figures, **_batch(place), **({"jobs_per_commit": figures["jobs"] / spent} if spent > 0 else {})}

    def of(self, peer: Peer) -> Setting:
        if self.setting == "default" and peer.default is not None:
            return peer.default
        if self.setting == "sleeping" and peer.sleeping is not None:
            return peer.sleeping
        return peer.best


def _in_headrace_batches(harness: Harness, peer: Peer, setting: Setting) -> Setting:
    """The floor takes as many jobs to a transaction as Headrace did in the same run."""
    batch = harness.results.latest("headrace", ONE.name, "batch")
    if peer.name != "floor" or batch is None:
        return setting
    size = round(min(max(batch, 10), 1_000))
    return dataclasses.replace(setting, environment={"PEER_BATCH": str(size)} | dict(setting.environment))


def _batch(place: Place) -> Figures:
    """How many jobs of Headrace ended in one transaction, in the mean: those share an instant."""
    if place.peer.name != "headrace" or not isinstance(place.server, Postgres):
        return {}
    sql = "SELECT round(count(*) / greatest(1, count(DISTINCT finished_at))::numeric, 1) FROM headrace_history"
    return {"batch": float(place.server.sql(sql, place.database))}


def _watch(place: Place, workers: list[Tree], count: int, seconds: float, processes: int) -> Figures:
    """From the first start on, until all have started or the time is over."""
    meters = place.meters
    place.watch(lambda: meters.read().count, workers, "the first job's start", START_S)
    begun = spent = look(place, workers, meters)
    samples = [(begun.at, begun.started)]
    give_up = begun.at + seconds
    while True:
        now = meters.read()
        samples.append((time.monotonic(), now.count))
        late = max(now.starts) if len(now.starts) >= processes else None
        if now.count >= count or samples[-1][0] > (give_up if late is None else max(give_up, late + seconds)):
            break
        if spent is begun and samples[-1][0] > begun.at + WARM * seconds:
            spent = look(place, workers, meters)
        time.sleep(LOOK_S)
    last = look(place, workers, meters)
    if last.started - spent.started < (last.started - begun.started) / 2:  # it was over too soon
        spent = begun
    return {
        "per_s": _rate(now, samples, processes),
        **last.cost_since(spent),
        "jobs": now.count,
        "backlog": count,
        "processes": len(now.starts),
    }


def _rate(now: Reading, samples: list[tuple[float, int]], processes: int) -> float:
    """Starts a second; with several processes, from when the last of them had begun."""
    if processes > 1 and len(now.starts) >= processes:
        at, before = next((sample for sample in samples if sample[0] >= max(now.starts)), samples[-1])
        if now.last - at > 0.2:
            return (now.count - before) / (now.last - at)
    elapsed = now.last - min(now.starts)
    return (now.count - 1) / elapsed if elapsed > 0 else 0.0


ONE = Drain("drain_noop_1", "noop", 1, "best")
TWO = Drain("drain_noop_2", "noop", 2, "best", guess=1.5)
DEFAULT = Drain("drain_noop_1_default", "noop", 1, "default", guess=0.5)
SLEEPS_ONE = (
    Drain("drain_1ms_1", "sleep_1", 1, "sleeping", 0.8),
    Drain("drain_10ms_1", "sleep_10", 1, "sleeping", 0.5),
)
SLEEPS_TWO = (Drain("drain_1ms_2", "sleep_1", 2, "sleeping"), Drain("drain_10ms_2", "sleep_10", 2, "sleeping", 0.8))
