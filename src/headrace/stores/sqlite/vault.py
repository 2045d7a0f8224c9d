"""The vault: secrets, API keys, idempotency records, in the same file as the jobs."""

import json
from typing import Final

from headrace.ports.vault import IN_FLIGHT_S, ApiKey, Replay, Taken
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, Tx

_SECRET_PUT: Final = query("secret_put")
_SECRET_GET: Final = query("secret_get")
_KEY_INSERT: Final = query("api_key_insert")
_KEYS: Final = query("api_keys")
_KEY_REVOKE: Final = query("api_key_revoke")
_REPLAY_GET: Final = query("replay_get")
_REPLAY_TAKE: Final = query("replay_take")
_REPLAY_FINISH: Final = query("replay_finish")
_REPLAY_DROP: Final = query("replay_drop")


def secret(tx: Tx, name: str, candidate: bytes) -> bytes:
    """The secret of this name; the first caller's `candidate` becomes it."""
    tx.run(_SECRET_PUT, (name, candidate))
    row = tx.one(_SECRET_GET, (name,))
    return candidate if row is None else bytes(row[0])


def add_api_key(tx: Tx, key: ApiKey) -> None:
    """Keep a key."""
    revoked_at = None if key.revoked_at is None else int(key.revoked_at * MICRO)
    created_at = int(key.created_at * MICRO)
    tx.run(_KEY_INSERT, (key.id, key.name, key.digest, json.dumps(key.scopes), created_at, revoked_at))


def api_keys(tx: Tx) -> list[ApiKey]:
    """Every key, oldest first."""
    return [
        ApiKey(
            row[0],
            row[1],
            bytes(row[2]),
            tuple(json.loads(row[3])),
            row[4] / MICRO,
            None if row[5] is None else row[5] / MICRO,
        )
        for row in tx.all(_KEYS)
    ]


def revoke_api_key(tx: Tx, key_id: str) -> bool:
    """Revoke, once; False: there is no such key."""
    return bool(tx.run(_KEY_REVOKE, (key_id, tx.now)))


def begin(tx: Tx, scope: str, key: str, fingerprint: bytes, retention_s: float) -> Taken | Replay:
    """Take an Idempotency-Key, or learn what was there before."""
    retention = int(retention_s * MICRO)
    row = tx.one(_REPLAY_GET, (scope, key, tx.now))
    if row is None:
        tx.run(_REPLAY_TAKE, (scope, key, fingerprint, tx.now + retention))
        return Taken(tx.now / MICRO)
    replay = Replay(bytes(row[0]), None if row[1] is None else bytes(row[1]))
    begun = row[2] - retention
    dead = replay.answer is None and tx.now - begun >= IN_FLIGHT_S * MICRO
    return Taken(begun / MICRO) if dead and replay.fingerprint == fingerprint else replay


def finish(tx: Tx, scope: str, key: str, answer: bytes | None) -> None:
    """Keep the answer, or with None let the key go."""
    if answer is None:
        tx.run(_REPLAY_DROP, (scope, key))
    else:
        tx.run(_REPLAY_FINISH, (scope, key, answer))
