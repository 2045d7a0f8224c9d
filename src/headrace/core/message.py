"""What brokers carry: one message, and the batches in which a source takes them.

Invariant: a batch has its messages in the order of the broker, and its marks say where each part stands after them; so
a batch can be cut and joined, and each piece still says the truth.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

HEADERS_MAX: Final = 64
HEADER_BYTES_MAX: Final = 8 * 1024
UTF_8_BYTES_MAX: Final = 4  # of one character
_CUT: Final = "…"
_MS_MAX: Final = 2**63 - 1


@dataclass(slots=True, unsafe_hash=True)  # not frozen: each message is one, and a frozen one takes 20 times as long
class Message:
    """One message of a broker, as a task or a `decode=` sees it. It is never changed.

    `source` is the name of the `hr.on` that took it, as `kafka:orders:payments`; `part` and `place` say where it is at
    the broker: Kafka's partition and offset, the sequence of NATS, the entry id of Redis. `id` is what makes it the
    same message when it comes again; None: nothing does. `key` is Kafka's key, the routing key of RabbitMQ, the subject
    of NATS. `at` is when it was sent, in seconds since the epoch, as far as the broker knows. `event` has the
    attributes of a CloudEvent as text. A task that asks for its message gets one without a body: that is in its
    arguments.
    """

    source: str
    place: str = ""
    part: str = ""
    id: str | None = None
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    content_type: str | None = None
    at: float | None = None
    event: Mapping[str, str] | None = field(default=None, hash=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far a source has read one part: `next` is the first place that it has not; `at_ms` of the one before."""

    next: int
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A bookmark to be moved from `known` (None: there was none) to `next`."""

    known: int | None
    next: int
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that a source fetched together.

    `receipts` are what it needs to acknowledge each, and nobody else's business. `known` says where the bookmark of
    each part stood before the batch; it is empty at brokers that count for us, and for parts whose places are none.
    """

    messages: tuple[Message, ...] = ()
    receipts: tuple[object, ...] = field(default=(), repr=False, hash=False)
    known: Mapping[str, int | None] = field(default_factory=dict[str, int | None], hash=False)

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def body_bytes(self) -> int:
        """The bytes of all bodies."""
        return sum(len(message.body) for message in self.messages)

    @property
    def marks(self) -> dict[str, Mark]:
        """How the bookmarks move when the batch is taken."""
        last = {message.part: message for message in self.messages if message.part in self.known}
        return {
            part: Mark(self.known[part], int(message.place) + 1, ms_of(message.at)) for part, message in last.items()
        }

    def split(self, count: int) -> "tuple[Batch, Batch]":
        """The first `count` messages, and the others."""
        head = replace(self, messages=self.messages[:count], receipts=self.receipts[:count])
        known = {**self.known, **{part: mark.next for part, mark in head.marks.items()}}
        return head, Batch(self.messages[count:], self.receipts[count:], known)

    def join(self, later: "Batch") -> "Batch":
        """With a batch that was fetched after it."""
        return Batch(self.messages + later.messages, self.receipts + later.receipts, {**later.known, **self.known})

    def without(self, parts: "frozenset[str]") -> "Batch":
        """Without the messages of some parts."""
        kept = [at for at, message in enumerate(self.messages) if message.part not in parts]
        return Batch(
            tuple(self.messages[at] for at in kept),
            tuple(self.receipts[at] for at in kept) if self.receipts else (),
            {part: place for part, place in self.known.items() if part not in parts},
        )


def digest_of(identity: str) -> bytes:
    """What is remembered of a message's id: 16 bytes."""
    return blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def bounded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The first headers, as many as are kept with a message: 64, and 8 KiB of names and values; the last may be cut."""
    characters = sum(map(len, headers)) + sum(map(len, headers.values()))
    if len(headers) <= HEADERS_MAX and characters * UTF_8_BYTES_MAX <= HEADER_BYTES_MAX:
        return dict(headers)
    kept: dict[str, str] = {}
    room = HEADER_BYTES_MAX
    for name, value in headers.items():
        taken = len(name.encode("utf-8", "surrogatepass"))
        if len(kept) >= HEADERS_MAX or taken > room:
            break
        room -= taken
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > room:
            kept[name] = value.encode("utf-8", "surrogatepass")[:room].decode("utf-8", "ignore") + _CUT
            break
        kept[name] = value
        room -= size
    return kept


def ms_of(at: float | None) -> int | None:
    """An instant of a message as a bookmark keeps it: what a 64-bit integer can say, as exact as a float is."""
    return None if at is None else max(-_MS_MAX, min(round(at * 1000), _MS_MAX))
