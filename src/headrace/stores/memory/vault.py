"""The vault of the memory store."""

import threading
from collections.abc import Callable
from dataclasses import replace

from headrace.ports.vault import ApiKey, Replay


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

    async def begin(self, scope: str, key: str, fingerprint: bytes, retention_s: float) -> Replay | None:
        """Take an Idempotency-Key; None: it is ours now, else what was there before."""
        with self._lock:
            now = self._wall()
            known = self._replays.get((scope, key))
            if known is not None and now < known[1]:
                return known[0]
            self._replays[scope, key] = (Replay(fingerprint, None), now + retention_s)
            return None

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
