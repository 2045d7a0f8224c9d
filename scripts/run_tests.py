"""Runs every part of `make test`, one after the other, and says at the end what ran and what was skipped and why.

A part that fails does not stop the others: one run shows all that is wrong.
"""

import json
import resource
import shutil
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".cache" / "reports"
PARTS = ("lint", "types", "layers", "coverage", "unit", "simulation", "integration", "chaos", "docs", "e2e")
ARGS = {"unit": "-q --ignore=tests/unit/core"}  # which `coverage` has run
BUDGET_S = 20 * 60


@dataclass
class Part:
    """What one part of the run came to."""

    name: str
    ok: bool
    seconds: float
    cpu_s: float
    counts: Counter[str] = field(default_factory=Counter)
    skips: Counter[str] = field(default_factory=Counter)


def run(name: str) -> Part:
    """Run one target of the Makefile, its output going straight through."""
    print(f"\n=== {name}", flush=True)
    report = REPORTS / f"{name}.xml"
    started, before_s = time.monotonic(), used()
    code = subprocess.run(
        ["make", name, f"REPORT={report}", f"ARGS={ARGS.get(name, '-q')}"], cwd=ROOT, check=False
    ).returncode
    part = Part(name, code == 0, time.monotonic() - started, used() - before_s)
    if report.exists():
        read(report, part)
    return part


def used() -> float:
    """Processor time of the processes that have ended and were waited for: what a busy machine does not add to."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def read(report: Path, part: Part) -> None:
    """Add the counts and the reasons of a JUnit report to a part."""
    for case in ET.parse(report).iter("testcase"):
        skipped = case.find("skipped")
        if skipped is not None:
            part.counts["skipped"] += 1
            part.skips[skipped.get("message") or "no reason given"] += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            part.counts["failed"] += 1
        else:
            part.counts["passed"] += 1


def covered() -> str:
    """How much of the core its own tests cover, and how much they must; the part itself fails below that."""
    report = REPORTS / "coverage.json"
    if not report.exists():
        return "not measured"
    share = json.loads(report.read_text("utf-8"))["totals"]["percent_covered"]
    floor = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["coverage"]["report"]["fail_under"]
    return f"{share:.2f} % of its statements and branches, by its own tests alone (at least {floor} %)"


def main() -> int:
    """Run the parts and print the table."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    started = time.monotonic()
    parts = [run(name) for name in PARTS]
    total = time.monotonic() - started

    print("\n=== what ran")
    for part in parts:
        tests = ", ".join(
            f"{part.counts[word]} {word}" for word in ("passed", "failed", "skipped") if part.counts[word]
        )
        took = f"{part.seconds:6.1f} s ({part.cpu_s:5.1f} s CPU)"
        print(f"  {'ok  ' if part.ok else 'FAIL'}  {part.name:<11} {took}  {tests}")
    print(f"=== core covered: {covered()}")
    print("=== what was skipped")
    for part in parts:
        for reason, count in sorted(part.skips.items()):
            print(f"  {part.name}: {count} x {reason}")
    if not any(part.skips for part in parts):
        print("  nothing")
    # A slow machine is no defect of a change, so the budget is told and not enforced.
    verdict = ": longer than it should be" if total > BUDGET_S else ""
    print(f"=== {total:.0f} s ({sum(part.cpu_s for part in parts):.0f} s CPU) of {BUDGET_S} s{verdict}")
    return 0 if all(part.ok for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main())
