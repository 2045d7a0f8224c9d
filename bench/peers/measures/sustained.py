"""Producer and worker side by side: body starts a second while no more than some thousand jobs wait.

On PostgreSQL also with one old snapshot held, which keeps every dead row in the way of the claims.
"""

import contextlib
import time
from dataclasses import dataclass

from bench.peers.harness import Harness, Place
from bench.peers.meter import Meter, Meters
from bench.peers.peer import Peer
from bench.peers.results import Figures
from bench.peers.servers.postgres import Postgres, hold_snapshot
from bench.peers.trees import Tree

SPARE_S = 2.0
LAST = 0.25
"""The share of the held time that is looked at: its end, when the dead rows are most."""


@dataclass(frozen=True, slots=True)
class Moment:
    """So many jobs had been put in and had started."""

    at: float
    started: int
    added: int
    worked_s: float
    served_s: float


def _look(place: Place, meters: Meters, worker: Tree) -> Moment:
    file = place.folder / "added"
    added = Meter(file).count if file.exists() and file.stat().st_size else 0
    return Moment(time.monotonic(), meters.read().count, added, worker.cpu_s, place.server_cpu_s())


def _rate(first: Moment, last: Moment) -> float:
    return (last.started - first.started) / (last.at - first.at)


def measure(harness: Harness, peer: Peer) -> Figures:
    scale = harness.scale
    with harness.place(peer) as place, place.worker(peer.best) as worker:
        place.until_ready([worker], peer.best)
        meters = place.meters
        total = scale.sustained_warm_s + scale.sustained_s + SPARE_S
        producing = place.producing("sustain", seconds=total)
        try:
            place.watch(lambda: _look(place, meters, worker).added, [worker], "the first enqueues", 30.0)
            time.sleep(scale.sustained_warm_s)
            first = _look(place, meters, worker)
            time.sleep(scale.sustained_s)
            last = _look(place, meters, worker)
            producing.finish()
        finally:
            producing.stop()
    jobs = max(1, last.started - first.started)
    return {
        "per_s": _rate(first, last),
        "added_per_s": (last.added - first.added) / (last.at - first.at),
        "backlog": max(0, last.added - last.started),
        "worker_us_per_job": 1e6 * (last.worked_s - first.worked_s) / jobs,
        "server_us_per_job": 1e6 * (last.served_s - first.served_s) / jobs,
    }


def held(harness: Harness, peer: Peer) -> Figures:
    """The rate before a snapshot is held, and at the end of the time for which it is."""
    scale = harness.scale
    with harness.place(peer) as place, place.worker(peer.best) as worker, contextlib.ExitStack() as stack:
        if not isinstance(place.server, Postgres):
            raise TypeError("no snapshot can be held here")
        place.until_ready([worker], peer.best)
        meters = place.meters
        total = scale.sustained_warm_s + scale.held_before_s + scale.held_s + 2 * SPARE_S
        producing = place.producing("sustain", seconds=total)
        stack.callback(producing.stop)
        place.watch(lambda: _look(place, meters, worker).added, [worker], "the first enqueues", 30.0)
        time.sleep(scale.sustained_warm_s)
        begun = _look(place, meters, worker)
        time.sleep(scale.held_before_s)
        before = _look(place, meters, worker)
        holder = hold_snapshot(place.url)
        stack.callback(holder.wait)
        stack.callback(holder.kill)
        time.sleep(scale.held_s * (1 - LAST))
        late = _look(place, meters, worker)
        time.sleep(scale.held_s * LAST)
        last = _look(place, meters, worker)
    free, burdened = _rate(begun, before), _rate(late, last)
    figures = {"free_per_s": free, "per_s": burdened, "held_s": scale.held_s}
    return figures | ({"ratio": burdened / free} if free > 0 else {})
