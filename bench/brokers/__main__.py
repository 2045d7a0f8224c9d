"""`python -m bench.brokers`: see the package."""

import argparse
import json
import os
import tempfile
from pathlib import Path

from bench.brokers import wake
from bench.environment import describe
from bench.run import Value  # noqa: TC001 - as its neighbours

HINTS, HINTS_QUICK = 2_000, 50


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.brokers", description="Wake-ups through each notifier.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(wake.KINDS)}; all by default")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure under flat keys")
    parser.add_argument("--quick", action="store_true", help="a few hints: checks the bench itself")
    parser.add_argument("--hints", type=int, default=HINTS, help="how many, through each")
    parser.add_argument("--dir", type=Path, help="a directory on the disk to be measured (default: the system's)")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in wake.KINDS]
    if unknown:
        parser.error(f"no notifier is called {', '.join(unknown)}; there are {', '.join(wake.KINDS)}")
    found: dict[str, Value] = {}
    print(f"load average before: {os.getloadavg()[0]:.2f}\n{'figure':<28}{'measured':>10}  at most", flush=True)
    with tempfile.TemporaryDirectory(prefix="headrace-brokers-", dir=given.dir) as folder:
        for kind in given.names or wake.KINDS:
            keys = wake.measure(kind, Path(folder), HINTS_QUICK if given.quick else given.hints)
            found |= keys
            for name, value in keys.items():
                most = {"p50_ms": wake.P50_MAX_MS, "p99_ms": wake.P99_MAX_MS}.get(name.partition("wake_")[2])
                missed = "" if most is None or value <= most else "  MISSED"
                print(f"{name:<28}{value:>10.3f}  {'' if most is None else f'{most:g}'}{missed}", flush=True)
        found |= describe(Path(folder), "FULL")
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
