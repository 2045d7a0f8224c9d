"""`python -m bench.peers.page FIGURES.json…`: puts a run into docs/reference/benchmarks-peers.md; later files win."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers.catalogue import PEERS
from bench.peers.chart import Bar, bars
from bench.peers.peer import Peer
from bench.processes import ROOT
from bench.run import Value

PAGE = ROOT / "docs" / "reference" / "benchmarks-peers.md"
IMAGES = ROOT / "docs" / "images"
OTHERS = {"default": "defaults", "sleeping": "1 and 10 ms jobs", "sustained": "sustained", "kill": "SIGKILL"}
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
Keys = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Column:
    """A head, the figure, and how it is written."""

    head: str
    figure: str
    form: str = "{:,.0f}"


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: Sequence[Column]


TABLES = (
    Table(
        "A backlog through the workers, jobs a second",
        (
            Column("no-op, 1 worker", "drain_noop_1.per_s"),
            Column("2 workers", "drain_noop_2.per_s"),
            Column("its defaults, 1 worker", "drain_noop_1_default.per_s"),
            Column("1 ms, 1 worker", "drain_1ms_1.per_s"),
            Column("2 workers", "drain_1ms_2.per_s"),
            Column("10 ms, 1 worker", "drain_10ms_1.per_s"),
            Column("2 workers", "drain_10ms_2.per_s"),
        ),
    ),
    Table(
        "Enqueues a second, and producer beside worker",
        (
            Column("one caller", "enqueue.one_per_s"),
            Column("100 callers", "enqueue.callers_per_s"),
            Column("bulk", "enqueue.bulk_per_s"),
            Column("sustained jobs/s", "sustained.per_s"),
            Column("jobs/s with a snapshot held", "held.per_s"),
            Column("share of before", "held.ratio", "{:.2f}"),
        ),
    ),
    Table(
        "Pick-up, cost and crash",
        (
            Column("idle, median ms", "pickup_idle.p50_ms", "{:,.1f}"),
            Column("99th", "pickup_idle.p99_ms", "{:,.1f}"),
            Column("at half load, median ms", "pickup_half.p50_ms", "{:,.1f}"),
            Column("99th", "pickup_half.p99_ms", "{:,.1f}"),
            Column("worker µs/job", "drain_noop_1.worker_us_per_job"),
            Column("server µs/job", "drain_noop_1.server_us_per_job"),
            Column("SIGKILL → runs again, s", "rerun.p50_s", "{:,.2f}"),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    figure: str
    more_is_better: bool


CHARTS = {
    "peers-drain.svg": Chart("No-op jobs a second, one worker, a backlog", "drain_noop_1.per_s", more_is_better=True),
    "peers-cost.svg": Chart(
        "CPU µs of the worker for a no-op job, less is better", "drain_noop_1.worker_us_per_job", more_is_better=False
    ),
}


def tables(keys: Keys) -> str:
    """What was measured, of whom, at which settings, and what failed."""
    peers = [peer for peer in PEERS if f"peers.{peer.name}.title" in keys]
    parts = []
    for table in TABLES:
        lines = [f"### {table.title}", "", f"| peer | {' | '.join(column.head for column in table.columns)} |"]
        lines.append(f"|---|{'---:|' * len(table.columns)}")
        lines += [
            f"| {peer.title} | {' | '.join(_cell(keys, peer, each) for each in table.columns)} |" for peer in peers
        ]
        parts.append("\n".join(lines))
    parts.append(_settings(keys, peers))
    failures = _failures(keys, peers)
    if failures:
        parts.append("### What failed\n\n" + "\n".join(failures))
    parts.append(_machine(keys))
    return "\n\n".join(parts)


def _cell(keys: Keys, peer: Peer, column: Column) -> str:
    stem, _, _ = column.figure.partition(".")
    value = keys.get(f"peers.{peer.name}.{column.figure}")
    if isinstance(value, int | float):
        return column.form.format(value)
    if (limit := keys.get(f"peers.{peer.name}.{stem}.not_within_s")) is not None:
        return f"not within {limit:.0f}"
    failed = f"peers.{peer.name}.failed" in keys or f"peers.{peer.name}.{stem}.failed" in keys
    return "failed" if failed else "-"


def _settings(keys: Keys, peers: Sequence[Peer]) -> str:
    lines = [
        "### Settings, and what a crash may cost",
        "",
        "| peer | version | worker | durability |",
        "|---|---|---|---|",
    ]
    for peer in peers:
        stem = f"peers.{peer.name}"
        words = [str(keys[f"{stem}.setting"])]
        for kind, label in OTHERS.items():
            if setting := keys.get(f"{stem}.setting_{kind}"):
                words.append(f"{label}: {setting}")
        version = keys.get(f"{stem}.version", "-")
        lines.append(f"| {peer.title} | {version} | {'; '.join(words)} | {keys[f'{stem}.durability']} |")
    return "\n".join(lines)


def _failures(keys: Keys, peers: Sequence[Peer]) -> list[str]:
    found = []
    for peer in peers:
        for name, reason in keys.items():
            if name.startswith(f"peers.{peer.name}.") and name.endswith(".failed"):
                _, _, *measure, _ = name.split(".")
                found.append(f"- {' '.join([peer.title, *measure])}: {reason}")
    return found


def _machine(keys: Keys) -> str:
    servers = [
        f"{title} {keys[f'{name}.version']} ({keys[f'{name}.settings']})"
        for name, title in (("postgres", "PostgreSQL"), ("redis", "Redis"), ("rabbitmq", "RabbitMQ"))
        if f"{name}.version" in keys
    ]
    return (
        f"{keys['machine.cpu']}, {keys['machine.cores']} cores, {keys['machine.memory_mb']:,} MB,"
        f" {keys['machine.system']}, {keys['machine.file_system']}; Python {keys['python.version']};"
        f" {'; '.join(servers)}. Headrace {keys['headrace.version']} on {keys['headrace.store']}, commit"
        f" {str(keys['commit'])[:7]}. A {keys['scale']} run of {float(keys['run_s']) / 60:.0f} minutes,"
        f" load average {keys['machine.load_before']} before it."
    )


def images(keys: Keys) -> dict[str, str]:
    """The charts, by file name."""
    made = {}
    for name, chart in CHARTS.items():
        found = [(peer, keys.get(f"peers.{peer.name}.{chart.figure}")) for peer in PEERS]
        measured = [
            Bar(peer.title, float(value), _kind(peer)) for peer, value in found if isinstance(value, int | float)
        ]
        if measured:
            made[name] = bars(chart.title, sorted(measured, key=lambda bar: bar.value, reverse=chart.more_is_better))
    return made


def _kind(peer: Peer) -> str:
    return peer.name if peer.name in ("headrace", "floor") else "peer"


def main() -> int:
    keys: dict[str, Value] = {}
    for path in sys.argv[1:]:
        keys |= json.loads(Path(path).read_text("utf-8"))
    charts = images(keys)
    for name, image in charts.items():
        (IMAGES / name).write_text(image, "utf-8")
    shown = "\n\n".join(f"![{CHARTS[name].title}](../images/{name})" for name in charts)
    text = PAGE.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{shown}\n\n{tables(keys)}\n\n{END}{tail}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
