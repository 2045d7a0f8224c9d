"""`python -m bench.brokers`: see the package."""

import argparse
import json
import os
import tempfile
from pathlib import Path

from bench.brokers import sinks, sources, wake
from bench.environment import describe
from bench.run import Value  # noqa: TC001 - as its neighbours

MEASURES = ("wake", "sources", "sinks")
HINTS, HINTS_QUICK, COUNT_QUICK = 2_000, 50, 2_000
TIMES = 3
MOST = {"wake_p50_ms": wake.P50_MAX_MS, "wake_p99_ms": wake.P99_MAX_MS}
LEAST = {"source_to_raw": 0.6, "sink_to_raw": 0.6}


def measured(measure: str, kind: str, folder: Path, *, quick: bool) -> dict[str, float]:
    """Flat keys of one measure of one kind; none where it has none."""
    if measure == "wake":
        return wake.measure(kind, folder, HINTS_QUICK if quick else HINTS)
    if kind not in sinks.KINDS:
        return {}
    times = 1 if quick else TIMES
    if measure == "sources":
        return sources.measure(kind, COUNT_QUICK if quick else sources.MESSAGES[kind], times)
    return sinks.measure(kind, COUNT_QUICK if quick else sinks.EVENTS[kind], times)


def line(name: str, value: float) -> str:
    """A figure, what was promised of it, and whether it was kept."""
    word = name.partition(".")[2]
    most, least = MOST.get(word), LEAST.get(word)
    promised = f"≤ {most:g}" if most is not None else f"≥ {least:g}" if least is not None else ""
    missed = (most is not None and value > most) or (least is not None and value < least)
    return f"{name:<28}{value:>12,.6g}  {promised}{'  MISSED' if missed else ''}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.brokers", description="Wake-ups through each notifier; messages in and events out."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(wake.KINDS)}; all by default")
    parser.add_argument("--measure", action="append", choices=MEASURES, help="may be repeated (default: all)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure under flat keys")
    parser.add_argument("--quick", action="store_true", help="everything once and little: checks the bench itself")
    parser.add_argument("--dir", type=Path, help="a directory on the disk to be measured (default: the system's)")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in wake.KINDS]
    if unknown:
        parser.error(f"nothing here is called {', '.join(unknown)}; there are {', '.join(wake.KINDS)}")
    found: dict[str, Value] = {"scale": "quick" if given.quick else "full", "load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory(prefix="headrace-brokers-", dir=given.dir) as folder:
        found |= {name: value for name, value in describe(Path(folder), "").items() if not name.startswith("huey.")}
        for measure in given.measure or MEASURES:
            for kind in given.names or wake.KINDS:
                keys = measured(measure, kind, Path(folder), quick=given.quick)
                found |= keys
                for name, value in keys.items():
                    print(line(name, value), flush=True)
                if given.json is not None:
                    given.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
