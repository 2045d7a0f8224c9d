"""How PostgreSQL runs the hot statements: by index, whatever the statistics say and however full the tables are."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from headrace.core.model import Failure, NewJob, Retried, Settle, Succeeded
from headrace.stores.postgres import PostgresStore
from headrace.stores.postgres.pool import Pools
from headrace.testing.conformance.store_base import new_job, opened, register, request

ROWS = 100_000  # of each kind; what grows with them would take seconds
BIG = re.compile(r"headrace_(job|history)")
FILL = """
INSERT INTO headrace_job (id, seq, line, state, suspect, created_at, due_at, timeout_s, max_attempts, signature, args)
SELECT gen_random_uuid(), nextval('headrace_place'), $1, $2, 0, now(), now() + $3 * interval '1 s', 600, 1, '', '[7]'
FROM generate_series(1, $4)
"""


@asynccontextmanager
async def spied(store: PostgresStore) -> AsyncIterator[list[dict[str, Any]]]:
    """The plans of all that the store's connections run meanwhile, nested statements too."""
    plans: list[dict[str, Any]] = []

    def hear(_: object, message: Any) -> None:
        text = str(message.message)
        if "plan:" in text and "typeinfo_tree" not in text:  # asyncpg's own, once a connection
            plans.append(json.loads(text.partition("plan:")[2]))

    pools: Pools = store._pools
    connect = pools._connect

    async def connected() -> Any:
        connection = await connect()
        connection.add_log_listener(hear)
        await connection.execute(
            "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;"
            "SET auto_explain.log_format = json; SET auto_explain.log_analyze = on; SET client_min_messages = log"
        )
        return connection

    await pools.close()
    pools._closed = False
    pools._connect = connected  # type: ignore[method-assign]
    try:
        yield plans
    finally:
        await pools.close()
        pools._connect = connect  # type: ignore[method-assign]
        pools._closed = False


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def check(plans: list[dict[str, Any]], rows_max: int) -> None:
    assert plans
    for plan in plans:
        for node in nodes(plan["Plan"]):
            kind, table = node["Node Type"], node.get("Relation Name", "")
            if BIG.match(table) and node.get("Actual Loops"):
                assert (kind, table) != ("Seq Scan", "headrace_job"), (kind, table, plan["Query Text"][:200])
                assert node["Actual Rows"] <= rows_max, (node["Actual Rows"], table, plan["Query Text"][:200])


async def fill(url: str, store: PostgresStore) -> None:
    """Many ready jobs that nobody here runs, held ones, scheduled ones; statistics from before."""
    others = [NewJob(new_job().id, task, queue, "[7]") for task, queue in (("unknown", "billing"), ("charge", "held"))]
    await store.enqueue(others)
    await store.pause("held", paused=True)
    connection = await asyncpg.connect(url)
    lines = [row[0] for row in await connection.fetch("SELECT id FROM headrace_line ORDER BY id")]
    for number in lines:
        await connection.execute(FILL, number, 1, 0.0, ROWS)
    await connection.execute(FILL, lines[0], 0, 86_400.0, ROWS)
    await connection.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("statistics", ["of the empty tables", "of the full ones"])
async def test_the_hot_verbs_touch_what_they_move_and_nothing_else(postgres_url: str, statistics: str) -> None:
    async with opened(lambda settings: PostgresStore(postgres_url, settings)) as store:
        assert isinstance(store, PostgresStore)
        await register(store)
        await look(store, postgres_url, statistics)


async def look(store: PostgresStore, postgres_url: str, statistics: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    if statistics == "of the empty tables":
        await connection.execute("ANALYZE")
    await fill(postgres_url, store)
    if statistics != "of the empty tables":
        await connection.execute("ANALYZE")
    await connection.close()
    async with spied(store) as plans:
        jobs = [new_job() for _ in range(50)]
        await store.enqueue(jobs)
        claimed = (await store.exchange("worker-1", (), request(50))).claimed
        assert {job.id for job in claimed} == {job.id for job in jobs}
        settles = [Settle(job.id, job.fence, Succeeded()) for job in claimed[:40]]
        settles += [Settle(job.id, job.fence, Retried(Failure("E", "no"))) for job in claimed[40:]]
        answer = await store.exchange("worker-1", settles, request(50))
        assert (set(answer.settled), len(answer.claimed)) == ({"settled"}, 10)
        await store.renew("worker-1", 100.0)
        await store.get([job.id for job in jobs])
        await store.offsets([job.id for job in jobs])
        await store.promote(100)
    check(plans, rows_max=50)
