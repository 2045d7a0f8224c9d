"""The order of a run: rounds over all peers, then the kills; every failure is kept and stops nobody else."""

import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.peers.catalogue import FLOOR, HEADRACE
from bench.peers.environments import UnavailableError
from bench.peers.harness import Harness, PeerError
from bench.peers.measures import RERUN, ROUNDS, Measure, rerun
from bench.peers.peer import Peer
from bench.peers.results import Figures
from bench.peers.servers.postgres import SETTINGS
from bench.processes import TooSlowError

EXPECTED = (PeerError, TooSlowError, UnavailableError)
SERVERS = {
    "postgres": ", ".join(f"{name}={value}" for name, value in SETTINGS.items()),
    "redis": "defaults: snapshots now and then, no append-only file",
    "rabbitmq": "defaults; durable queues, persistent messages",
}
BOOT_S = 10.0
"""What the workers of all peers get to start in, when they do so together."""


@dataclass(slots=True)
class Run:
    """What is measured, of whom, and what is done after each figure."""

    harness: Harness
    peers: Sequence[Peer]
    measures: Collection[str]
    keep: Callable[[], None]

    def everything(self) -> None:
        give_up = time.monotonic() + self.harness.scale.budget_s
        available = [peer for peer in self.peers if self._is_available(peer)]
        chosen = {name: measure for name, measure in ROUNDS.items() if name in self.measures}
        scale = self.harness.scale
        rounds = max((each.rounds(scale, peer) for each in chosen.values() for peer in available), default=0)
        for number in range(rounds):
            for peer in available:
                for name, measure in chosen.items():
                    if self._is_due(peer, name, measure, number):
                        if time.monotonic() > give_up:
                            self._out_of_time(peer, name)
                        else:
                            self._make(peer, name, lambda m=measure, p=peer: m.make(self.harness, p))
                self.keep()
        if RERUN in self.measures:
            self._kills(available)
            self.keep()

    def _is_due(self, peer: Peer, name: str, measure: Measure, number: int) -> bool:
        harness = self.harness
        failed = harness.results.has_failed(peer.name, name)
        return number < measure.rounds(harness.scale, peer) and not failed and measure.applies(harness, peer)

    def _is_available(self, peer: Peer) -> bool:
        """Install the peer, start its server, and say at once what does not work."""
        harness, facts = self.harness, self.harness.results.facts
        stem = f"peers.{peer.name}"
        facts |= {f"{stem}.title": peer.title, f"{stem}.durability": peer.durability}
        facts[f"{stem}.setting"] = peer.best.text
        facts |= {f"{stem}.setting_{kind}": setting.text for kind, setting in peer.others.items()}
        try:
            environment = harness.environment(peer)
            server = harness.server(peer)
        except (*EXPECTED, OSError, subprocess.SubprocessError) as error:
            facts[f"{stem}.failed"] = str(error)
            print(f"{peer.title}: {error}", flush=True)
            return False
        if version := environment.versions.get(peer.package):
            facts[f"{stem}.version"] = version
        if server is not None:
            facts |= {f"{server.name}.version": server.version, f"{server.name}.settings": SERVERS[server.name]}
        return True

    def _make(self, peer: Peer, name: str, make: Callable[[], Figures]) -> None:
        results, started = self.harness.results, time.monotonic()
        try:
            figures = make()
        except EXPECTED as error:
            results.fail(peer.name, name, str(error))
            told = f"FAILED: {error}"
        except Exception as error:  # noqa: BLE001 - whatever a peer does, the others are measured
            results.fail(peer.name, name, f"{type(error).__name__}: {error}"[:300])
            told = f"FAILED: {error!r}"
        else:
            results.add(peer.name, name, figures)
            told = ", ".join(f"{figure}={value:,.5g}" for figure, value in figures.items())
        print(f"{peer.name} {name}: {told} ({time.monotonic() - started:.1f} s)", flush=True)

    def _out_of_time(self, peer: Peer, name: str) -> None:
        if self.harness.results.count(peer.name, name) == 0:
            self.harness.results.fail(peer.name, name, "the run was out of time")

    def _kills(self, peers: Sequence[Peer]) -> None:
        harness = self.harness
        if HEADRACE in peers:
            self._make(HEADRACE, RERUN, lambda: rerun.measure(harness, HEADRACE, harness.scale.kills))
        others = [peer for peer in peers if peer not in (HEADRACE, FLOOR)]
        with ThreadPoolExecutor(max(1, len(others))) as pool:
            for peer in others:
                pool.submit(self._make, peer, RERUN, lambda p=peer: rerun.measure(harness, p, rest_s=BOOT_S))
