"""Enqueues without a worker beside them: one caller, a hundred, and the bulk call."""

from bench.peers.harness import Harness
from bench.peers.peer import Peer
from bench.peers.results import Figures


def measure(harness: Harness, peer: Peer) -> Figures:
    scale = harness.scale
    figures = {}
    with harness.place(peer) as place:
        for mode in ("one", "callers", "bulk"):
            told = place.produce(mode, seconds=scale.enqueue_s, callers=scale.callers)
            figures[f"{mode}_per_s"] = told["count"] / told["elapsed_s"]
    return figures | {"callers": scale.callers, "seconds": scale.enqueue_s}
