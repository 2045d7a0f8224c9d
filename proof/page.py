"""`python -m proof.page LEDGER.json`: puts the figures of a run into docs/explanation/reliability.md, by its stores."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from proof.processes import ROOT

PAGE: Final = ROOT / "docs" / "explanation" / "reliability.md"
BEGIN, END = "<!-- ledger {} -->", "<!-- /ledger {} -->"
ROWS: Final[Mapping[str, str]] = {
    "attempted": "attempted",
    "acknowledged": "acknowledged",
    "cut_off": "enqueues under way when the API was killed",
    "ended": "ended",
    "crashed": "of them as `crashed`",
    "failed_otherwise": "of them in another way than success",
    "lost": "**lost**",
    "stuck": "**stuck**",
    "doubled": "**effects doubled**",
    "enqueued_twice": "**enqueued twice**",
    "half_placed": "**half placed**",
    "fences_wrong": "**fences wrong**",
    "overlaps": "**overlaps**",
    "gaps": "**feeds with gaps**",
    "feeds": "feeds followed",
    "feed_connections": "connections and subscriptions of their readers",
    "repeated": "attempts repeated",
    "fences_late": "fences late",
    "foreign_crashes": "foreign crashes",
}


def tables(figures: Mapping[str, Any]) -> str:
    """The figures, the times, the faults, and what they are of."""
    lines = ["| | |", "|---|---|"]
    wanted = sum(run["wanted"] for run in figures["runs"].values())
    if figures["acknowledged"] < wanted:
        lines.append(f"| cut short by its time limit | {wanted:,} were asked for |")
    lines += [f"| {words} | {figures[name]:,} |" for name, words in ROWS.items()]
    for word, what in (("rerun", "runs again, all jobs"), ("rerun_first", "runs again, first of each kill")):
        times = ", ".join(f"{share} {_seconds(figures[f'{word}_{share}_s'])}" for share in ("p50", "p99", "max"))
        lines.append(f"| {what} (n = {figures[f'{word}_n']:,}) | {times} |")
    apart = ", ".join(f"{count:,} {why}" for why, count in sorted(figures["rerun_apart"].items()))
    faults = ", ".join(f"{count:,} `{kind}`" for kind, count in sorted(figures["faults"].items()))
    full = "; ".join(figures["disk_full"].values())
    versions = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    lines += [
        f"| set apart | {apart or 'none'} |",
        f"| faults | {faults} |",
        f"| disk full by | {full} |",
        f"| how long | {figures['seconds']:,.0f} s, healed {_healed(figures)} |",
        f"| stores | {', '.join(figures['stores'])}, on {_places(figures)} |",
        f"| seed | {figures['seed']} |",
        f"| commit | {figures['commit'][:12]} |",
        f"| machine | {figures['machine']}; load average {figures['load_before']} before the run |",
        f"| versions | {versions} |",
    ]
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _healed(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{run['heal_s']:.0f} s after the last fault" for run in figures["runs"].values())


def _places(figures: Mapping[str, Any]) -> str:
    return ", ".join(run["place"] for run in figures["runs"].values())


def main() -> int:
    """Replace what stands between the marks."""
    figures = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    begin, end = (mark.format("+".join(figures["stores"])) for mark in (BEGIN, END))
    head, found, rest = PAGE.read_text("utf-8").partition(begin)
    _, ended, tail = rest.partition(end)
    if not found or not ended:
        print(f"{PAGE} has no place for a run on {', '.join(figures['stores'])}", file=sys.stderr)
        return 1
    PAGE.write_text(f"{head}{begin}\n\n{tables(figures)}\n\n{end}{tail}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
