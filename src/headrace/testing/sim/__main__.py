"""`python -m headrace.testing.sim SEED` replays one world; `--seeds N` runs many and counts.

Exit status: 0, every promise was kept; 1, one was broken, and its name is printed; 2, misuse.
"""

import argparse
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

from headrace.testing.sim import events as e
from headrace.testing.sim.scenario import draw
from headrace.testing.sim.story import tell
from headrace.testing.sim.world import Report, World

CHUNK = 5
FAILED_MAX = 20


def main(argv: list[str] | None = None) -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="python -m headrace.testing.sim", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="replay this one and print its timeline")
    parser.add_argument("--quiet", action="store_true", help="of a replay, print the end only")
    parser.add_argument("--seeds", type=int, metavar="N", help="run so many seeds, on every processor")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of them (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="processes to use")
    parser.add_argument("--json", action="store_true", help="print the sums of --seeds as one line of JSON")
    asked = parser.parse_args(argv)
    if (asked.seed is None) == (asked.seeds is None):
        parser.error("give either a SEED to replay, or --seeds N")
    logging.getLogger("headrace").setLevel(logging.CRITICAL + 1)
    if asked.seed is not None:
        with suppress(BrokenPipeError):  # whoever reads has seen enough
            return replay(asked.seed, quiet=asked.quiet)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return sweep(range(asked.first, asked.first + asked.seeds), asked.jobs, as_json=asked.json)


def replay(seed: int, *, quiet: bool) -> int:
    """Run one world, telling what happens. The digest is of all of it: equal histories have equal ones."""
    digest = blake2b(digest_size=8)

    def watch(at: float, event: e.Event) -> None:
        line = tell(event)
        digest.update(f"{at:.6f} {line}".encode())
        if line is not None and not quiet:
            print(f"{at:12.4f}  {line}")  # noqa: T201 - it is what this program is for

    scenario = draw(seed)
    faults = ", ".join(f"{kind.value} {much:.2f}" for kind, much in scenario.faults.items()) or "none"
    print(  # noqa: T201
        f"seed {seed}: {scenario.trees} supervisors of {scenario.processes} workers with {scenario.slots} slots on"
        f" {scenario.machines} machines, {scenario.jobs} jobs; leases of {scenario.lease_s:g} s\nfaults: {faults}"
    )
    report = World(seed, watch).run()
    print(f"{report.simulated_s:.0f} s were simulated; digest {digest.hexdigest()}")  # noqa: T201
    print(verdict(report))  # noqa: T201
    return 0 if report.violation is None else 1


def verdict(report: Report) -> str:
    """The end of a world in one line."""
    if report.violation is None:
        return f"seed {report.seed}: every promise was kept"
    broken = report.violation
    return f"seed {report.seed}: BROKEN: {broken.name}: {broken.detail} (at {broken.at:.4f} s)"


def sweep(seeds: range, processes: int, *, as_json: bool) -> int:
    """Run many worlds, and sum up."""
    began = time.perf_counter()
    failed: list[Report] = []
    sums = {"worker_hours": 0.0, "cpu_s": 0.0}
    for reports, cpu_s in _spread(seeds, processes):
        sums["cpu_s"] += cpu_s
        sums["worker_hours"] += sum(report.worker_s for report in reports) / 3600
        for report in reports:
            if report.violation is not None:
                failed.append(report)
                print(verdict(report), file=sys.stderr if as_json else sys.stdout, flush=True)
    total: dict[str, Any] = {
        "seeds": len(seeds),
        "first": seeds.start,
        "failed": [report.seed for report in failed],
        "violations": [asdict(report.violation) for report in failed[:FAILED_MAX] if report.violation is not None],
        "wall_s": round(time.perf_counter() - began, 1),
        **{name: round(value, 1) for name, value in sums.items()},
    }
    if as_json:
        print(json.dumps(total))  # noqa: T201
    else:
        per_cpu_s = sums["worker_hours"] / max(sums["cpu_s"], 1e-9)
        print(  # noqa: T201
            f"{total['seeds']} seeds in {total['wall_s']} s: {len(failed)} broke a promise;"
            f" {total['worker_hours']} worker-hours, {per_cpu_s:.0f} per second of processor"
        )
    return 1 if failed else 0


def _spread(seeds: range, processes: int) -> Iterator[tuple[list[Report], float]]:
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    if processes <= 1:
        yield from map(some, chunks)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(some, chunks)


def some(seeds: range) -> tuple[list[Report], float]:
    """Run a few worlds in this process; their reports, and the seconds of processor that they took."""
    logging.getLogger("headrace").setLevel(logging.CRITICAL + 1)
    began = time.process_time()
    gc.disable()  # a world is full of cycles, and goes as a whole
    reports: list[Report] = []
    for seed in seeds:
        reports.append(World(seed).run())
        gc.collect()
    return reports, time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
