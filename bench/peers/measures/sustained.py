"""Producer and worker side by side: body starts a second while no more than some thousand jobs wait.

On PostgreSQL also with one old snapshot held, which keeps every dead row in the way of the claims.
"""

import contextlib
import time

from bench.peers.harness import Harness
from bench.peers.moment import added, look
from bench.peers.peer import Peer
from bench.peers.results import Figures
from bench.peers.servers.postgres import hold_snapshot
from servers.postgres import Postgres

SPARE_S = 2.0
LAST = 0.25
"""The share of the held time that is looked at: its end, when the dead rows are most."""


def measure(harness: Harness, peer: Peer) -> Figures:
    scale = harness.scale
    setting = peer.sustained or peer.best
    with harness.place(peer) as place, place.worker(setting) as worker:
        place.until_ready([worker], setting)
        meters = place.meters
        total = scale.sustained_warm_s + scale.sustained_s + SPARE_S
        producing = place.producing("sustain", seconds=total)
        try:
            place.watch(lambda: added(place), [worker], "the first enqueues", 30.0)
            time.sleep(scale.sustained_warm_s)
            first = look(place, [worker], meters)
            time.sleep(scale.sustained_s)
            last = look(place, [worker], meters)
            producing.finish()
        finally:
            producing.stop()
    return {
        "per_s": last.rate_since(first),
        "added_per_s": (last.added - first.added) / (last.at - first.at),
        "backlog": max(0, last.added - last.started),
        **last.cost_since(first),
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
        place.watch(lambda: added(place), [worker], "the first enqueues", 30.0)
        time.sleep(scale.sustained_warm_s)
        begun = look(place, [worker], meters)
        time.sleep(scale.held_before_s)
        before = look(place, [worker], meters)
        holder = hold_snapshot(place.url)
        stack.callback(holder.wait)
        stack.callback(holder.kill)
        time.sleep(scale.held_s * (1 - LAST))
        late = look(place, [worker], meters)
        time.sleep(scale.held_s * LAST)
        last = look(place, [worker], meters)
    free, burdened = before.rate_since(begun), last.rate_since(late)
    figures = {"free_per_s": free, "per_s": burdened, "held_s": scale.held_s}
    return figures | ({"ratio": burdened / free} if free > 0 else {})
