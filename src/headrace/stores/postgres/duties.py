"""What one process at a time does for all, and endpoints to which nothing is sent any more."""

from typing import Final

from headrace.ports.post import Disabled
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Tx

_TAKE: Final = query("chore_take")
_LEAVE: Final = query("chore_leave")
_DISABLE: Final = query("endpoint_disable")
_ENABLE: Final = query("endpoint_enable")
_ENDPOINTS: Final = query("endpoints")


async def take_chore(tx: Tx, name: str, doer: str, lease_s: float) -> int | None:
    """Be the one who does this, or stay it; the term, or None."""
    row = await tx.one(_TAKE, tx.now, name, doer, lease_s)
    return None if row is None else row[0]


async def leave_chore(tx: Tx, name: str, doer: str) -> None:
    """Let others do this at once."""
    await tx.all(_LEAVE, name, doer)


async def disable(tx: Tx, endpoint: str, why: str | None) -> None:
    """Send nothing more to an endpoint; None: send again."""
    if why is None:
        await tx.all(_ENABLE, endpoint)
    else:
        await tx.all(_DISABLE, tx.now, endpoint, why)


async def disabled(tx: Tx) -> dict[str, Disabled]:
    """The endpoints to which nothing is sent, by name."""
    return {row[0]: Disabled(row[1], max(0.0, row[2])) for row in await tx.all(_ENDPOINTS, tx.now)}
