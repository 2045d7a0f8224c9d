"""SQLAlchemy's sessions and connections, sync and async, as joins need them; imported when one comes along."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from sqlalchemy import Connection, Dialect, event
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from headrace.core.errors import UsageError
from headrace.stores.joins import ring_soon

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
else:
    try:
        from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    except ImportError:

        class AsyncSession:
            """There is no greenlet, so nothing is one of these."""

        AsyncConnection = async_scoped_session = AsyncSession

__all__ = ["AsyncConnection", "AsyncSession", "Using", "answered", "bound", "dialect", "flush", "ring_after"]

Using: TypeAlias = Session | Connection | AsyncSession | AsyncConnection
_OWED: Final = "headrace.hints_owed"


def bound(using: object) -> Using | None:
    """The session or connection that this is; None: it is none."""
    if isinstance(using, (scoped_session, async_scoped_session)):
        using = cast("Any", using)()  # this scope's session
    return using if isinstance(using, (Session, Connection, AsyncSession, AsyncConnection)) else None


def dialect(using: Using) -> Dialect:
    """What it speaks, and by which driver.

    Raises:
        UsageError: a session that is bound to a database by class only.
    """
    try:
        if isinstance(using, Session):
            return using.get_bind().dialect
        if isinstance(using, AsyncSession):
            return using.sync_session.get_bind().dialect
    except UnboundExecutionError as error:
        raise UsageError(
            "using= is a session that has no database of its own, only those of its classes: pass the connection, "
            "session.connection(bind_arguments={'mapper': …})"
        ) from error
    return using.dialect


async def flush(using: Using) -> None:
    """Write what a session has yet to write, so that what refuses it is told apart from a commit that fails."""
    if isinstance(using, (Session, AsyncSession)):
        await answered(using.flush())


async def answered(answer: Awaitable[None] | None) -> None:
    """Wait for an async object's answer; a sync one's is there."""
    if answer is not None:
        await answer


def ring_after(using: Using, ring: Callable[[], None]) -> None:
    """Ring when the whole transaction has ended, not a savepoint; after a rollback it does no harm.

    A connection outside of a session tells nobody when it does: it is rung for now, and soon.
    """
    if isinstance(using, (Connection, AsyncConnection)):
        ring_soon(ring)
        return
    session = using if isinstance(using, Session) else using.sync_session
    owed: list[Callable[[], None]] | None = session.info.get(_OWED)
    if owed is None:
        owed = session.info[_OWED] = []
        event.listen(session, "after_transaction_end", _ended)
    owed.append(ring)


def _ended(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        owed: list[Callable[[], None]] = session.info[_OWED]
        for ring in owed:
            ring()
        owed.clear()
