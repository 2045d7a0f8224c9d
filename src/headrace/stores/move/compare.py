"""The proof that both sides have the same: counts of every table and state, and a checksum of the live jobs."""

import hashlib
import struct
from collections.abc import Iterable
from typing import Final

from headrace.stores.encoding import state_of
from headrace.stores.move import rows
from headrace.stores.move.rows import Row
from headrace.stores.move.source import Source
from headrace.stores.move.target import Target

_ROW: Final = struct.Struct(">16sqqq")
_SAME: Final = {  # the same question to both
    "keys": "SELECT count(*) FROM headrace_job_key",
    "updates": "SELECT count(*) FROM headrace_feed",
    "attempts": "SELECT count(*) FROM headrace_attempt",
}
_STATES: Final = (
    "SELECT state, count(*) FROM headrace_job GROUP BY state",
    "SELECT state, count(*) FROM headrace_history GROUP BY state",
)
_KEPT: Final = {  # the target may have had some of its own
    "queues": ("queue", "name"),
    "workers": ("worker", "id"),
    "secrets": ("secret", "name"),
    "api_keys": ("api_key", "id"),
}
_LIVE: Final = "SELECT id, state, fence, feed_end FROM headrace_job"


async def compare(source: Source, target: Target, now: float) -> tuple[dict[str, int], list[str]]:
    """What the file has, by kind, and what the target has otherwise; both must stand still meanwhile."""
    here: dict[str, int] = {}
    there: dict[str, int] = {}
    for sql in _STATES:
        here |= _by_state(source.count(sql))
        there |= _by_state(await target.fetch(sql))
    for name, sql in _SAME.items():
        here[name] = source.count(sql)[0][0]
        there[name] = (await target.fetch(sql))[0][0]
    for name, (table, column) in _KEPT.items():
        names = [row[0] for row in source.table(table, column)]
        sql = f"SELECT count(*) FROM headrace_{table} WHERE {column} = ANY ($1)"  # noqa: S608 - names of ours
        here[name] = len(names)
        there[name] = (await target.fetch(sql, names))[0][0]
    micros = int(now * 1_000_000)
    replays = "SELECT count(*) FROM headrace_idempotency WHERE expires_at > "
    here["idempotency"] = source.count(f"{replays}{micros}")[0][0]
    found = (await target.fetch(f"{replays}$1", rows.at(micros)))[0][0]
    there["idempotency"] = min(found, here["idempotency"])  # others may have come to the target
    differences = [
        f"{name}: {here.get(name, 0):,} in the file, {there.get(name, 0):,} in the target"
        for name in dict.fromkeys((*here, *there))
        if here.get(name, 0) != there.get(name, 0)
    ]
    if _checksum(source.count(_LIVE)) != _checksum((row[0].bytes, *row[1:]) for row in await target.fetch(_LIVE)):
        differences.append("the live jobs' states, fences or feeds")
    return here, differences


def _by_state(found: Iterable[Row]) -> dict[str, int]:
    return {state_of(state).value: count for state, count in found}


def _checksum(found: Iterable[Row]) -> int:
    """Of rows in any order."""
    total = 0
    for row in found:
        total += int.from_bytes(hashlib.blake2b(_ROW.pack(*row), digest_size=8).digest())
    return total % 2**64
