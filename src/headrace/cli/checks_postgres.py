"""What `headrace doctor` says of a PostgreSQL database: the server, the rights, the schema, what slows it down."""

from collections.abc import Iterator, Sequence
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

from headrace.cli.checks import Check, fail, ok, warn

if TYPE_CHECKING:
    from headrace.settings import Settings
    from headrace.stores.postgres.inspection import Examined

CLOCK_S: Final = 1.0
DAYS: Final = 2  # of the history that must be there: today and tomorrow
BESIDE_POOL: Final = 3  # connections of one process for hints, for the probe of them, for the proof of life
NAMED_MAX: Final = 5
RELOAD: Final = "`SELECT pg_reload_conf()`"
TO_ITSELF: Final = "a URL of the server itself"


def judge(it: "Examined", own_connections: int) -> Iterator[Check]:
    """Every finding; nothing after the schema is looked at where that cannot be used."""
    schema = it.seen.home or it.seen.schema
    yield ok("database", f"PostgreSQL {it.seen.version} at {it.where}, schema {schema}, as {it.seen.user}")
    yield _clock(it)
    yield from _durability(it)
    yield _connections(it, own_connections)
    yield _schema(it)
    if it.trouble is None and it.plan.found:
        yield _rights(it)
        yield _days(it)
        yield _autovacuum(it)
    yield from _horizon(it)


def _clock(it: "Examined") -> Check:
    if abs(it.ahead_s) <= CLOCK_S:
        return ok("clock", f"at most {CLOCK_S:g} s from this machine's")
    way = "ahead of" if it.ahead_s > 0 else "behind"
    return warn("clock", f"this machine is {abs(it.ahead_s):.1f} s {way} the database; nothing depends on it, but log"
                " lines of the two do not fit together", "set both by NTP")  # fmt: skip


def _durability(it: "Examined") -> Iterator[Check]:
    costs = [
        ("fsync", it.facts.fsync, "a crash of its machine may leave the whole database damaged"),
        ("full_page_writes", it.facts.full_page_writes, "a crash of its machine may leave pages half written for ever"),
    ]
    for name, there, cost in costs:
        if not there:
            yield warn("durability", f"{name} is off: {cost}", f"`ALTER SYSTEM SET {name} = on`, then {RELOAD}")
    if it.facts.synchronous_commit == "off":
        cost = "a crash of the server may take jobs whose enqueue had returned, and run ended ones again"
        yield warn("durability", f"synchronous_commit is off: {cost}",
                   f"`ALTER ROLE {it.seen.user} SET synchronous_commit = on`")  # fmt: skip
    elif it.facts.fsync and it.facts.full_page_writes:
        yield ok("durability", f"synchronous_commit is {it.facts.synchronous_commit}, fsync on")


def _connections(it: "Examined", own: int) -> Check:
    used, most = it.facts.connections, it.facts.connections_max
    shown = f"{used} of {most} in use"
    if it.pooled:
        return ok("connections", f"{shown} on the server behind the pooler")
    if most - used < own + BESIDE_POOL:
        return warn("connections", f"{shown}; one more process may open {own + BESIDE_POOL}",
                    "raise max_connections, lower HEADRACE_POSTGRES_CONNECTIONS, or put a pooler between")  # fmt: skip
    return ok("connections", f"{shown}; each process opens up to {own + BESIDE_POOL}")


def _schema(it: "Examined") -> Check:
    plan = it.plan
    if it.trouble is not None:
        return fail("schema", str(it.trouble), "")
    if not plan.found:
        return warn("schema", "there are no headrace tables yet", "the first start makes them, or `headrace migrate`")
    broken = [*it.missing, *(thing.name for thing in it.things if not thing.valid)]
    if broken:
        return fail("schema", f"schema {plan.found} was made, but {_some(broken)} is gone or invalid",
                    "bring it back from a backup; `headrace migrate` makes nothing twice")  # fmt: skip
    if plan.pending:
        return warn("schema", f"{plan.pending[0]} waits for workers of an older version to end, and this version runs",
                    "`headrace migrate` when they have ended")  # fmt: skip
    if plan.found > plan.wanted:
        return ok("schema", f"{plan.found}, made by headrace {plan.found_version}; this version goes on with it")
    return ok("schema", f"{plan.found}, as this version wants it")


def _rights(it: "Examined") -> Check:
    from headrace.stores.postgres.server import grants

    if it.forbidden:
        return fail(
            "rights", f"{it.seen.user} may not use {_some(it.forbidden)}", f"have their owner {grants(it.seen)}"
        )
    if not it.seen.owns:
        return warn("rights", f"{it.seen.user} does not own the tables, and so makes no days of the history",
                    "have their owner run `headrace migrate` once a day")  # fmt: skip
    return ok("rights", f"{it.seen.user} owns the tables")


def _days(it: "Examined") -> Check:
    today = it.facts.clock.astimezone(UTC).date()
    lacking = [day for day in (today + timedelta(days=ahead) for ahead in range(DAYS)) if day not in it.days]
    if lacking:
        names = " and ".join(f"headrace_history_{day:%Y%m%d}" for day in lacking)
        return warn("history", f"{names} was not made ahead, so what ends then is deleted row by row",
                    "a living worker whose role owns the tables makes it, or `headrace migrate`")  # fmt: skip
    return ok("history", f"{len(it.days)} days, the last {max(it.days)}")


def _autovacuum(it: "Examined") -> Check:
    left = [thing.name for thing in it.things if not thing.vacuumed]
    if not it.facts.autovacuum:
        return warn("autovacuum", "off: deleted rows pile up, and every claim wades through them",
                    f"`ALTER SYSTEM SET autovacuum = on`, track_counts too, then {RELOAD}")  # fmt: skip
    if left:
        return warn("autovacuum", f"turned off for {_some(left)}: deleted rows pile up there",
                    f"`ALTER TABLE {left[0]} RESET (autovacuum_enabled)`")  # fmt: skip
    return ok("autovacuum", "on")


def _horizon(it: "Examined") -> Iterator[Check]:
    for laggard in it.laggards:
        yield warn("vacuum", f"no row deleted since can be cleared away because of {laggard}", laggard.remedy)
    if it.laggards:
        return
    unseen = f"; since when others have been at it, {it.seen.user} may not see (GRANT pg_read_all_stats)"
    yield ok("vacuum", f"nothing holds it back{'' if it.facts.sees_sessions else unseen}")


async def check_listen(settings: "Settings") -> Check:
    """Whether hints of other processes are heard."""
    from headrace.notifiers.postgres_line import probe
    from headrace.stores.postgres.faults import ERRORS, shown, unreached

    asked = settings.listen_url
    bad = fail if asked else warn
    try:
        heard = await probe(asked or settings.store)
    except (*ERRORS, ValueError) as error:
        return bad("listen", f"no connection for hints: {unreached(error, shown(asked or settings.store))}",
                   "mend HEADRACE_LISTEN_URL, or unset it" if asked else "")  # fmt: skip
    if heard:
        return ok("listen", f"hints of other processes are heard{' by HEADRACE_LISTEN_URL' if asked else ''}")
    if asked:
        return fail("listen", "HEADRACE_LISTEN_URL leads to a pooler that lends its sessions by transaction, where"
                    " LISTEN hears nothing", f"set it to {TO_ITSELF}")  # fmt: skip
    return warn("listen", "LISTEN hears nothing, as behind a pooler that lends its sessions by transaction: work is"
                " found by polling, which is slower", f"set HEADRACE_LISTEN_URL to {TO_ITSELF}")  # fmt: skip


async def check_life(settings: "Settings", *, pooled: bool) -> Check:
    """Whether others would see at once that a machine of this kind died."""
    from headrace.stores.postgres.inspection import can_hold

    late = f"a worker whose machine dies is missed when its lease ends ({settings.lease_s:g} s), not at once"
    if pooled:
        return warn("proof of life", f"behind a pooler no session is one's own: {late}",
                    f"give the workers {TO_ITSELF}, where that is too late")  # fmt: skip
    if await can_hold(settings.store):
        return ok("proof of life", "the lock on a session of one's own can be had")
    return warn("proof of life", f"the lock on a session of one's own cannot be had: {late}",
                "see that the server has a connection left")  # fmt: skip


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"{', '.join(names[:NAMED_MAX])}{more}"
