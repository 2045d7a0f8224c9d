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


IN_FLIGHT_S = 60.0
"""After so long without an answer, the first request with an Idempotency-Key is taken for dead."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The Idempotency-Key is the caller's. `begun_at` is when it was first taken, also by one that died.

    It is the same for all who take the key over, so that ids made from it land on the same jobs.
    """

    begun_at: float


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

    async def begin(self, scope: str, key: str, fingerprint: bytes, retention_s: float) -> Taken | Replay:
        """Take an Idempotency-Key, or learn what was there before.

        One in flight for longer than `IN_FLIGHT_S` is given to whoever asks with the same
        `fingerprint`; `retention_s` must be the same in every process of a fleet.
        """
        ...

    async def finish(self, scope: str, key: str, answer: bytes | None) -> None:
        """Keep the answer, or with None let the key go (the request failed, and may be repeated)."""
        ...
