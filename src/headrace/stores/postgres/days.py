"""The days of the history: made ahead of time, dropped whole when all of them is past its retention.

Invariant: one process at a time does this, in one transaction under an advisory lock; what it
cannot lock at once waits for the next time.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Tx

AHEAD: Final = 3  # days
BACK_MAX: Final = 60  # days that `prepare` makes; what is older goes where nobody prepared
LOCK: Final = 0x44617973  # "Days"
_DAYS: Final = query("days")
_OWNS: Final = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'headrace_history'::regclass"
_PREPARE: Final = (
    "SELECT pg_try_advisory_xact_lock($1), set_config('lock_timeout', '1s', true), clock_timestamp(),"
    " nullif(headrace_pruned_to(), '-infinity')"
)
_LEFT: Final = (
    "SELECT EXISTS (SELECT FROM {name} WHERE NOT (state = 3 AND feed_end = 3 AND key IS NULL)),"
    " EXISTS (SELECT FROM {name} WHERE finished_at > $1)"
)


async def keep(tx: Tx) -> None:
    """Make the next days, and drop those that are over; only their owner can."""
    ((owns,),) = await tx.all(_OWNS)
    if not owns:
        return
    (row,) = await tx.all(_PREPARE, LOCK)
    mine, _, clock, pruned_to = row
    if not mine:
        return
    now: datetime = clock if tx.now is None else tx.now
    today = now.astimezone(UTC).date()
    there = await made(tx)
    for day in (today + timedelta(days=ahead) for ahead in range(AHEAD + 1)):
        if day not in there:
            await _make(tx, day)
    for day, name in there.items():
        if pruned_to is not None and _begins(day + timedelta(days=1)) <= pruned_to:
            linked, kept = (await tx.all(_LEFT.format(name=name), pruned_to))[0]
            if not linked and not kept:
                await tx.all(f"DROP TABLE {name}")


async def made(tx: Tx) -> dict[date, str]:
    """The days that have a table, and its name, in order."""
    return {found[1]: found[0] for found in await tx.all(_DAYS)}


async def prepare(tx: Tx, first: datetime) -> None:
    """Make the days from `first` on, for a history that comes from elsewhere."""
    await keep(tx)
    there = {found[1] for found in await tx.all(_DAYS)}
    if there:
        last = min(there)
        for back in range(1, min((last - first.astimezone(UTC).date()).days, BACK_MAX) + 1):
            await _make(tx, last - timedelta(days=back))


async def _make(tx: Tx, day: date) -> None:
    name = f"headrace_history_{day:%Y%m%d}"
    begin, end = _begins(day), _begins(day + timedelta(days=1))
    taken = await tx.all(
        "SELECT FROM headrace_history_other WHERE finished_at >= $1 AND finished_at < $2 LIMIT 1", begin, end
    )
    if not taken:  # else it came too late for this day, whose rows are deleted one by one
        await tx.all(f"CREATE TABLE {name} (LIKE headrace_history INCLUDING ALL)")
        bounds = f"FROM ('{begin.isoformat()}') TO ('{end.isoformat()}')"
        await tx.all(f"ALTER TABLE headrace_history ATTACH PARTITION {name} FOR VALUES {bounds}")


def _begins(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
