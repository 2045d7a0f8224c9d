"""`python -m bench.page FIGURES.json…`: puts figures into docs/reference/benchmarks.md; later files win."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.processes import ROOT
from bench.report import TARGETS
from bench.run import Value

PAGE = ROOT / "docs" / "reference" / "benchmarks.md"
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"

PROMISED: Sequence[tuple[str, str, str]] = (
    ("sqlite.sustained_per_s", "{:,.0f} jobs/s", "enqueue and run, producer and one worker side by side"),
    ("sqlite.drain_per_s", "{:,.0f} jobs/s", "one worker on a backlog"),
    ("sqlite.enqueue_100_callers_per_s", "{:,.0f} /s", "single durable enqueues by 100 concurrent callers"),
    ("sqlite.pickup_p50_ms", "{:.1f} ms", "from before the enqueue to the body's start in another process, median"),
    ("sqlite.pickup_p99_ms", "{:.1f} ms", "the same, 99th percentile"),
    ("sqlite.idle_cpu_pct", "{:.2f} % of a core", "a `headrace worker` with nothing to do, all its processes"),
    (
        "sqlite.claim_growth_ratio",
        "{:.2f} times",
        "claims and drain beside 1,000,000 finished and 1,000,000 scheduled jobs",
    ),
    ("sqlite.rerun_supervised_s", "{:.2f} s", "SIGKILL of the worker's process → its job's body starts again, median"),
    ("sqlite.rerun_tree_s", "{:.2f} s", "SIGKILL of all of `headrace worker`, another one on the same file, median"),
)
BESIDE: Sequence[tuple[str, str, str]] = (
    (
        "floor.drain_per_s",
        "{:,.0f} /s",
        "floor: claim, an asyncio task with JSON in and out, move to history",
    ),
    ("sqlite.drain_to_floor", "{:.2f}", "the drain as a share of that floor"),
    ("floor.lifecycle_per_s", "{:,.0f} rows/s", "floor: insert, claim, move to history; no bodies"),
    ("floor.claim_settle_per_s", "{:,.0f} rows/s", "floor: claim and move only"),
    ("floor.python_per_s", "{:,.0f} /s", "floor: bare asyncio tasks with JSON in and out"),
    ("sqlite.drain_batch", "{:,.0f}", "jobs to a transaction while draining; the floors use the same"),
    ("huey.drain_per_s", "{:,.0f} jobs/s", "Huey on SQLite, one worker thread (its default), no-op jobs"),
    ("huey.enqueue_per_s", "{:,.0f} /s", "Huey's enqueue, one caller"),
    ("sqlite.enqueue_many_per_s", "{:,.0f} jobs/s", "`enqueue_many`, 1,000 to a call"),
    ("sqlite.enqueue_1_caller_per_s", "{:,.0f} /s", "single durable enqueues, one caller"),
    ("sqlite.sustained_singles_per_s", "{:,.0f} jobs/s", "sustained, with 100 callers that enqueue one by one"),
    ("sqlite.drain_large_per_s", "{:,.0f} jobs/s", "drain beside 2,000,000 other jobs"),
    ("sqlite.drain_empty_per_s", "{:,.0f} jobs/s", "the same backlog on an empty file"),
    ("sqlite.pickup_max_ms", "{:.1f} ms", "slowest pick-up of the run"),
    ("sqlite.rerun_supervised_max_s", "{:.2f} s", "slowest of the supervised kills"),
    ("sqlite.rerun_tree_max_s", "{:.2f} s", "slowest of the kills of a whole tree"),
    ("sqlite.idle_rss_mb", "{:,.0f} MB", "memory of an idle worker, all its processes"),
)


def tables(keys: Mapping[str, Value]) -> str:
    """The page's two tables and the machine they are of."""
    lines = ["| measured | promised | what |", "|---|---|---|"]
    for name, form, what in PROMISED:
        sign, bound = TARGETS[name]
        promise = f"{'≥' if sign == '>=' else '≤'} {form.format(bound)}"
        lines.append(f"| **{form.format(keys[name])}** | {promise} | {what} |")
    lines += ["", "Beside them:", "", "| measured | what |", "|---|---|"]
    lines += [f"| {form.format(keys[name])} | {what} |" for name, form, what in BESIDE]
    machine = (
        f"{keys['machine.cpu']}, {keys['machine.cores']} cores, {keys['machine.memory_mb']:,} MB,"
        f" {keys['machine.system']}, {keys['machine.file_system']}; Python {keys['python.version']},"
        f" SQLite {keys['sqlite.version']}, `synchronous={keys['sqlite.synchronous']}`;"
        f" Headrace {keys['headrace.version']}, Huey {keys['huey.version']}."
    )
    lines += ["", machine]
    return "\n".join(lines)


def changed(keys: Mapping[str, Value], found: Mapping[str, Value]) -> set[str]:
    """The figures of the page that a later run replaces."""
    return {f"`{name}`" for name, _, _ in (*PROMISED, *BESIDE) if name in found and name in keys}


def main() -> int:
    keys: dict[str, Value] = {}
    origins: list[str] = []
    for path in sys.argv[1:]:
        found: dict[str, Value] = json.loads(Path(path).read_text("utf-8"))
        again = "" if not origins else f"; again, {', '.join(sorted(changed(keys, found)))}:"
        origins.append(
            f"{again} commit {str(found['commit'])[:7]}, load average {found['machine.load_before']} before it"
        )
        keys |= found
    text = PAGE.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{tables(keys)} Run at{''.join(origins)}.\n\n{END}{tail}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
