"""A connection of the user's: statements on it, whichever driver it is of.

Every value goes over as text, and the statement says what it is: what drivers make of other types
depends on the driver, on its version, and on what the user has taught it.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import ClassVar, Final, cast

from headrace.core.errors import UsageError
from headrace.stores.joins import ring_soon
from headrace.stores.postgres.tx import Row, Tx

_LIST: Final = re.compile(r"(\$\d+)::([a-z ]+)\[\]")
_INSTANT: Final = re.compile(r"(\$\d+)::timestamptz(?!\[)")
_PLACE: Final = re.compile(r"\$(\d+)")


class Link(ABC):
    """A connection of one kind; a synchronous one's coroutines never suspend."""

    errors: ClassVar[tuple[type[Exception], ...]]
    """What its driver raises."""
    numbered: bool = False
    """Whether it takes `$1` and so on; else `%s`."""

    @abstractmethod
    async def begin(self) -> None:
        """See that what is written now is part of a transaction.

        Raises:
            UsageError: it would be committed at once.
        """

    @abstractmethod
    async def fetch(self, sql: str, params: Sequence[object]) -> Sequence[Row]:
        """Every row."""

    @abstractmethod
    async def flush(self) -> None:
        """Write what the user has only noted so far, if there is such a thing."""

    @abstractmethod
    async def commit(self) -> bool:
        """Commit; False: the server rolled back instead."""

    @abstractmethod
    async def rollback(self) -> None:
        """Roll back."""

    def ring_after(self, ring: Callable[[], None]) -> None:
        """Ring when the user has committed; a connection that does not tell is rung for now, and soon."""
        ring_soon(ring)


class LinkTx(Tx):
    """Statements in the user's transaction."""

    def __init__(self, link: Link, now: datetime | None) -> None:
        """It is open."""
        super().__init__(now)
        self._link = link

    async def all(self, sql: str, *params: object) -> Sequence[Row]:
        """Every row."""
        statement, places = spelled(sql, numbered=self._link.numbered)
        texts = [as_text(param) for param in params]
        return await self._link.fetch(statement, [texts[place] for place in places])


@cache
def spelled(sql: str, *, numbered: bool) -> tuple[str, tuple[int, ...]]:
    """A statement whose values are text, and which of them goes to each of its places."""
    sql = _INSTANT.sub(r"\1::text::timestamptz", _LIST.sub(r"\1::text[]::\2[]", sql))
    places = tuple(int(place) - 1 for place in _PLACE.findall(sql))
    if numbered:
        return sql, tuple(range(max(places) + 1))
    return _PLACE.sub("%s", sql.replace("%", "%%")), places


def as_text(param: object) -> object:
    """A value as PostgreSQL reads it; a number that stands alone stays what it is."""
    if isinstance(param, list):
        return [None if each is None else str(as_text(each)) for each in cast("list[object]", param)]
    if isinstance(param, bytes):
        return f"\\x{param.hex()}"
    return param.isoformat() if isinstance(param, datetime) else param


def refused(kind: str, remedy: str) -> UsageError:
    """What to tell of a connection that would commit each statement at once."""
    return UsageError(f"using= is {kind} without a transaction, and would commit each statement at once: {remedy}")


def failed() -> UsageError:
    """What to tell of a transaction in which the server does nothing any more."""
    return UsageError("the transaction of using= has failed before: roll it back, and repeat it from its start")
