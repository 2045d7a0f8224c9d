"""`python -m bench`: see the package."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from bench import profile
from bench.environment import describe
from bench.figures import FIGURES
from bench.report import table
from bench.run import Run
from bench.scale import FULL, TINY

MEMORY = ("tmpfs", "ramfs")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Every figure of the docs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)}; all by default")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure under flat keys")
    parser.add_argument("--tiny", action="store_true", help="does everything once and little: checks the bench itself")
    parser.add_argument("--dir", type=Path, help="a directory on the disk to be measured (default: the system's)")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in FIGURES]
    if unknown:
        parser.error(f"no figure is called {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    return arguments


def main() -> int:
    if sys.argv[1:2] == ["profile"]:
        return profile.main(sys.argv[2:])
    arguments = _arguments()
    scale = TINY if arguments.tiny else FULL
    with tempfile.TemporaryDirectory(prefix="headrace-bench-", dir=arguments.dir) as folder:
        run = Run(Path(folder), scale)
        run.keys.update(describe(run.root, run.synchronous))
        if run.keys["machine.file_system"] in MEMORY and not arguments.tiny:
            print("this directory is in memory, where a durable commit costs nothing: name another with --dir")
            return 2
        for name in arguments.names or FIGURES:
            started = time.monotonic()
            print(f"{name}:", flush=True)
            FIGURES[name](run)
            print(f"  ({time.monotonic() - started:.0f} s)", flush=True)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(run.keys, indent=2) + "\n", "utf-8")
    print(table(run.keys))
    return 0


if __name__ == "__main__":
    sys.exit(main())
