"""The oldest snapshots of a database: whoever keeps one keeps vacuum from clearing away what was deleted since."""

from typing import Final

from headrace.ports.vacuum import Laggard
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Row, Tx

FAR: Final = 100_000  # transactions behind, where no time is told
_HORIZON: Final = query("horizon")


async def laggards(tx: Tx, older_than_s: float) -> list[Laggard]:
    """What has kept a snapshot for longer, the furthest behind first."""
    return [_laggard(row) for row in await tx.all(_HORIZON) if _counts(row, older_than_s)]


def _counts(row: Row, older_than_s: float) -> bool:
    kind, age_s, behind = row[0], row[3], row[5]
    if age_s is None:
        return bool(kind == "idle slot" or behind >= FAR)
    return bool(age_s >= older_than_s)


def _laggard(row: Row) -> Laggard:
    kind, name, about, age_s, statement_s, behind = row
    match kind:
        case "session":
            last = "" if statement_s is None else f", its last statement {statement_s:.0f} s ago"
            return Laggard(f"session {name} ({about}{last})", age_s, behind, f"SELECT pg_terminate_backend({name})")
        case "prepared":
            gid = name.replace("'", "''")
            return Laggard(f"prepared transaction {name} of {about}", age_s, behind, f"ROLLBACK PREPARED '{gid}'")
        case "standby":
            remedy = "end the long queries on it, or turn off its hot_standby_feedback"
            return Laggard(f"standby {about or 'without a name'} (walsender {name})", age_s, behind, remedy)
        case _:
            used = "" if kind == "slot" else ", which nobody uses"
            remedy = f"SELECT pg_drop_replication_slot('{name}'), if nobody needs it"
            return Laggard(f"{about} replication slot {name}{used}", age_s, behind, remedy)
