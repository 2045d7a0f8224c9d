"""API keys: made here, shown once, known to the store only by their SHA-256."""

import hashlib
import secrets
from typing import Final

from headrace.app.headrace import Headrace
from headrace.app.options import check_name
from headrace.ports.vault import ApiKey

PREFIX: Final = "hr_"
NAME_CHARS_MAX: Final = 100
ID_BYTES: Final = 5
SECRET_BYTES: Final = 32


async def make_key(hr: Headrace, name: str, scopes: tuple[str, ...]) -> tuple[ApiKey, str]:
    """A new key with these scopes, kept; and its text, which nothing can show again."""
    await hr.open()
    key_id = secrets.token_hex(ID_BYTES)
    text = f"{PREFIX}{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    key = ApiKey(key_id, check_name("a key's name", name, NAME_CHARS_MAX), digest_of(text), scopes, hr.clock.wall())
    await hr.vault.add_api_key(key)
    return key, text


def digest_of(text: str) -> bytes:
    """What the store keeps of a key."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
