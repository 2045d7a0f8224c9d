"""What the marks of the jobs, the worker's processes and the server's say at one moment; figures are differences."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.peers.harness import Place
from bench.peers.meter import Meter, Meters
from bench.peers.trees import Tree


@dataclass(frozen=True, slots=True)
class Moment:
    """So many jobs had been put in and had started, and so much CPU time was used, since the beginning."""

    at: float
    started: int
    added: int
    worked_s: float
    served_s: float

    def rate_since(self, before: "Moment") -> float:
        return (self.started - before.started) / (self.at - before.at)

    def cost_since(self, before: "Moment") -> dict[str, float]:
        """CPU time of worker and server for each job that started."""
        jobs = max(1, self.started - before.started)
        return {
            "worker_us_per_job": 1e6 * (self.worked_s - before.worked_s) / jobs,
            "server_us_per_job": 1e6 * (self.served_s - before.served_s) / jobs,
        }


def look(place: Place, workers: Sequence[Tree], meters: Meters) -> Moment:
    worked = sum(worker.cpu_s for worker in workers)
    return Moment(time.monotonic(), meters.read().count, added(place), worked, place.server_cpu_s())


def added(place: Place) -> int:
    """How many jobs a sustaining producer has put in."""
    file = place.folder / "added"
    return Meter(file).count if file.exists() and file.stat().st_size else 0
