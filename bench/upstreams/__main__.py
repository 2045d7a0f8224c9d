"""`python -m bench.upstreams`: see the package."""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.environment import describe
from bench.run import Value
from bench.upstreams import fleetwide, guard, half_open, hold, outage
from bench.upstreams.run import Run
from bench.upstreams.scale import FULL, QUICK

FIGURES: Mapping[str, Callable[[Run], None]] = {
    "guard": guard.measure,
    "peers": guard.measure_peers,
    "half_open": half_open.measure,
    "fleetwide": fleetwide.measure,
    "outage": outage.measure,
    "hold": hold.measure,
}
BOUNDS: Mapping[str, float] = {
    "upstream.guard_us": 10,
    "upstream.statements_per_call": 0,
    "upstream.half_open_excess": 0,
    "upstream.hold_1m_ms": 100,
    "upstream.hold_claim_p99_ratio": 1.5,
    "upstream.open_fleetwide_s": 1,
    "upstream.outage_calls_over_bound": 0,
    "upstream.failures_counted": 0,
}


def table(keys: Mapping[str, Value]) -> str:
    """One line per promised figure that was measured."""
    lines = [f"{'figure':<36}{'measured':>12}  {'at most':<10}"]
    for name, most in BOUNDS.items():
        value = keys.get(name)
        if isinstance(value, float | int):
            lines.append(f"{name:<36}{value:>12,.6g}  {most:<10,.6g}{'' if value <= most else '  MISSED'}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.upstreams", description="What upstreams cost and hold.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)}; all by default")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure under flat keys")
    parser.add_argument("--quick", action="store_true", help="everything once and little: checks the bench itself")
    parser.add_argument("--dir", type=Path, help="a directory on the disk to be measured (default: the system's)")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in FIGURES]
    if unknown:
        parser.error(f"no figure is called {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    with (
        tempfile.TemporaryDirectory(prefix="headrace-upstreams-", dir=given.dir, ignore_cleanup_errors=True) as folder,
        contextlib.ExitStack() as stack,
    ):
        root = Path(folder)
        root.chmod(0o755)  # PostgreSQL runs as another user when we are root
        run = Run(root, QUICK if given.quick else FULL, stack)
        run.keys |= {name: value for name, value in describe(root, "").items() if not name.startswith("huey.")}
        run.keys["scale"] = "quick" if given.quick else "full"
        for name in given.names or FIGURES:
            began = time.monotonic()
            print(f"{name}:", flush=True)
            FIGURES[name](run)
            print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
            if given.json is not None:
                given.json.write_text(json.dumps(run.keys, indent=2) + "\n", "utf-8")
    print(table(run.keys))
    return 0


if __name__ == "__main__":
    sys.exit(main())
