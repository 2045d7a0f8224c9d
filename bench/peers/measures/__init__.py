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


@dataclass(frozen=True, slots=True)
class Measure:
    make: Callable[[Harness, Peer], Figures]
    runs: Callable[[Scale], int]
    applies: Callable[[Harness, Peer], bool] = _always


def _drain(which: drain.Drain, runs: Callable[[Scale], int]) -> tuple[str, Measure]:
    return which.name, Measure(which.measure, runs, lambda _, peer: which.applies(peer))


def _on_postgres(harness: Harness, peer: Peer) -> bool:
    return harness.server_name(peer) == POSTGRES


def _is_headrace(_: Harness, peer: Peer) -> bool:
    return peer.name == "headrace"


ROUNDS: Mapping[str, Measure] = dict(
    [
        ("enqueue", Measure(enqueue.measure, lambda scale: scale.enqueue_runs)),
        _drain(drain.ONE, lambda scale: scale.drain_runs),
        _drain(drain.TWO, lambda scale: scale.drain_pair_runs),
        *[_drain(each, lambda scale: scale.drain_sleep_runs) for each in drain.SLEEPS_ONE],
        *[_drain(each, lambda scale: scale.drain_other_runs) for each in (*drain.SLEEPS_TWO, drain.DEFAULT)],
        ("sustained", Measure(sustained.measure, lambda scale: scale.sustained_runs)),
        ("pickup_idle", Measure(pickup.idle, lambda scale: scale.pickup_runs)),
        ("pickup_half", Measure(pickup.half, lambda scale: scale.pickup_runs)),
        ("held", Measure(sustained.held, lambda scale: scale.held_runs, _on_postgres)),
        ("growth", Measure(growth.measure, lambda _: 1, _is_headrace)),
    ]
)
"""Made for each peer in turn, as often as their scale says: so that a slow minute of the machine touches all peers."""
RERUN = "rerun"
"""Made last: Headrace's kills alone, then one of every other peer, all at once: most take long or never end."""
NAMES = (*ROUNDS, RERUN)
