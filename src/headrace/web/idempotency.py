"""`Idempotency-Key`: the first answer is kept for a day and replayed, byte for byte.

Source: draft-ietf-httpapi-idempotency-key-header-07; the header is a string, quoted or bare.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request

from headrace.app import Headrace
from headrace.web.problems import Refused

KEY_CHARS_MAX: Final = 255


class Idempotency:
    """Keeps answers beside the jobs, per credential."""

    def __init__(self, hr: Headrace) -> None:
        """Nothing is kept for requests without a key."""
        self._hr = hr

    async def once(
        self, scope: str, header: str | None, request: Request, work: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """The answer of `work`, or of the first request with this key.

        Raises:
            Refused: the key is malformed, in flight, or was used with another request.
        """
        if header is None:
            return await work()
        key = _key(header)
        vault = self._hr.vault
        body = await request.body()
        fingerprint = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + body).digest()
        known = await vault.begin(scope, key, fingerprint, self._hr.settings.idempotency_retention_s)
        if known is None:
            return await self._first(scope, key, work)
        if known.fingerprint != fingerprint:
            raise Refused("idempotency-mismatch", "this key came with another request before; use a new one")
        if known.answer is None:
            headers = {"Retry-After": "1"}
            raise Refused("idempotency-in-flight", "the first request is not answered yet; try again", headers=headers)
        return known.answer

    async def _first(self, scope: str, key: str, work: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            answer = await work()
        except BaseException:
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
