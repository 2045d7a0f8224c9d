"""What a server and a user say of themselves, and whether jobs can live there."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.core.errors import StoreUnavailable, StoreUnusable
from headrace.stores.postgres.faults import READ_ONLY
from headrace.stores.postgres.sql import query

if TYPE_CHECKING:
    from headrace.stores.postgres.loop_pool import Connection

OLDEST: Final = 130_000  # PostgreSQL 13
_NUMBER_FROM: Final = 10_000
_SEEN: Final = query("seen")
_FORBIDDEN: Final = query("forbidden")
_NAMED_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """One server as one user sees it; fields in the order of `seen`. Names are quoted as SQL wants them."""

    number: int  # 150018
    version: str  # 15.18
    database: str
    user: str
    schema: str | None  # where tables would be made; None: nowhere
    creates: bool  # whether this user may make them
    home: str | None  # the schema of our tables; None: there are none
    reads: bool  # whether this user may at least see which migrations they had
    owns: bool  # whether they are this user's, or those of a role that it is in
    standby: bool
    read_only: bool

    def check(self, where: str) -> None:
        """Refuse a server that cannot do it, and a user who may not even look.

        Raises:
            StoreUnusable: it is too old, or a right is missing.
        """
        if self.number < OLDEST:
            raise StoreUnusable(
                f"the database {where} is on PostgreSQL {self.number // _NUMBER_FROM}; headrace needs 13 or newer:"
                " upgrade the server"
            )
        if self.home is not None and not self.reads:
            raise StoreUnusable(
                f"the database {where} does not let {self.user} use the headrace tables: have their owner"
                f" {grants(self)}"
            )

    def check_writes(self, where: str) -> None:
        """Refuse what cannot be written.

        Raises:
            StoreUnavailable: it is a standby, or read-only for this user.
        """
        if self.standby or self.read_only:
            remedy = "" if self.standby else f"; see default_transaction_read_only of {self.user}"
            raise StoreUnavailable(f"the database {where} {READ_ONLY}{remedy}")

    def check_creates(self, where: str) -> None:
        """Refuse a user who may not make the tables.

        Raises:
            StoreUnusable: says which right is missing.
        """
        if self.schema is None:
            raise StoreUnusable(
                f"the database {where} has no schema that {self.user} may use: GRANT USAGE, CREATE ON SCHEMA public TO"
                f" {self.user}, or set its search_path"
            )
        if not self.creates:
            raise StoreUnusable(
                f"the database {where} has no headrace tables, and {self.user} may not make them in the schema"
                f" {self.schema}: run `headrace migrate` as its owner, or GRANT CREATE ON SCHEMA {self.schema} TO"
                f" {self.user}"
            )


async def look(connection: "Connection") -> Seen:
    """Ask the server."""
    row = await connection.fetchrow(_SEEN)
    assert row is not None  # noqa: S101 - it asks for one
    return Seen(*row)


async def forbidden(connection: "Connection", names: Collection[str]) -> list[str]:
    """Which of these tables, sequences and functions of ours this user may not use as the store does."""
    return [row[0] for row in await connection.fetch(_FORBIDDEN) if row[0] in names]


async def check_rights(connection: "Connection", seen: Seen, used: Collection[str], where: str) -> None:
    """Refuse a user who may not use what is `used`.

    Raises:
        StoreUnusable: says what to grant.
    """
    names = await forbidden(connection, used)
    if names:
        more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
        raise StoreUnusable(
            f"the database {where} does not let {seen.user} use {', '.join(names[:_NAMED_MAX])}{more}: have their owner"
            f" {grants(seen)}"
        )


def grants(seen: Seen) -> str:
    """What the owner of the tables runs for a user who is to use them."""
    in_schema = f"IN SCHEMA {seen.home or seen.schema} TO {seen.user}"
    return (
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES {in_schema}; GRANT USAGE ON ALL SEQUENCES {in_schema};"
        f" GRANT EXECUTE ON ALL FUNCTIONS {in_schema}"
    )
