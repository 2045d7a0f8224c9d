"""`python -m proof`: see the package."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any, Final

from proof.backing import Opener
from proof.brokers import run as brokers
from proof.environment import commit, machine, versions
from proof.postgres import PostgresBacking
from proof.report import as_json, table, verdict
from proof.run import Report, Run, keep_evidence, run_to_end
from proof.simulator import SEEDS, simulate
from proof.sqlite import Sqlite

BACKINGS: Final[dict[str, Opener]] = {"sqlite": Sqlite, "postgres": PostgresBacking}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proof", description="The chaos ledger.")
    parser.add_argument("--jobs", type=int, default=5_000, help="acknowledged jobs per store (default 5000)")
    parser.add_argument("--seed", type=int, help="of the orders and the faults (default: drawn)")
    parser.add_argument("--store", action="append", choices=list(BACKINGS), help="may be repeated")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure")
    parser.add_argument("--disk", choices=["auto", "tmpfs", "limit"], default="auto", help="how the disk gets full")
    parser.add_argument("--evidence", type=Path, metavar="DIR", help="keep the files of the run here, always")
    parser.add_argument("--at-most", type=float, metavar="SECONDS", help="order no longer than this")
    parser.add_argument(
        "--broker", action="append", choices=brokers.KINDS, help="may be repeated (no --store and no --broker: all)"
    )
    parser.add_argument("--messages", type=int, default=5_000, help="for each broker (default 5000)")
    parser.add_argument("--sim-seeds", type=int, default=SEEDS, help="seeds of the simulator; 0 leaves it out")
    return parser.parse_args()


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def _one(store: str, arguments: argparse.Namespace, seed: int) -> Report:
    """One store, in a folder of its own; its files are kept if something is wrong."""
    with tempfile.TemporaryDirectory(prefix="headrace-proof-") as name:
        folder = Path(name)
        backing = BACKINGS[store](folder, arguments.jobs, arguments.disk)
        _say(
            f"{store}: {arguments.jobs} jobs, seed {seed}, on {backing.place}; the disk gets full by {backing.refusal}"
        )
        run = Run(backing, folder, arguments.jobs, seed, say=_say, at_most_s=arguments.at_most)
        report: Report | None = None
        try:
            report = run_to_end(run.go())
            return report
        finally:
            run.close()
            if arguments.evidence is not None or report is None or verdict([report], {}, strict=False):
                kept = arguments.evidence or Path(tempfile.gettempdir()) / f"headrace-proof-kept-{os.getpid()}"
                keep_evidence(folder, kept / store)
                _say(f"the files of this run are in {kept}")
            backing.close()


def _bridge(kind: str, arguments: argparse.Namespace, seed: int) -> brokers.Told:
    """One broker, in a folder of its own; its worker's log is kept if something is wrong."""
    with tempfile.TemporaryDirectory(prefix="headrace-proof-") as name:
        told: brokers.Told | None = None
        try:
            told = brokers.run(kind, arguments.messages, seed, Path(name), _say)
            return told
        finally:
            if arguments.evidence is not None or told is None or told.wrong:
                kept = arguments.evidence or Path(tempfile.gettempdir()) / f"headrace-proof-kept-{os.getpid()}"
                keep_evidence(Path(name), kept / kind)
                _say(f"the files of this run are in {kept}")


def _interrupted(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    """Run, print, judge."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupted)
    seed = arguments.seed if arguments.seed is not None else int.from_bytes(os.urandom(3))
    given: dict[str, Any] = {
        "commit": commit(),
        "seed": seed,
        "machine": machine(),
        "versions": versions(),
        "load_before": round(os.getloadavg()[0], 2),
    }
    whole = not arguments.store and not arguments.broker
    stores, kinds = (BACKINGS, brokers.KINDS) if whole else (arguments.store or (), arguments.broker or ())
    reports = [_one(store, arguments, seed) for store in dict.fromkeys(stores)]
    bridged = [_bridge(kind, arguments, seed) for kind in dict.fromkeys(kinds)]
    simulated = simulate(arguments.sim_seeds) if arguments.sim_seeds else {"seeds": 0, "failed": []}
    for report in reports:
        given["versions"] |= report.versions
    figures = as_json(reports, simulated, given)
    for told in bridged:
        figures |= told.keys()
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", "utf-8")
    for report in reports:
        print(table(report))
    for told in bridged:
        print(told.line())
    print(f"simulator: {json.dumps(simulated)}")
    print(f"commit {given['commit']}, seed {seed}, {given['machine']}, {given['versions']}")
    wrong = verdict(reports, simulated, strict=os.environ.get("CI") == "true")
    wrong += [line for told in bridged for line in told.wrong]
    for line in wrong:
        print(f"VIOLATED {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
