"""SIGKILL for all of a worker while it runs a job: how long until the body starts again in another worker."""

import contextlib
import time

from bench.peers.harness import Harness, PeerError, Place, at_rest
from bench.peers.peer import Peer, Setting
from bench.peers.results import Figures
from bench.peers.trees import Tree, family
from bench.processes import TooSlowError
from bench.run import median, percentile

START_S = 60.0


def _starts(place: Place, n: int) -> list[tuple[int, float]]:
    """Pid and time of each start of the body of one job."""
    file = place.folder / f"started-{n}"
    lines = file.read_text("ascii").splitlines() if file.exists() else []
    return [(int(pid), float(at)) for pid, at in (line.split() for line in lines)]


def _kill(place: Place, trees: list[Tree], n: int, seconds: float) -> float | None:
    """One job that holds on, and the end of the worker that has it; seconds until it starts elsewhere, if it does."""
    place.produce("hold", number=n)
    starts = place.watch(lambda: _starts(place, n), trees, "the body's start", START_S)
    victim = next(tree for tree in trees if starts[0][0] in family(tree.pid))
    killed_at = victim.kill()
    trees.remove(victim)
    try:
        again = place.watch(lambda: _starts(place, n)[1:], trees, "run again elsewhere", seconds)
    except TooSlowError:
        return None
    (place.folder / f"release-{n}").touch()
    return again[0][1] - killed_at


def measure(harness: Harness, peer: Peer, kills: int = 1, rest_s: float | None = None) -> Figures:
    scale = harness.scale
    setting: Setting = peer.kill or peer.best
    rest = scale.kill_rest_s if rest_s is None else rest_s
    waits = []
    with harness.place(peer) as place, contextlib.ExitStack() as stack:
        first = stack.enter_context(place.worker(setting))
        place.until_ready([first], setting)
        trees = [first, stack.enter_context(place.worker(setting))]
        for n in range(kills):
            time.sleep(rest)
            at_rest(trees)
            if ended := next((tree for tree in trees if not tree.is_alive), None):
                raise PeerError(f"a worker ended by itself: {ended.last_words()}")
            waited = _kill(place, trees, n, scale.kill_s)
            if waited is None:
                return {"kills": n + 1, "not_within_s": scale.kill_s}
            waits.append(waited)
            trees.append(stack.enter_context(place.worker(setting)))
    return {"p50_s": median(waits), "p99_s": percentile(waits, 0.99), "max_s": max(waits), "kills": len(waits)}
