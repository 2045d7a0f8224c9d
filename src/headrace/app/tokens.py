"""Signed tokens: scoped to job ids for browsers, and the session cookie's content.

HS256 under a secret that is made in the store, or given. Invariant: what this module did not sign
with a secret that is still accepted, or what has expired, grants nothing.
"""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

import jwt
from pydantic import BaseModel, ConfigDict

from headrace.core.errors import InvalidConfig, UsageError
from headrace.core.ids import as_uuid
from headrace.core.model import JobId
from headrace.ports.vault import Vault
from headrace.settings import SECRET_BYTES_MIN, Settings

# Their types name the keys of a package that is not installed.
_encode: Callable[..., str] = vars(jwt)["encode"]
_decode: Callable[..., dict[str, object]] = vars(jwt)["decode"]

ALGORITHM: Final = "HS256"
SECRET_NAME: Final = "signing"  # noqa: S105 - its name, not its value
JOBS_MAX: Final = 100
SCOPES: Final = frozenset({"read", "enqueue", "operate"})


class BadToken(UsageError):
    """A token that was not signed here, or is malformed."""

    code = "unauthorized"


class ExpiredToken(BadToken):
    """A token that was valid once."""

    code = "token-expired"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token grants, until the wall-clock instant `expires_at`."""

    subject: str  # job | session
    scopes: frozenset[str]
    jobs: frozenset[JobId]
    expires_at: float
    name: str = ""  # of the key or user behind a session


class _Raw(BaseModel):
    """The claims inside a token, checked."""

    model_config = ConfigDict(strict=False, extra="ignore")

    sub: Literal["job", "session"]
    scope: list[Literal["read", "enqueue", "operate"]]
    exp: int
    jobs: list[UUID] = []
    name: str = ""


class Signer:
    """Signs with the first secret and accepts them all."""

    def __init__(self, secrets_accepted: Iterable[bytes], wall: Callable[[], float], ttl_s: float) -> None:
        """`ttl_s` is the life of a job token that does not say."""
        self._secrets = tuple(secrets_accepted)
        self._wall = wall
        self._ttl_s = ttl_s

    def for_jobs(self, jobs: Iterable[JobId], *, ttl_s: float | None = None, operate: bool = False) -> str:
        """A token for these jobs: to read them, and with `operate` to cancel and retry them.

        Raises:
            UsageError: no job, or too many.
        """
        ids = [str(as_uuid(job)) for job in jobs]
        if not 0 < len(ids) <= JOBS_MAX:
            raise UsageError(f"a token is for 1 to {JOBS_MAX} jobs, not {len(ids)}")
        scopes = ["read", "operate"] if operate else ["read"]
        return self._sign({"sub": "job", "jobs": ids, "scope": scopes}, self._ttl_s if ttl_s is None else ttl_s)

    def for_session(self, scopes: Iterable[str], name: str, ttl_s: float) -> str:
        """The content of a session cookie."""
        return self._sign({"sub": "session", "scope": sorted(scopes), "name": name}, ttl_s)

    def verify(self, token: str) -> Claims:
        """What the token grants.

        Raises:
            ExpiredToken: get a new one.
            BadToken: it is none of ours.
        """
        for secret in self._secrets:
            try:
                # The clock is ours, so that it can be moved: the library's own look at `exp` is off.
                options = {"verify_exp": False, "verify_iat": False, "require": ["exp", "sub"]}
                return self._read(_decode(token, secret, algorithms=[ALGORITHM], options=options))
            except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
                continue
        raise BadToken("this token was not signed here")

    def _sign(self, claims: dict[str, object], ttl_s: float) -> str:
        now_at = self._wall()
        return _encode({**claims, "iat": int(now_at), "exp": int(now_at + ttl_s)}, self._secrets[0], ALGORITHM)

    def _read(self, claims: dict[str, object]) -> Claims:
        raw = _Raw.model_validate(claims)
        if self._wall() >= raw.exp:
            raise ExpiredToken("the token has expired")
        jobs = frozenset(job.bytes for job in raw.jobs)
        return Claims(raw.sub, frozenset(raw.scope), jobs, float(raw.exp), raw.name)


async def load_signer(vault: Vault, settings: Settings, wall: Callable[[], float]) -> Signer:
    """The signer of this store, or of the secrets that the settings name.

    `secret` may hold two, separated by a comma: the first signs, the second is still accepted.

    Raises:
        InvalidConfig: a secret that is too short.
    """
    given = [secret.get_secret_value() for secret in (settings.secret, settings.secret_previous) if secret is not None]
    accepted = [part.strip().encode() for secret in given for part in secret.split(",")]
    if any(len(part) < SECRET_BYTES_MIN for part in accepted):
        raise InvalidConfig(f"HEADRACE_SECRET: each secret needs at least {SECRET_BYTES_MIN} characters")
    if not accepted:
        accepted = [await vault.secret(SECRET_NAME, secrets.token_bytes(SECRET_BYTES_MIN))]
    return Signer(accepted, wall, settings.token_ttl_s)
