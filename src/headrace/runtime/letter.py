"""A letter: the message that does not fit its task, kept as it came, and what its job says of it.

The job's arguments have one member, which no parameter can be called; an attempt of it reads the letter again.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from headrace.core.message import Message, bounded_headers
from headrace.core.model import Json
from headrace.ports.post import Letter
from headrace.runtime.failures import storable

MEMBER: Final = "headrace.letter"
LETTER_TAG: Final = "letter"
HEAD_CHARS_MAX: Final = 256
KEPT_BYTES: Final = 64 << 10
"""Of a body that is too large to be kept."""
_BEGINS: Final = f'{{"{MEMBER}":'


def letter_of(message: Message, why: str, bytes_max: int) -> tuple[Json, Letter]:
    """What the job says, and what is kept beside it."""
    body = message.body
    why = storable(why)
    place = f"{message.part}:{message.place}" if message.part else message.place
    headers = _storable(bounded_headers(message.headers))
    told: dict[str, Any] = {
        "source": message.source,
        "why": why,
        "place": storable(place) or None,
        "id": None if message.id is None else storable(message.id),
        "key": None if message.key is None else storable(message.key),
        "at": message.at,
        "content_type": None if message.content_type is None else storable(message.content_type),
        "headers": headers,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "head": storable(body[: 4 * HEAD_CHARS_MAX].decode("utf-8", "replace"))[:HEAD_CHARS_MAX],
    }
    kept = body if len(body) <= bytes_max else body[:KEPT_BYTES]
    args = json.dumps({MEMBER: told}, ensure_ascii=False, separators=(",", ":"))
    letter = Letter(
        message.source,
        why,
        told["content_type"],
        json.dumps(headers, ensure_ascii=False, separators=(",", ":")),
        storable(place),
        len(body),
        kept,
    )
    return args, letter


def is_letter(args: Json) -> bool:
    """Whether these arguments stand for a letter."""
    return args.startswith(_BEGINS)


def message_of(args: Json, letter: Letter) -> Message:
    """The message as it came, as far as it was kept."""
    told: Mapping[str, Any] = json.loads(args)[MEMBER]
    return Message(
        letter.source,
        letter.place,
        id=told.get("id"),
        key=told.get("key"),
        headers=json.loads(letter.headers),
        content_type=letter.content_type,
        at=told.get("at"),
        body=letter.body,
    )


def _storable(headers: Mapping[str, str]) -> dict[str, str]:
    return {storable(name): storable(value) for name, value in headers.items()}
