"""`Idempotency-Key`: the first answer is kept for a day and replayed, byte for byte.

Source: draft-ietf-httpapi-idempotency-key-header-07; the header is a string, quoted or bare.
"""

import hashlib
import os
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request

from headrace.app import Headrace
from headrace.core.errors import StoreUnavailable
from headrace.core.ids import IdMaker
from headrace.core.model import JobId
from headrace.ports.vault import Taken
from headrace.web.problems import Refused

KEY_CHARS_MAX: Final = 255


class JobIds:
    """Ids for the jobs of one request; `Taken` makes them the same in whoever does it again.

    So a request that died between its enqueue and its answer is done again without doubling a job.
    """

    def __init__(self, maker: IdMaker, now_at: float, seed: bytes | None = None) -> None:
        """Random without a `seed`."""
        self._maker = maker
        self._now_at = now_at
        self._seed = seed
        self._count = 0

    def make(self) -> JobId:
        """The next one."""
        self._count += 1
        if self._seed is None:
            return self._maker.make(self._now_at, os.urandom(8))
        return self._maker.make(self._now_at, hashlib.sha256(self._seed + self._count.to_bytes(4)).digest()[:8])


class Idempotency:
    """Keeps answers beside the jobs, per credential."""

    def __init__(self, hr: Headrace) -> None:
        """Nothing is kept for requests without a key."""
        self._hr = hr

    async def once(
        self, scope: str, header: str | None, request: Request, work: Callable[[JobIds], Awaitable[bytes]]
    ) -> bytes:
        """The answer of `work`, or of the first request with this key.

        Raises:
            Refused: the key is malformed, in flight, or was used with another request.
        """
        if header is None:
            return await work(JobIds(self._hr.ids, self._hr.clock.wall()))
        key = _key(header)
        vault = self._hr.vault
        body = await request.body()
        fingerprint = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + body).digest()
        known = await vault.begin(scope, key, fingerprint, self._hr.settings.idempotency_retention_s)
        if isinstance(known, Taken):
            # A maker of its own: its ids depend on nothing that happened in this process.
            seed = f"{scope}\n{key}\n".encode() + fingerprint
            return await self._first(scope, key, work, JobIds(IdMaker(), round(known.begun_at, 3), seed))
        if known.fingerprint != fingerprint:
            raise Refused("idempotency-mismatch", "this key came with another request before; use a new one")
        if known.answer is None:
            headers = {"Retry-After": "1"}
            raise Refused("idempotency-in-flight", "the first request is not answered yet; try again", headers=headers)
        return known.answer

    async def _first(self, scope: str, key: str, work: Callable[[JobIds], Awaitable[bytes]], ids: JobIds) -> bytes:
        try:
            answer = await work(ids)
        except StoreUnavailable:
            raise  # it may have landed; the same ids find it when the key is taken over
        except Exception:
            await self._hr.vault.finish(scope, key, None)
            raise
        await self._hr.vault.finish(scope, key, answer)
        return answer


def _key(header: str) -> str:
    text = header.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if not 0 < len(text) <= KEY_CHARS_MAX or not text.isascii() or not text.isprintable():
        raise Refused("invalid-idempotency-key", f"the key has 1 to {KEY_CHARS_MAX} printable ASCII characters")
    return text
