"""What a source takes of Kafka, one partition of it, and what an operator is told when that cannot go on."""

from dataclasses import dataclass
from typing import Any, Final

from headrace.bridges.kafka.member import Member
from headrace.clients.kafka import KafkaError, errors
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError, BridgeRefused, BridgeUnavailable


@dataclass(frozen=True, slots=True)
class Taking:
    """What a source takes, and as whom: the member's name is ours for as long as anybody holds this."""

    source: str
    topic: str
    group: str
    start: str
    member: Member


@dataclass(slots=True)
class Part:
    """A partition that is ours.

    `next` is where to go on, and `known` where its bookmark stands, as far as this member knows. `last` is when the
    record before the bookmark was sent; it is read once more, and another in its place means that the topic is another.
    """

    partition: Any
    name: str
    next: int
    known: int | None
    last: int | None = None

    @property
    def place(self) -> int:
        """Where to read."""
        return self.next if self.last is None else self.next - 1


class Says:
    """Why a person must mend it, and how."""

    def __init__(self, broker: Broker, taking: Taking) -> None:
        """Of one source."""
        self._broker: Final = broker
        self._taking: Final = taking

    @property
    def what(self) -> str:
        """The topic."""
        return f"the topic {self._taking.topic} of {self._broker.shown}"

    def missing(self) -> BridgeRefused:
        """There is no such topic."""
        return BridgeRefused(
            f"{self._broker.shown} has no topic {self._taking.topic}, or does not show it to our user: make it"
        )

    def gone(self) -> BridgeRefused:
        """There is none any more."""
        return BridgeRefused(f"{self._broker.shown} has no topic {self._taking.topic} any more: make it there again")

    def deleted(self, part: Part, begin: int) -> BridgeRefused:
        """The partition begins after what is to be read."""
        return BridgeRefused(
            f"partition {part.name} of {self.what} was read up to {part.next} and begins at {begin}: messages were"
            f" deleted unread; {self._reset(part, 'earliest')} goes on with what is there"
        )

    def made_anew(self, part: Part) -> BridgeRefused:
        """What was read last is not there, or is another."""
        return BridgeRefused(
            f"partition {part.name} of {self.what} was read up to {part.next}, and what was read is not there any"
            f" more: the topic was made anew or has lost its end; {self._reset(part, 'earliest')} goes on with what is"
            " there"
        )

    def unreadable(self, part: Part) -> BridgeRefused:
        """The client raises at what is next."""
        return BridgeRefused(
            f"partition {part.name} of {self.what} has at {part.next} a message with a header whose name is not UTF-8,"
            f" which the client cannot read: {self._reset(part, str(part.next + 1))} passes it over"
        )

    def undecoded(self, error: Exception) -> BridgeError | None:
        """The client raises at a batch of what is next; None: it is no such error."""
        what = f"{self.what} has messages that the client cannot read ({type(error).__name__}: {error})"
        if isinstance(error, errors.UnsupportedCodecError):
            return BridgeRefused(f"{what}: pip install 'headrace[kafka]', which reads them however they are compressed")
        if isinstance(error, errors.CorruptRecordException):
            return BridgeRefused(
                f"{what}: they are damaged; `headrace sources reset {self._taking.source} --to PLACE --part PART`"
                " passes over them"
            )
        return None if isinstance(error, KafkaError | OSError) else BridgeUnavailable(what)

    def _reset(self, part: Part, to: str) -> str:
        return f"`headrace sources reset {self._taking.source} --to {to} --part {part.name}`"
