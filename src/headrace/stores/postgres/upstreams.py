"""What the fleet knows of its upstreams: a small document each, amended under its row's lock."""

from collections.abc import Callable
from typing import Final, TypeVar

from headrace.core.model import Json
from headrace.ports.store import Amendment
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Tx

T = TypeVar("T")
_ALL: Final = query("upstreams")
_GET: Final = query("upstream_get")
_MAKE: Final = query("upstream_make")
_PUT: Final = query("upstream_put")
_INSTANT: Final = query("instant")


async def read(tx: Tx) -> tuple[float, dict[str, Json]]:
    """Every document, and the instant."""
    now, *rows = await tx.all(_ALL, tx.now)
    return now[2], {row[0]: row[1] for row in rows if row[1]}


async def amend(tx: Tx, upstream: str, change: Callable[[Json | None, float], Amendment[T]]) -> T:
    """Turn one document into the next."""
    row = await tx.one(_GET, upstream)
    if row is None:
        await tx.all(_MAKE, upstream)
        row = await tx.one(_GET, upstream)
    now = await tx.one(_INSTANT, tx.now)  # after the lock was waited for
    assert now is not None  # noqa: S101 - a SELECT of one value answers
    amendment = change(None if row is None else row[0] or None, now[0])
    if amendment.document is not None:
        await tx.all(_PUT, upstream, amendment.document)
    if amendment.tell:
        tx.hints.add("upstream")
    return amendment.answer
