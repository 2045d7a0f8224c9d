"""What the fleet knows of its upstreams: a small document each, amended under the file's write lock."""

from collections.abc import Callable
from typing import Final, TypeVar

from headrace.core.model import Json
from headrace.ports.store import Amendment
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, Tx

T = TypeVar("T")
_ALL: Final = query("upstreams")
_GET: Final = query("upstream_get")
_PUT: Final = query("upstream_put")


def read(tx: Tx) -> tuple[float, dict[str, Json]]:
    """Every document, and the instant."""
    return tx.now / MICRO, {row[0]: row[1] for row in tx.all(_ALL)}


def amend(tx: Tx, upstream: str, change: Callable[[Json | None, float], Amendment[T]]) -> T:
    """Turn one document into the next."""
    row = tx.one(_GET, (upstream,))
    amendment = change(None if row is None else row[0], tx.now / MICRO)
    if amendment.document is not None:
        tx.run(_PUT, (upstream, amendment.document))
    if amendment.tell:
        tx.hints.add("upstream")
    return amendment.answer
