"""The vault of the memory store."""

import threading
from collections.abc import Callable
from dataclasses import replace

from headrace.ports.vault import IN_FLIGHT_S, ApiKey, Replay, Taken


class MemoryVault:
    """Secrets, API keys and idempotency records, in dictionaries under the store's lock."""

    def __init__(self, wall: Callable[[], float]) -> None:
        """`wall` tells seconds since the epoch."""
        self._wall = wall
        self._lock = threading.Lock()
        self._secrets: dict[str, bytes] = {}
        self._api_keys: dict[str, ApiKey] = {}
        self._replays: dict[tuple[str, str], tuple[Replay, float]] = {}

    async def secret(self, name: str, candidate: bytes) -> bytes:
        """The secret of this name; the first caller's `candidate` becomes it."""
        with self._lock:
            return self._secrets.setdefault(name, candidate)

    async def add_api_key(self, key: ApiKey) -> None:
        """Keep a key."""
        with self._lock:
            self._api_keys[key.id] = key

    async def api_keys(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        with self._lock:
            return sorted(self._api_keys.values(), key=lambda key: (key.created_at, key.id))

    async def revoke_api_key(self, key_id: str) -> bool:
        """Revoke; False: there is no such key."""
        with self._lock:
            key = self._api_keys.get(key_id)
            if key is None:
                return False
            if key.revoked_at is None:
                self._api_keys[key_id] = replace(key, revoked_at=self._wall())
            return True

    async def begin(self, scope: str, key: str, fingerprint: bytes, retention_s: float) -> Taken | Replay:
        """Take an Idempotency-Key, or learn what was there before."""
        with self._lock:
            now = self._wall()
            known = self._replays.get((scope, key))
            if known is None or now >= known[1]:
                self._replays[scope, key] = (Replay(fingerprint, None), now + retention_s)
                return Taken(now)
            replay, expires_at = known
            begun_at = expires_at - retention_s
            dead = replay.answer is None and now - begun_at >= IN_FLIGHT_S
            return Taken(begun_at) if dead and replay.fingerprint == fingerprint else replay

    async def finish(self, scope: str, key: str, answer: bytes | None) -> None:
        """Keep the answer, or with None let the key go."""
        with self._lock:
            known = self._replays.get((scope, key))
            if known is None:
                return
            if answer is None:
                del self._replays[scope, key]
            else:
                self._replays[scope, key] = (replace(known[0], answer=answer), known[1])

    def _prune_replays(self, now: float, limit: int) -> int:
        old = [name for name, (_, expires_at) in self._replays.items() if expires_at <= now][:limit]
        for name in old:
            del self._replays[name]
        return len(old)
