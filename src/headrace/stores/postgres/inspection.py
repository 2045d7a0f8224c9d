"""What a doctor asks a database, and no job needs; judged elsewhere. Nothing is changed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Final

from headrace.core.errors import HeadraceError
from headrace.ports.vacuum import LAGGARD_S, Laggard
from headrace.stores.migrations import Plan, made
from headrace.stores.postgres import days, horizon, schema
from headrace.stores.postgres.holder import Holder
from headrace.stores.postgres.pool import Pools
from headrace.stores.postgres.server import Seen, forbidden, look
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import ConnectionTx

if TYPE_CHECKING:
    from headrace.stores.postgres.loop_pool import Connection

_FACTS: Final = query("facts")
_INVENTORY: Final = query("inventory")


@dataclass(frozen=True, slots=True)
class Facts:
    """Settings and state of a server; fields in the order of `facts`."""

    autovacuum: bool
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    connections: int
    connections_max: int
    sees_sessions: bool  # whether this user sees since when sessions of others have been at it
    clock: datetime


@dataclass(frozen=True, slots=True)
class Thing:
    """A table, an index, a sequence or a function of ours; fields in the order of `inventory`."""

    name: str
    valid: bool
    vacuumed: bool


@dataclass(frozen=True, slots=True)
class Examined:
    """A database as one user sees it."""

    where: str
    pooled: bool  # a pooler by transaction stands in between
    seen: Seen
    facts: Facts
    ahead_s: float  # of this machine, at least: what the way there and back took is in favour of both
    plan: Plan
    trouble: HeadraceError | None = None  # why the schema cannot be used
    things: tuple[Thing, ...] = ()
    missing: tuple[str, ...] = ()  # of ours, although its migration was applied
    forbidden: tuple[str, ...] = ()  # to this user
    days: tuple[date, ...] = ()  # of the history that were made
    laggards: tuple[Laggard, ...] = ()


async def examine(url: str, wall: Callable[[], float]) -> Examined:
    """Look at a database; `wall` is this machine's clock.

    Raises:
        StoreError: it cannot be reached, or no job can live there whatever its schema.
    """
    pools = Pools(url, size=1)
    try:
        await pools.open()
        async with pools.transaction() as connection:
            return await _examine(connection, pools, wall)
    finally:
        await pools.close()


async def can_hold(url: str) -> bool:
    """Whether a session of one's own can be had and hold the lock by which others see that a process lives."""
    holder = Holder(url)
    try:
        return await holder.key() is not None
    finally:
        await holder.close()


async def _examine(connection: "Connection", pools: Pools, wall: Callable[[], float]) -> Examined:
    seen = await look(connection)
    seen.check(pools.where)
    seen.check_writes(pools.where)
    before = wall()
    row = await connection.fetchrow(_FACTS)
    after = wall()
    assert row is not None  # noqa: S101 - it asks for one
    facts = Facts(*row)
    clock = facts.clock.timestamp()
    ahead_s = max(0.0, before - clock) or min(0.0, after - clock)
    laggards = tuple(await horizon.laggards(ConnectionTx(connection, None), LAGGARD_S))
    plan, trouble = Plan(0, 0, ()), None
    try:
        plan = await schema.plan(connection, pools.where)
        if plan.found:
            plan.check(pools.where)
        else:
            await schema.check_room(connection, seen, pools.where)
    except HeadraceError as error:
        trouble = error
    told = Examined(pools.where, pools.pooled, seen, facts, ahead_s, plan, trouble, laggards=laggards)
    return told if trouble is not None or not plan.found else await _ours(connection, told)


async def _ours(connection: "Connection", told: Examined) -> Examined:
    """What can be seen of tables that can be used."""
    things = tuple(Thing(*row) for row in await connection.fetch(_INVENTORY))
    pending = {migration.number for migration in told.plan.pending}
    applied = [migration for migration in schema.migrations() if migration.number not in pending]
    known: set[str] = set() if told.plan.found > told.plan.wanted else made(applied)
    return replace(
        told,
        things=things,
        missing=tuple(sorted(known - {thing.name for thing in things})),
        forbidden=tuple(await forbidden(connection, made(applied))),
        days=tuple(await days.made(ConnectionTx(connection, None))),
    )
