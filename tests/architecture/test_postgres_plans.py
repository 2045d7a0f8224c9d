"""How PostgreSQL runs the hot statements: by index, whatever the statistics say and however full the tables are."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from headrace.core.event import Event
from headrace.core.limits import Limit, RateLimit, TaskLimit, turn_of
from headrace.core.load import LoadAsked
from headrace.core.message import Mark
from headrace.core.model import (
    Failed,
    Failure,
    FeedWrite,
    JobFilter,
    Lease,
    NewJob,
    Retried,
    Settle,
    Succeeded,
    UpdateKind,
)
from headrace.core.relay_events import Refusal
from headrace.core.states import JobState
from headrace.ports.post import Arrival, Intake, Letter
from headrace.stores.postgres import PostgresStore
from headrace.stores.postgres.pool import Pools
from headrace.testing.conformance.store_base import new_job, opened, register, request
from tests.effort import effort

ROWS = effort(30_000, at_night=200_000)  # of each of six kinds; what grows with them would be seen
BIG = re.compile(r"headrace_(job|history|feed|slot|limit|seen|outbox|promise|letter|bookmark)")
FILL = """
INSERT INTO headrace_job (id, seq, line, state, suspect, created_at, due_at, timeout_s, max_attempts, signature,
    args, worker)
SELECT gen_random_uuid(), nextval('headrace_place'), $1, $2::smallint, 0, now(), now() + $3 * interval '1 s', 600, 1,
    '', '[7]', CASE WHEN $2::smallint = 2 THEN 0 END
FROM generate_series(1, $4)
"""
FILL_HISTORY = """
INSERT INTO headrace_history (id, finished_at, created_at, timeout_s, line, fence, settled_fence, attempt, failures,
    crashes, snoozes, max_attempts, feed_end, items, state, suspect, signature, args)
SELECT gen_random_uuid(), now(), now(), 600, $1, 1, 1, 1, 0, 0, 0, 1, 3, 0, 3, 0, '', '[7]' FROM generate_series(1, $2)
"""
FILL_FEED = """
INSERT INTO headrace_feed (job, feed_offset, kind, attempt, at, data)
SELECT id, 3, 'log', 1, now(), '{}' FROM headrace_history ON CONFLICT DO NOTHING
"""
FILL_LIMITS = """
INSERT INTO headrace_slot (scope, job, fence)
SELECT 'other ' || n % 1000, gen_random_uuid(), 1 FROM generate_series(1, $1) AS n
"""
FILL_POST = """
INSERT INTO headrace_seen (source, digest, at)
SELECT source.id, gen_random_uuid(), now() - interval '1 day' FROM generate_series(1, {rows}),
    (VALUES (0), (headrace_source_1('rabbitmq:orders')), (headrace_source_1('others'))) AS source (id);
INSERT INTO headrace_sink (name) VALUES ('kafka'), ('others') ON CONFLICT DO NOTHING;
INSERT INTO headrace_outbox (sink, n, id, at, key, parked, target, head, body)
SELECT sink.id, nextval('headrace_outbox_place'), gen_random_uuid(), now(), n % 5, parked, '', '{{}}', 'x'
FROM headrace_sink AS sink, (VALUES (true), (false)) AS is_ (parked), generate_series(1, {rows} / 2) AS n;
INSERT INTO headrace_promise (job, name, at) SELECT gen_random_uuid(), 'ends', now() FROM generate_series(1, {rows});
INSERT INTO headrace_letter (job, source, at, why, headers, place, size, body)
SELECT gen_random_uuid(), 1, now(), '', '{{}}', '', 1, 'x' FROM generate_series(1, {rows});
INSERT INTO headrace_bookmark (source, part, next)
SELECT headrace_source_1('kafka:orders:g'), 'other ' || n, 1 FROM generate_series(1, {rows} / 10) AS n;
"""
FILL_SCOPES = """
INSERT INTO headrace_limit (scope, holder) SELECT 'other ' || n, gen_random_uuid() FROM generate_series(1, $1) AS n
"""
LIMITS = (TaskLimit("refund", Limit(6, key="tenant"), RateLimit(1_000, per=1)),)
ORDERED = (TaskLimit("refund", Limit(6), RateLimit(1_000, per=1), ordered=True),)
PLANS_KEPT = "of the empty tables, with plans that were made for them"
KEPT_AFTER = 6  # calls of a statement: its plan is the one that is kept


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


def check(plans: list[dict[str, Any]], rows_max: int, *, joins: bool = True) -> None:
    assert plans
    for plan in plans:
        for node in nodes(plan["Plan"]):
            reads = BIG.match(node.get("Relation Name", "")) or (joins and node["Node Type"] == "Nested Loop")
            if reads and node.get("Actual Loops"):
                looked_at = node["Actual Rows"] + sum(node[key] for key in node if key.startswith("Rows Removed by"))
                assert looked_at <= rows_max, json.dumps(plan, indent=1)


async def fill(url: str, store: PostgresStore) -> None:
    """Many ready jobs that nobody here runs, held, scheduled and running ones, and ended ones."""
    others = [NewJob(new_job().id, task, queue, "[7]") for task, queue in (("unknown", "billing"), ("charge", "held"))]
    await store.enqueue(others)
    await store.pause("held", paused=True)
    connection = await asyncpg.connect(url)
    lines = [row[0] for row in await connection.fetch("SELECT id FROM headrace_line ORDER BY id DESC LIMIT 2")]
    for number in lines:
        await connection.execute(FILL, number, 1, 0.0, ROWS)
    await connection.execute(FILL, lines[0], 0, 86_400.0, ROWS)
    await connection.execute(FILL, lines[0], 2, 0.0, ROWS)
    await connection.execute(FILL_HISTORY, lines[0], ROWS)
    await connection.execute(FILL_FEED)
    await connection.execute(FILL_LIMITS, ROWS)
    await connection.execute(FILL_SCOPES, ROWS)
    await connection.execute(FILL_POST.format(rows=ROWS // 20))
    await connection.close()


async def work(store: PostgresStore) -> None:
    """Every hot verb, on fifty jobs."""
    jobs = [new_job() for _ in range(50)]
    await store.enqueue(jobs)
    claimed = (await store.exchange("worker-1", (), request(50))).claimed
    assert {job.id for job in claimed} == {job.id for job in jobs}
    settles = [Settle(job.id, job.fence, Succeeded()) for job in claimed[:40]]
    settles += [Settle(job.id, job.fence, Retried(Failure("E", "no"))) for job in claimed[40:]]
    again = await store.exchange("worker-1", settles, request(50))
    assert (set(again.settled), len(again.claimed)) == ({"settled"}, 10)
    await store.append([FeedWrite(job.id, job.fence, UpdateKind.ITEM, "1", "key") for job in again.claimed])
    await store.append([FeedWrite(job.id, job.fence, UpdateKind.PROGRESS, "1") for job in again.claimed])
    soon = Retried(Failure("E", "no"), 0.001)
    await store.exchange("worker-1", [Settle(job.id, job.fence, soon) for job in again.claimed], None)
    await asyncio.sleep(0.01)
    await store.promote(100)
    await store.renew("worker-1", 100.0)
    rest = (await store.exchange("worker-1", (), request(50))).claimed
    await store.reconcile("worker-1", [Lease(job.id, job.fence) for job in rest])
    await store.cancel([job.id for job in rest[:2]])
    await store.exchange("worker-1", [Settle(job.id, job.fence, Succeeded()) for job in rest], None)
    for ids in ([job.id for job in jobs], [jobs[0].id]):
        await store.get(ids)
        await store.offsets(ids)
    await store.read_updates(jobs[0].id, 0, 100)
    await store.attempts(jobs[0].id)
    await work_under_limits(store)
    await work_of_the_post(store)
    await work_in_order(store)
    await store.loads([LoadAsked("billing", 50, 1.0), LoadAsked("held", 50)])
    lost = [new_job() for _ in range(2)]
    await store.enqueue(lost)
    claimed = (await store.exchange("worker-1", (), request(50))).claimed
    await store.exchange("worker-1", [Settle(job.id, job.fence, Failed(Failure("E", "no"))) for job in claimed], None)
    await store.edit(lost[0].id, "[8]")
    await store.retry([job.id for job in lost])
    await store.cancel([job.id for job in lost])


async def look(store: PostgresStore) -> None:
    """The first page of listings that are often looked at."""
    for state in (None, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED):
        await store.find(JobFilter(state=state), limit=2)


async def work_of_the_post(store: PostgresStore) -> None:
    """Messages in and events out, fifty at a time."""
    came = [Arrival(new_job(), os.urandom(16)) for _ in range(25)]
    letters = [Arrival(new_job(promises=("ends",)), None, Letter("", "why")) for _ in range(25)]
    for again in (False, True):
        received = await store.receive("rabbitmq:orders", Intake(came))
        assert received.added == (not again,) * 25
        assert (await store.receive("rabbitmq:orders", Intake(letters))).added == (not again,) * 25
    place = (await store.receive("kafka:orders:g", Intake((), {"0": Mark(-1, 0)}))).moved["0"]
    await store.receive("kafka:orders:g", Intake(came[:1], {"0": Mark(place, (place or 0) + 1)}))
    await store.put_bookmark("kafka:orders:g", "1", 1)
    await store.put_bookmark("kafka:orders:g", "1", None)
    await store.forget_seen("rabbitmq:orders", 3600.0, 40)
    await store.letter(letters[0].job.id)
    claimed = (await store.exchange("worker-1", (), request(50))).claimed
    guard = Lease(claimed[0].id, claimed[0].fence)
    events = [Event(os.urandom(16), "kafka", "orders", "9") for _ in range(40)]
    assert await store.publish(events, guard, once=True) == [True] * 40
    await store.publish(events, once=True)
    page = await store.outgoing("kafka", 0, 40, 1 << 20)
    assert len(page.events) == 40
    places = [out.place for out in page.events]
    await store.sent("kafka", places[:20], [Refusal(place, "no", parked=True) for place in places[20:]])
    await store.parked("kafka", 0, 40)
    assert (await store.unpark("kafka", places[30:]), await store.drop("kafka", places[20:])) == (10, 10)
    await store.exchange("worker-1", [Settle(job.id, job.fence, Succeeded()) for job in claimed], None)
    promises = (await store.promised((await store.promised(None, 15)).next_after, 40)).ended
    assert promises
    assert await store.keep_promises([(promise, events[0]) for promise in promises]) == len(promises)


async def work_under_limits(store: PostgresStore) -> None:
    """Claims of a task with limits: some are kept back, and come when the first have ended."""
    jobs = [new_job(task="refund", lane_key=f"tenant-{number % 3}") for number in range(30)]
    await store.enqueue(jobs)
    settles: list[Settle] = []
    left = len(jobs)
    for _ in range(10):
        answer = await store.exchange("worker-1", settles, replace(request(50), limits=LIMITS))
        left -= len(answer.claimed)
        settles = [Settle(job.id, job.fence, Succeeded()) for job in answer.claimed]
    assert left == 0
    await store.exchange("worker-1", settles, None)


async def work_in_order(store: PostgresStore) -> None:
    """Claims of an ordered task, whose first attempts fail: each of its lanes has one at a time."""
    jobs = [new_job(task="refund", lane_key=f"{number % 8:02x}") for number in range(16)]
    await store.enqueue(jobs)
    settles: list[Settle] = []
    left = len(jobs)
    for _ in range(20):
        answer = await store.exchange("worker-1", settles, replace(request(50, suspects=None), limits=ORDERED))
        assert len(answer.claimed) <= 6
        again = Retried(Failure("E", "no"))
        settles = [Settle(job.id, job.fence, again if job.fence == 1 else Succeeded()) for job in answer.claimed]
        left -= sum(job.fence == 2 for job in answer.claimed)
        if not left:
            break
    assert left == 0
    await store.scopes([turn_of("refund", "00")])
    await store.exchange("worker-1", settles, None)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("statistics", ["of the empty tables", "of the full ones", PLANS_KEPT])
async def test_the_hot_verbs_touch_what_they_move_and_nothing_else(postgres_url: str, statistics: str) -> None:
    async with opened(lambda settings: PostgresStore(postgres_url, settings)) as store:
        assert isinstance(store, PostgresStore)
        await register(store)
        connection = await asyncpg.connect(postgres_url)
        if statistics == "of the empty tables":
            await connection.execute("ANALYZE")
        if statistics != PLANS_KEPT:
            await fill(postgres_url, store)
        if statistics == "of the full ones":
            await connection.execute("ANALYZE")
        async with spied(store) as plans:
            if statistics == PLANS_KEPT:
                await connection.execute("ANALYZE")
                for _ in range(KEPT_AFTER):
                    await work(store)
                    await look(store)
                await fill(postgres_url, store)
                plans.clear()
            await work(store)
            hot = plans.copy()
            plans.clear()
            await look(store)
        await connection.close()
    check(hot, rows_max=50)
    if statistics != "of the empty tables":  # nobody lists before a table's first rows are counted
        check(plans, rows_max=50, joins=False)


async def test_a_survey_between_whole_ones_does_not_wade_through_what_a_held_snapshot_keeps(postgres_url: str) -> None:
    async with opened(lambda settings: PostgresStore(postgres_url, settings)) as store:
        await store.enqueue([new_job(), NewJob(new_job().id, "other", "default", "[7]")])
        connection, holder = await asyncpg.connect(postgres_url), await asyncpg.connect(postgres_url)
        first, second = [row[0] for row in await connection.fetch("SELECT id FROM headrace_line ORDER BY id")]
        await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM headrace_job")
        await connection.execute(FILL, first, 1, 0.0, ROWS)
        await connection.execute("UPDATE headrace_job SET state = 2, worker = 0 WHERE line = $1", first)
        floor = await connection.fetchval("SELECT max(seq) FROM headrace_job WHERE line = $1", first)
        await connection.execute(FILL, first, 1, 0.0, 1)
        for _ in range(2):  # the second has no hints to leave
            found, whole = await surveyed(connection, [], [])
            again, passing = await surveyed(connection, [first], [floor])
        assert [(row[0], row[1]) for row in found] == [(0, first), (0, second)]
        assert sorted(found) == sorted(again)
        assert passing < whole / 10
        await holder.close()
        await connection.close()


async def surveyed(connection: Any, lines: list[int], floors: list[int]) -> tuple[list[Any], int]:
    """What a survey finds, and how many pages it looks at."""
    call = "SELECT suspect, line, seq FROM headrace_survey_1(0::smallint, $1::integer[], $2::bigint[])"
    (plan,) = await connection.fetchrow(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {call}", lines, floors)
    return [tuple(row) for row in await connection.fetch(call, lines, floors)], json.loads(plan)[0]["Plan"][
        "Shared Hit Blocks"
    ]
