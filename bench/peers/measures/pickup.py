"""From the clock before an enqueue to the body's start in another process: worker idle, and at half of its load."""

import contextlib
import time

from bench.peers.harness import Harness, Place
from bench.peers.peer import Peer
from bench.peers.results import Figures
from bench.processes import TooSlowError
from bench.run import median, percentile

ARRIVE_S = 15.0
LONGER_S = 15.0
HALF = 0.5


def _stamps(place: Place) -> list[float]:
    return [float(line) for file in place.folder.glob("stamps-*") for line in file.read_text("ascii").split()]


def _pickup(harness: Harness, peer: Peer, load_per_s: float) -> Figures:
    scale = harness.scale
    with harness.place(peer) as place, place.worker(peer.best) as worker, contextlib.ExitStack() as stack:
        place.until_ready([worker], peer.best)
        time.sleep(scale.rest_s)
        if load_per_s > 0:
            seconds = scale.pickup_jobs * scale.pickup_every_s + LONGER_S  # it is stopped when the others are done
            load = place.producing("load", rate=load_per_s, seconds=seconds)
            stack.callback(load.stop)
            time.sleep(scale.rest_s)
        place.produce("pickup", count=scale.pickup_jobs, every=scale.pickup_every_s)
        with contextlib.suppress(TooSlowError):  # what has arrived is told, and how many
            place.watch(lambda: len(_stamps(place)) >= scale.pickup_jobs, [worker], "every pick-up", ARRIVE_S)
        waits = _stamps(place)
    if not waits:
        raise TooSlowError(f"none of {scale.pickup_jobs} jobs was picked up")
    return {
        "p50_ms": 1e3 * median(waits),
        "p99_ms": 1e3 * percentile(waits, 0.99),
        "max_ms": 1e3 * max(waits),
        "jobs": len(waits),
        "sent": scale.pickup_jobs,
        "load_per_s": load_per_s,
    }


def idle(harness: Harness, peer: Peer) -> Figures:
    return _pickup(harness, peer, 0.0)


def half(harness: Harness, peer: Peer) -> Figures:
    """At half of what this peer sustains, or of what it is known to drain."""
    full = harness.results.latest(peer.name, "sustained", "per_s") or float(peer.rate)
    return _pickup(harness, peer, HALF * full)
