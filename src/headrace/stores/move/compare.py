"""The proof that both sides have the same: all of it before the file is stopped, then whatever changed since.

All of it is counts of every table and state and a checksum of the live jobs; of what changed since,
every job is looked at. Source and target stand still for each other: by a snapshot, then by the stop.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from headrace.core.model import JobId
from headrace.stores.encoding import state_of
from headrace.stores.move import rows
from headrace.stores.move.rows import Row
from headrace.stores.move.source import IDS_MAX, Source
from headrace.stores.move.target import Target

_ROW: Final = struct.Struct(">16sqqq")
_SAME: Final = {  # the same question to both
    "keys": "SELECT count(*) FROM headrace_job_key",
    "updates": "SELECT count(*) FROM headrace_feed",
    "attempts": "SELECT count(*) FROM headrace_attempt",
    "letters": "SELECT count(*) FROM headrace_letter",
    "promises": "SELECT count(*) FROM headrace_promise",
    "bookmarks": "SELECT count(*) FROM headrace_bookmark",
    "seen": "SELECT count(*) FROM headrace_seen",
    "events": "SELECT count(*) FROM headrace_outbox",
}
_STATES: Final = (
    "SELECT state, count(*) FROM headrace_job GROUP BY state",
    "SELECT state, count(*) FROM headrace_history GROUP BY state",
)
_SMALL: Final = ("bookmarks", "events")  # of these, what is quick to count
_BOOKMARKS: Final = (
    "SELECT source.name, bookmark.part, bookmark.next FROM headrace_bookmark AS bookmark "
    "JOIN headrace_source AS source ON source.id = bookmark.source"
)
_KEPT: Final = {  # the target may have had some of its own
    "queues": ("queue", "name"),
    "workers": ("worker", "id"),
    "secrets": ("secret", "name"),
    "api_keys": ("api_key", "id"),
    "sources": ("source", "name"),
    "sinks": ("sink", "name"),
}
_LIVE: Final = "SELECT id, state, fence, feed_end FROM headrace_job"
_REPLAYS: Final = "SELECT count(*) FROM headrace_idempotency WHERE expires_at > "

# One job as both have it; what hangs on it is counted.
_HERE: Final = """
SELECT job.id, job.state, job.fence, job.feed_end,
    (SELECT count(*) FROM headrace_feed AS feed WHERE feed.n = job.n),
    (SELECT count(*) FROM headrace_attempt AS attempt WHERE attempt.n = job.n),
    (SELECT count(*) FROM headrace_job_key AS k WHERE k.task = lane.task AND k.key = call.key AND k.job = job.id),
    (SELECT count(*) FROM headrace_letter AS letter WHERE letter.job = job.id),
    (SELECT count(*) FROM headrace_promise AS promise WHERE promise.job = job.id)
FROM {table} AS job JOIN headrace_call AS call ON call.n = job.n JOIN headrace_lane AS lane ON lane.id = job.lane
WHERE job.id IN ({marks})"""
_THERE: Final = """
SELECT job.id, job.state, job.fence, job.feed_end,
    (SELECT count(*) FROM headrace_feed AS feed WHERE feed.job = job.id),
    (SELECT count(*) FROM headrace_attempt AS attempt WHERE attempt.job = job.id),
    (SELECT count(*) FROM headrace_job_key AS k WHERE k.task = line.task AND k.key = job.key AND k.job = job.id),
    (SELECT count(*) FROM headrace_letter AS letter WHERE letter.job = job.id),
    (SELECT count(*) FROM headrace_promise AS promise WHERE promise.job = job.id)
FROM {table} AS job JOIN headrace_line AS line ON line.id = job.line WHERE job.id = ANY ($1::uuid[])"""
_TABLES: Final = ("headrace_job", "headrace_history")


def count(source: Source, now: float) -> dict[str, int]:
    """What the file has, by state and kind."""
    found = {state: jobs for sql in _STATES for state, jobs in _by_state(source.ask(sql))}
    for name, sql in _SAME.items():
        found[name] = source.ask(sql)[0][0]
    for name, (table, column) in _KEPT.items():
        found[name] = sum(1 for _ in source.table(table, column))
    found["idempotency"] = source.ask(f"{_REPLAYS}{_micros(now)}")[0][0]
    return found


async def compare_all(source: Source, target: Target, now: float) -> list[str]:
    """What the target has otherwise than the file."""
    here = count(source, now)
    there = {state: jobs for sql in _STATES for state, jobs in _by_state(await target.fetch(sql))}
    for name, sql in _SAME.items():
        there[name] = (await target.fetch(sql))[0][0]
    for name, (table, column) in _KEPT.items():
        names = [row[0] for row in source.table(table, column)]
        sql = f"SELECT count(*) FROM headrace_{table} WHERE {column} = ANY ($1)"  # noqa: S608 - names of ours
        there[name] = (await target.fetch(sql, names))[0][0]
    replays = (await target.fetch(f"{_REPLAYS}$1", rows.at(_micros(now))))[0][0]
    there["idempotency"] = min(replays, here["idempotency"])  # the target may have some of its own
    differences = [
        f"{name}: {here.get(name, 0):,} in the file, {there.get(name, 0):,} in the target"
        for name in dict.fromkeys((*here, *there))
        if here.get(name, 0) != there.get(name, 0)
    ]
    if _checksum(source.ask(_LIVE)) != _checksum((row[0].bytes, *row[1:]) for row in await target.fetch(_LIVE)):
        differences.append("the live jobs' states, fences or feeds")
    return differences + await compare_bookmarks(source, target)


async def compare_bookmarks(source: Source, target: Target) -> list[str]:
    """Which bookmarks stand elsewhere there, and what of the post is not as many."""
    here = {tuple(row) for row in source.ask(_BOOKMARKS)}
    there = {tuple(row) for row in await target.fetch(_BOOKMARKS)}
    differences = [f"the bookmark of {name}, {part}" for name, part, _ in sorted(here ^ there)]
    counts = {name: (await target.fetch(_SAME[name]))[0][0] for name in _SMALL}
    return differences + [name for name in _SMALL if source.ask(_SAME[name])[0][0] != counts[name]]


async def compare_jobs(source: Source, target: Target, jobs: Sequence[JobId]) -> list[str]:
    """Which of these jobs the target has otherwise than the file, or has although they are gone."""
    differences: list[str] = []
    for first in range(0, len(jobs), IDS_MAX):
        some = jobs[first : first + IDS_MAX]
        marks = ",".join("?" * len(some))
        here = {row[0]: tuple(row[1:]) for t in _TABLES for row in source.ask(_HERE.format(table=t, marks=marks), some)}
        ids = [UUID(job) for job in some]
        there = {
            row[0].bytes: tuple(row[1:]) for t in _TABLES for row in await target.fetch(_THERE.format(table=t), ids)
        }
        differences += [f"job {job.hex()}" for job in some if here.get(job) != there.get(job)]
    return differences


def _by_state(found: Iterable[Row]) -> list[tuple[str, int]]:
    return [(state_of(state).value, jobs) for state, jobs in found]


def _micros(now: float) -> int:
    return int(now * 1_000_000)


def _checksum(found: Iterable[Row]) -> int:
    """Of rows in any order."""
    total = 0
    for row in found:
        total += int.from_bytes(hashlib.blake2b(_ROW.pack(*row), digest_size=8).digest())
    return total % 2**64
