"""The measures, by the name that keys and the command line know them by, and how often each is made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.peers.harness import POSTGRES, Harness
from bench.peers.measures import drain, enqueue, growth, pickup, sustained
from bench.peers.peer import Peer
from bench.peers.results import Figures
from bench.peers.scale import Scale


def _always(_: Harness, __: Peer) -> bool:
    return True


CONTENDERS = frozenset({"headrace", "floor", "pgqueuer", "graphile"})
"""Those whose figures are set against each other: they are measured more often than the others."""


@dataclass(frozen=True, slots=True)
class Measure:
    make: Callable[[Harness, Peer], Figures]
    runs: Callable[[Scale], int]
    applies: Callable[[Harness, Peer], bool] = _always
    compared: bool = False  # of contenders, with each other

    def rounds(self, scale: Scale, peer: Peer) -> int:
        """How often it is made of a peer."""
        runs = self.runs(scale)
        return max(runs, scale.contender_runs) if self.compared and peer.name in CONTENDERS else runs


def _drain(which: drain.Drain, runs: Callable[[Scale], int], *, compared: bool = False) -> tuple[str, Measure]:
    return which.name, Measure(which.measure, runs, lambda _, peer: which.applies(peer), compared)


def _on_postgres(harness: Harness, peer: Peer) -> bool:
    return harness.server_name(peer) == POSTGRES


def _is_headrace(_: Harness, peer: Peer) -> bool:
    return peer.name == "headrace"


ROUNDS: Mapping[str, Measure] = dict(
    [
        ("enqueue", Measure(enqueue.measure, lambda scale: scale.enqueue_runs, compared=True)),
        _drain(drain.ONE, lambda scale: scale.drain_runs, compared=True),
        _drain(drain.TWO, lambda scale: scale.drain_pair_runs),
        *[_drain(each, lambda scale: scale.drain_sleep_runs) for each in drain.SLEEPS_ONE],
        *[_drain(each, lambda scale: scale.drain_other_runs) for each in (*drain.SLEEPS_TWO, drain.DEFAULT)],
        ("sustained", Measure(sustained.measure, lambda scale: scale.sustained_runs, compared=True)),
        ("pickup_idle", Measure(pickup.idle, lambda scale: scale.pickup_runs, compared=True)),
        ("pickup_half", Measure(pickup.half, lambda scale: scale.pickup_runs, compared=True)),
        ("held", Measure(sustained.held, lambda scale: scale.held_runs, _on_postgres)),
        ("growth", Measure(growth.measure, lambda _: 1, _is_headrace)),
    ]
)
"""Made for each peer in turn, as often as their scale says: so that a slow minute of the machine touches all peers."""
RERUN = "rerun"
"""Made last: Headrace's kills alone, then one of every other peer, all at once: most take long or never end."""
NAMES = (*ROUNDS, RERUN)
