"""`python -m bench.peers`: see the package."""

import argparse
import dataclasses
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench.environment import describe
from bench.peers.catalogue import BY_NAME
from bench.peers.harness import POSTGRES, SQLITE, Harness
from bench.peers.measures import NAMES
from bench.peers.run import Run
from bench.peers.scale import FULL, QUICK
from bench.peers.summary import summary


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Headrace beside its peers.")
    parser.add_argument("--only", default="", metavar="PEERS", help=f"some of {','.join(BY_NAME)}")
    parser.add_argument("--measures", default="", metavar="NAMES", help=f"some of {','.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="everything once and little: checks the bench itself")
    parser.add_argument("--store", choices=(POSTGRES, SQLITE), default=POSTGRES, help="where Headrace keeps its jobs")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="after so long nothing new is begun but kills")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure under flat keys")
    parser.add_argument("--dir", type=Path, help="a directory on the disk to be measured (default: the system's)")
    arguments = parser.parse_args()
    for option, known in (("only", tuple(BY_NAME)), ("measures", NAMES)):
        names = [name for name in getattr(arguments, option).split(",") if name]
        if unknown := [name for name in names if name not in known]:
            parser.error(f"--{option}: no {', '.join(unknown)}; there are {', '.join(known)}")
        setattr(arguments, option, names or list(known))
    return arguments


def main() -> int:
    arguments = _arguments()
    scale = QUICK if arguments.quick else FULL
    if arguments.budget is not None:
        scale = dataclasses.replace(scale, budget_s=60 * arguments.budget)
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    with tempfile.TemporaryDirectory(prefix="headrace-peers-", dir=arguments.dir, ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        root.chmod(0o755)  # PostgreSQL runs as another user when we are root
        harness = Harness(root, scale, arguments.store)
        harness.results.facts |= {
            name: value for name, value in describe(root, "").items() if not name.startswith(("sqlite.", "huey."))
        }
        harness.results.facts |= {"scale": "quick" if arguments.quick else "full", "headrace.store": arguments.store}

        def keep() -> None:
            keys = harness.results.keys()
            keys |= summary(keys) | {"run_s": round(time.monotonic() - started)}
            if arguments.json is not None:
                arguments.json.write_text(json.dumps(keys, indent=2) + "\n", "utf-8")

        try:
            Run(harness, [BY_NAME[name] for name in arguments.only], arguments.measures, keep).everything()
        finally:
            harness.stop()
        keep()
        keys = summary(harness.results.keys())
    print("\n".join(f"{name:<42}{value:>12,.5g}" for name, value in keys.items()))
    print(f"({time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
