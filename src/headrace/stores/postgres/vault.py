"""The vault: secrets, API keys, idempotency records, in the same database as the jobs."""

from typing import Final

from headrace.ports.vault import IN_FLIGHT_S, ApiKey, Replay, Taken
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Tx, instant, seconds

_SECRET_PUT: Final = query("secret_put")
_SECRET_GET: Final = query("secret_get")
_KEY_INSERT: Final = query("api_key_insert")
_KEYS: Final = query("api_keys")
_KEY_REVOKE: Final = query("api_key_revoke")
_REPLAY_GET: Final = query("replay_get")
_REPLAY_TAKE: Final = query("replay_take")
_REPLAY_FINISH: Final = query("replay_finish")
_REPLAY_DROP: Final = query("replay_drop")


async def secret(tx: Tx, name: str, candidate: bytes) -> bytes:
    """The secret of this name; the first caller's `candidate` becomes it."""
    await tx.all(_SECRET_PUT, name, candidate)
    row = await tx.one(_SECRET_GET, name)
    return candidate if row is None else bytes(row[0])


async def add_api_key(tx: Tx, key: ApiKey) -> None:
    """Keep a key."""
    revoked_at = None if key.revoked_at is None else instant(key.revoked_at)
    await tx.all(_KEY_INSERT, key.id, key.name, key.digest, list(key.scopes), instant(key.created_at), revoked_at)


async def api_keys(tx: Tx) -> list[ApiKey]:
    """Every key, oldest first."""
    return [
        ApiKey(row[0], row[1], bytes(row[2]), tuple(row[3]), row[4].timestamp(), seconds(row[5]))
        for row in await tx.all(_KEYS)
    ]


async def revoke_api_key(tx: Tx, key_id: str) -> bool:
    """Revoke, once; False: there is no such key."""
    return bool(await tx.all(_KEY_REVOKE, key_id, tx.now))


async def begin(tx: Tx, scope: str, key: str, fingerprint: bytes, retention_s: float) -> Taken | Replay:
    """Take an Idempotency-Key, or learn what was there before."""
    while True:
        taken = await tx.one(_REPLAY_TAKE, scope, key, fingerprint, retention_s, tx.now)
        if taken is not None:
            return Taken(taken[0].timestamp())
        row = await tx.one(_REPLAY_GET, scope, key, tx.now)
        if row is None:
            continue  # let go meanwhile
        replay = Replay(bytes(row[0]), None if row[1] is None else bytes(row[1]))
        dead = replay.answer is None and (row[3] - row[2]).total_seconds() >= IN_FLIGHT_S
        return Taken(row[2].timestamp()) if dead and replay.fingerprint == fingerprint else replay


async def finish(tx: Tx, scope: str, key: str, answer: bytes | None) -> None:
    """Keep the answer, or with None let the key go."""
    if answer is None:
        await tx.all(_REPLAY_DROP, scope, key)
    else:
        await tx.all(_REPLAY_FINISH, scope, key, answer)
