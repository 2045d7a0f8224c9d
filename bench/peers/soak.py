"""`python -m bench.peers.soak`: a long steady load while an old snapshot keeps every dead row; what speed is left.

Full speed is measured before the snapshot is held, and again at the end, while it still is.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

from bench.environment import describe
from bench.peers.catalogue import BY_NAME
from bench.peers.harness import Harness, Place
from bench.peers.moment import Moment, added, look
from bench.peers.results import Figures
from bench.peers.scale import FULL
from bench.peers.servers.postgres import hold_snapshot
from bench.peers.trees import Tree

WARM_S, FULL_SPEED_S, SPARE_S = 3.0, 30.0, 2.0
MINUTE_S = 60.0


def _full_speed(place: Place, worker: Tree, seconds: float) -> float:
    """Jobs a second, with as many enqueued as the worker can take."""
    producing = place.producing("sustain", seconds=WARM_S + seconds + SPARE_S)
    try:
        before = added(place)
        place.watch(lambda: added(place) > before, [worker], "the first enqueues", 30.0)
        time.sleep(WARM_S)
        first = look(place, [worker], place.meters)
        time.sleep(seconds)
        rate = look(place, [worker], place.meters).rate_since(first)
        producing.finish()
    finally:
        producing.stop()
    return rate


def _steady(place: Place, worker: Tree, rate: float, seconds: float) -> Figures:
    """A steady load; one line a minute. The rate and the costs are the last minute's."""
    producing = place.producing("load", rate=rate, seconds=seconds + SPARE_S)
    try:
        begun = time.monotonic()
        before: Moment = look(place, [worker], place.meters)
        figures: Figures = {}
        while (left := begun + seconds - time.monotonic()) > 0:
            time.sleep(min(MINUTE_S, left))
            now = look(place, [worker], place.meters)
            figures = {"steady_per_s": now.rate_since(before), **now.cost_since(before)}
            text = ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
            print(f"{time.monotonic() - begun:6.0f} s: {text}", file=sys.stderr, flush=True)
            before = now
        producing.finish(seconds=300.0)
    finally:
        producing.stop()
    return figures


def soak(harness: Harness, rate: float, seconds: float, full_speed_s: float) -> Figures:
    """The whole run, on Headrace and an empty database."""
    peer = BY_NAME["headrace"]
    with harness.place(peer) as place, place.worker(peer.best) as worker, contextlib.ExitStack() as stack:
        place.until_ready([worker], peer.best)
        free = _full_speed(place, worker, full_speed_s)
        holder = hold_snapshot(place.url)
        stack.callback(holder.wait)
        stack.callback(holder.kill)
        held = time.monotonic()
        figures = _steady(place, worker, rate, seconds)
        place.watch(lambda: place.meters.read().count >= added(place), [worker], "the rest of the load", 60.0)
        burdened = _full_speed(place, worker, full_speed_s)
        if holder.poll() is not None:
            raise RuntimeError("the snapshot was not held to the end")
        return {
            "rate": rate, "held_s": time.monotonic() - held, "free_per_s": free, "held_per_s": burdened,
            "ratio": burdened / free, **figures,
        }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.peers.soak", description="A long load, a snapshot held.")
    parser.add_argument("--rate", type=float, default=15_000.0, help="jobs a second of the steady load")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long it goes on")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-soak-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        root.chmod(0o755)  # PostgreSQL runs as another user when we are root
        harness = Harness(root, FULL)
        try:
            seconds = 60 * arguments.minutes
            figures = soak(harness, arguments.rate, seconds, min(FULL_SPEED_S, seconds))
        finally:
            harness.stop()
        told = {name: round(value, 3) for name, value in figures.items()}
        facts = {name: value for name, value in describe(root, "").items() if not name.startswith(("sqlite.", "huey."))}
    print(json.dumps(told, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(facts | told, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
