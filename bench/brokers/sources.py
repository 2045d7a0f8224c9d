"""How many messages a second become durable jobs on PostgreSQL, beside the bare client and the bare insert.

One round of a broker, on servers of its own: the bare client fills it and waits for the confirms; the bare client takes
all of them and tells the broker so; one worker process makes jobs of all of them, in a queue that is paused; asyncpg
inserts the same rows again into empty copies of the tables with their indexes, 1,000 jobs in a transaction, and, but
for Kafka, the ids by which repeats are known (`insert_jobs_per_s` is without them). `source_to_raw` is the worker's
rate through that of the slower of the two others. fsync and synchronous_commit are on; RabbitMQ's queue is durable and
its messages persistent, Redis appends with fsync for every reply, NATS keeps files, Kafka has 8 partitions.

    python -m bench.brokers.sources [BROKER…] [--messages N]
"""

import argparse
import asyncio
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench.brokers import taking
from bench.brokers.sinks import KINDS, make, run
from bench.processes import WorkerTree
from bench.run import median
from headrace import Headrace
from headrace.settings import Settings
from servers.kafka import Kafka
from servers.postgres import Postgres

VARIABLES: Final = {
    "redis": "HEADRACE_REDIS_URL",
    "nats": "HEADRACE_NATS_URL",
    "rabbitmq": "HEADRACE_RABBITMQ_URL",
    "kafka": "HEADRACE_KAFKA_SERVERS",
}
MESSAGES: Final = {"rabbitmq": 50_000, "nats": 100_000, "redis": 100_000, "kafka": 200_000}
PATIENCE_S: Final = 180.0
LOOK_S: Final = 0.5  # a look counts rows, which takes the server from the worker
PAGE: Final = 1_000
JOBS: Final = "headrace_job"
IDS: Final = "headrace_seen"
ORDERS: Final = {JOBS: "id", IDS: "at, digest"}


def measure(kind: str, messages: int, times: int = 3) -> dict[str, float]:
    """Flat keys of one broker: medians."""
    with tempfile.TemporaryDirectory(prefix="headrace-sources-") as folder:
        found = [_round(kind, Path(folder), messages) for _ in range(times)]
    rates = {name: median(each[name] for each in found) for name in found[0]}
    slower = min(rates["client_take_per_s"], rates["insert_per_s"])
    told = {f"{kind}.{name}": float(round(rate)) for name, rate in rates.items()}
    return told | {f"{kind}.source_to_raw": round(rates["source_per_s"] / slower, 3)}


def _round(kind: str, folder: Path, messages: int) -> dict[str, float]:
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(settings={"shared_buffers": "1GB"}))
        server = stack.enter_context(make(kind))
        where = server.bootstrap if isinstance(server, Kafka) else server.url()
        store = postgres.create_database()
        run(taking.DECLARE[kind](where))
        run(taking.PUBLISH[kind](where, range(messages)))
        began = time.perf_counter()
        run(taking.CONSUME[kind](where, messages))
        rates = {"client_take_per_s": messages / (time.perf_counter() - began)}
        if kind == "rabbitmq":  # what was taken is gone there
            run(taking.PUBLISH[kind](where, range(messages, 2 * messages)))
        run(_pause(store))
        os.environ |= {VARIABLES[kind]: where, "BENCH_SOURCE": kind}
        with WorkerTree(store, folder, app="bench.brokers.app:hr"):
            rates["source_per_s"] = run(_pace(store, messages))
        rates["insert_jobs_per_s"] = rates["insert_per_s"] = messages / run(_inserted(store, JOBS))
        if kind != "kafka":  # it has bookmarks, the others have ids to remember
            rates["insert_per_s"] = messages / run(_inserted(store, JOBS, IDS))
    return rates


async def _pause(store: str) -> None:
    hr = Headrace(settings=Settings(store=store))
    await hr.open()
    await hr.pause("orders")
    await hr.close()


async def _pace(store: str, messages: int) -> float:
    """Jobs a second, from the first look that finds some to the last that does not find all."""
    connection: Any = await asyncpg.connect(store)
    looks: list[tuple[float, int]] = []
    give_up = time.perf_counter() + PATIENCE_S
    try:
        while (now := time.perf_counter()) < give_up:
            seen: int = await connection.fetchval("SELECT count(*) FROM headrace_job")
            if seen:
                looks.append((now, seen))
            if seen >= messages:
                (begun, first), (ended, last) = looks[0], looks[-2 if len(looks) > 2 else -1]
                return (last - first) / (ended - begun) if len(looks) > 1 else messages / LOOK_S
            await asyncio.sleep(LOOK_S)
    finally:
        await connection.close()
    raise AssertionError(f"not all messages were jobs within {PATIENCE_S:.0f} s")


async def _inserted(store: str, *tables: str) -> float:
    """Seconds for the same rows of these tables; but for what is an array, which `unnest` cannot spread."""
    connection: Any = await asyncpg.connect(store)
    copies = [await _copy(connection, table) for table in tables]
    began = time.perf_counter()
    for at in range(0, len(copies[0][1]), PAGE):
        async with connection.transaction():
            for insert, rows in copies:
                await insert.fetch(*map(list, zip(*rows[at : at + PAGE], strict=True)))
    took_s = time.perf_counter() - began
    await connection.close()
    return took_s


async def _copy(connection: Any, table: str) -> tuple[Any, list[tuple[Any, ...]]]:
    """What inserts into an empty copy of a table, and its rows in the order in which they came."""
    columns = await connection.fetch(
        """SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute
        WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
            AND format_type(atttypid, NULL) NOT LIKE '%[]' ORDER BY attnum""",
        table,
    )
    names = ", ".join(each["name"] for each in columns)
    casts = ", ".join(f"${at}::{each['type']}[]" for at, each in enumerate(columns, 1))
    found = await connection.fetch(f"SELECT {names} FROM {table} ORDER BY {ORDERS[table]}")
    copy = f"bare_{table}"
    await connection.execute(f"DROP TABLE IF EXISTS {copy}; CREATE TABLE {copy} (LIKE {table} INCLUDING ALL)")
    insert = await connection.prepare(f"INSERT INTO {copy} ({names}) SELECT * FROM unnest({casts})")
    return insert, [tuple(row) for row in found]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.brokers.sources")
    parser.add_argument("brokers", nargs="*", choices=[*KINDS, []], default=[])
    parser.add_argument("--messages", type=int, help="by default 50,000 to 200,000, as fast as the broker is")
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    for kind in given.brokers or KINDS:
        for name, value in measure(kind, given.messages or MESSAGES[kind], given.times).items():
            print(f"{name:<28}{value:>12,}", flush=True)


if __name__ == "__main__":
    main()
