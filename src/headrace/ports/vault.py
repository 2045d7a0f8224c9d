"""What the HTTP side keeps in the store: secrets, API keys, idempotency records."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as kept: never the key itself, only its SHA-256."""

    id: str
    name: str
    digest: bytes
    scopes: tuple[str, ...]  # read, enqueue, operate
    created_at: float
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What is known of an Idempotency-Key: `answer` is None while its first request is in flight."""

    fingerprint: bytes
    answer: bytes | None


class Vault(Protocol):
    """Kept beside the jobs, so that every API process of a fleet agrees."""

    async def secret(self, name: str, candidate: bytes) -> bytes:
        """The secret of this name; the first caller's `candidate` becomes it."""
        ...

    async def add_api_key(self, key: ApiKey) -> None:
        """Keep a key."""
        ...

    async def api_keys(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        ...

    async def revoke_api_key(self, key_id: str) -> bool:
        """Revoke; False: there is no such key."""
        ...

    async def begin(self, scope: str, key: str, fingerprint: bytes, retention_s: float) -> Replay | None:
        """Take an Idempotency-Key; None: it is ours now, else what was there before."""
        ...

    async def finish(self, scope: str, key: str, answer: bytes | None) -> None:
        """Keep the answer, or with None let the key go (the request failed, and may be repeated)."""
        ...
