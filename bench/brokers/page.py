"""`python -m bench.brokers.page FIGURES.json…`: figures into docs/reference/benchmarks-brokers.md; later files win."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.brokers.wake import KINDS
from bench.processes import ROOT
from bench.run import Value

PAGE = ROOT / "docs" / "reference" / "benchmarks-brokers.md"
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
NAMES = {
    "local": "FIFOs beside a SQLite file",
    "postgres": "PostgreSQL",
    "redis": "Redis",
    "nats": "NATS",
    "rabbitmq": "RabbitMQ",
    "kafka": "Kafka",
}
BROKERS = ("redis", "nats", "rabbitmq", "kafka")
TABLES: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, str, str], ...]], ...] = (
    (
        "### From one process to a listener in another, ms",
        KINDS,
        (("median", "wake_p50_ms", "{:.2f}"), ("99th", "wake_p99_ms", "{:.2f}"), ("lost", "wake_lost", "{:.0f}")),
    ),
    (
        "### Messages into durable jobs, a second",
        BROKERS,
        (
            ("one worker process", "source_per_s", "{:,.0f}"),
            ("bare client", "client_take_per_s", "{:,.0f}"),
            ("bare insert", "insert_per_s", "{:,.0f}"),
            ("share of the slower", "source_to_raw", "{:.2f}"),
        ),
    ),
    (
        "### Events out of the outbox, confirmed, a second",
        BROKERS,
        (
            ("relay", "sink_per_s", "{:,.0f}"),
            ("with keys", "sink_keyed_per_s", "{:,.0f}"),
            ("bare client", "client_send_per_s", "{:,.0f}"),
            ("share", "sink_to_raw", "{:.2f}"),
        ),
    ),
    (
        "### Broker killed every 10 s, worker every 5 s",
        BROKERS,
        (
            ("messages", "chaos_messages", "{:,.0f}"),
            ("broker killed", "chaos_broker_kills", "{:.0f}"),
            ("worker killed", "chaos_worker_kills", "{:.0f}"),
            ("**lost**", "chaos_lost", "{:.0f}"),
            ("**run twice to effect**", "chaos_doubled", "{:.0f}"),
            ("events lost", "chaos_out_lost", "{:.0f}"),
            ("events repeated", "chaos_out_repeated", "{:.0f}"),
        ),
    ),
)


def tables(keys: Mapping[str, Value]) -> str:
    """Every table of which there are figures, and the machine."""
    lines: list[str] = []
    for title, kinds, columns in TABLES:
        rows = [kind for kind in kinds if f"{kind}.{columns[0][1]}" in keys]
        if rows:
            lines += [title, "", "| |" + "|".join(f" {name} " for name, _, _ in columns) + "|"]
            lines += ["|---|" + "---:|" * len(columns)]
            for kind in rows:
                cells = [form.format(keys[f"{kind}.{key}"]) for _, key, form in columns]
                lines.append(f"| {NAMES[kind]} | {' | '.join(cells)} |")
            lines += [""]
    lines.append(
        f"{keys['machine.cpu']}, {keys['machine.cores']} cores, {keys['machine.memory_mb']:,} MB,"
        f" {keys['machine.system']}, {keys['machine.file_system']}; Python {keys['python.version']}."
        f" Load average {keys['load_before']:.2f} before it."
    )
    return "\n".join(lines)


def main() -> int:
    keys: dict[str, Value] = {}
    for path in sys.argv[1:]:
        keys |= json.loads(Path(path).read_text("utf-8"))
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{tables(keys)}\n\n{END}{tail}", "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
