"""Runs every part of `make test`, and says at the end what ran and what was skipped and why.

A part that fails does not stop the others: one run shows all that is wrong. Parts that mostly wait run beside those
that mostly compute. Where the time is bounded, a part that could not end in it is not begun, and that is said.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".cache" / "reports"
STEPS = (  # how many parts at once, and which: what takes long first, and what looks closely at real time last
    (3, ("unit", "integration", "e2e", "commands", "brokers", "coverage", "types", "lint", "layers", "docs")),
    (3, ("chaos", "ledger", "simulation")),
)
WAY_GIVING = {"simulation", "coverage"}  # they need a processor and no clock, so that others come before them
ELSEWHERE = {  # of a part, what another runs
    "unit": ("tests/unit/core",),
    "integration": ("tests/integration/cli", "tests/integration/bridges", "tests/integration/servers"),
    "chaos": ("tests/chaos/test_ledger.py",),
}
BUDGET_S = 20 * 60
ENDS_AT = float(os.environ.get("TESTS_END_AT") or "inf")  # seconds since the epoch, as `.ci/run` sets it
TAKES_S = {"chaos": 420, "ledger": 240, "simulation": 300}  # on a slow machine; all else is always begun


@dataclass
class Part:
    """What one part of the run came to."""

    name: str
    ok: bool
    seconds: float
    cpu_s: float
    counts: Counter[str] = field(default_factory=Counter)
    skips: Counter[str] = field(default_factory=Counter)
    begun: bool = True


def run(name: str) -> Part:
    """Run one target of the Makefile; its output is printed as a whole when it has ended."""
    if name in TAKES_S and time.time() + TAKES_S[name] > ENDS_AT:
        say(f"=== {name} is not begun: it would not end in time on this machine; `make {name}` runs it")
        return Part(name, ok=True, seconds=0.0, cpu_s=0.0, begun=False)
    report, output = REPORTS / f"{name}.xml", REPORTS / f"{name}.txt"
    say(f"=== {name} begins")
    args = ["-q", *(f"--ignore={path}" for path in ELSEWHERE.get(name, ()))]
    started = time.monotonic()
    with output.open("wb") as file:
        process = subprocess.Popen(
            [
                *(("nice", "-n", "15") if name in WAY_GIVING else ()),
                "make",
                name,
                f"REPORT={report}",
                f"ARGS={' '.join(args)}",
            ],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    part = Part(name, process.returncode == 0, time.monotonic() - started, usage.ru_utime + usage.ru_stime)
    if report.exists():
        read(report, part)
    text = output.read_text("utf-8", "replace")
    say(f"\n=== {name}: {part.seconds:.0f} s, {part.cpu_s:.0f} s of processor\n{text}")
    return part


def run_step(at_once: int, names: Sequence[str]) -> list[Part]:
    """Run parts, so many at once."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(run, names))


_saying = threading.Lock()


def say(text: str) -> None:
    """Print it in one piece."""
    with _saying:
        print(text, flush=True)


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
    parts = [part for at_once, names in STEPS for part in run_step(at_once, names)]
    total = time.monotonic() - started

    print("\n=== what ran")
    for part in parts:
        tests = ", ".join(
            f"{part.counts[word]} {word}" for word in ("passed", "failed", "skipped") if part.counts[word]
        )
        took = f"{part.seconds:6.1f} s ({part.cpu_s:5.1f} s CPU)"
        how = "FAIL" if not part.ok else "ok  " if part.begun else "NOT "
        print(f"  {how}  {part.name:<11} {took}  {tests if part.begun else 'not begun: no time left'}")
    print(f"=== core covered: {covered()}")
    print("=== what was skipped")
    for part in parts:
        for reason, count in sorted(part.skips.items()):
            print(f"  {part.name}: {count} x {reason}")
    for part in parts:
        if not part.begun:
            print(f"  {part.name}: all of it, for want of time; `make {part.name}` runs it")
    if all(part.begun and not part.skips for part in parts):
        print("  nothing")
    # A slow machine is no defect of a change, so the budget is told and not enforced.
    verdict = ": longer than it should be" if total > BUDGET_S else ""
    print(f"=== {total:.0f} s ({sum(part.cpu_s for part in parts):.0f} s CPU) of {BUDGET_S} s{verdict}")
    return 0 if all(part.ok for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main())
