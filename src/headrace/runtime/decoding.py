"""Messages of one source into jobs of its task; what cannot be read becomes a letter, and never an error.

Source: docs/adr/0022-sources.md.
"""

import logging
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from headrace.core.cloudevents import KAFKA, NATS, RABBITMQ, REDIS, Prefixes, parse
from headrace.core.errors import HeadraceError, InvalidEvent
from headrace.core.event import CloudEvent, canonical, is_json
from headrace.core.ids import IdMaker
from headrace.core.message import Message, digest_of
from headrace.core.model import JobId, Json, NewJob
from headrace.ports.post import Arrival
from headrace.runtime.letter import LETTER_TAG, letter_of
from headrace.runtime.payload import Mode, Payload, Unreadable
from headrace.runtime.registry import TaskDef

logger = logging.getLogger(__name__)

Decode: TypeAlias = Callable[[Message], Any]
"""What a user gives to read bodies that are neither JSON nor text."""

PREFIXES: Final[Mapping[str, Prefixes]] = {"kafka": KAFKA, "rabbitmq": RABBITMQ, "nats": NATS, "redis": REDIS}
PLAIN: Final = frozenset({None, "application/json"})
NOISE_BYTES: Final = 8
_TRACE: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]{0,200})?"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """How the messages of one source are read."""

    source: str
    kind: str
    decode: Decode | None = None
    dedup: bool = True
    priority: int | None = None
    message_bytes_max: int = 1 << 20
    letter_bytes_max: int = 64 << 20


class Decoder:
    """One per source."""

    __slots__ = ("_ids", "_payload", "_prefixes", "_priority", "_promises", "_signature", "_task", "_terms", "_wall")

    def __init__(
        self,
        task: TaskDef,
        terms: Terms,
        ids: IdMaker,
        wall: Callable[[], float],
        promises: Callable[[str], tuple[str, ...]] = lambda _: (),
    ) -> None:
        """`ids` makes those of the jobs, at instants of `wall`; `promises` are those of a task's jobs.

        Raises:
            InvalidConfig: the task's parameters leave open what of a message is theirs.
        """
        self._task = task
        self._terms = terms
        self._ids = ids
        self._wall = wall
        self._promises = promises
        self._payload = Payload(task)
        self._prefixes = PREFIXES.get(terms.kind, KAFKA)
        self._priority = task.priority if terms.priority is None else terms.priority
        self._signature = task.signature

    @property
    def dedup(self) -> bool:
        """Whether a message's id is looked at."""
        return self._terms.dedup

    @property
    def task(self) -> TaskDef:
        """What its messages are for."""
        return self._task

    @property
    def priority(self) -> int:
        """Of its jobs."""
        return self._priority

    def arrivals(
        self, messages: Sequence[Message], known: Collection[str] = (), *, raw: str | None = None
    ) -> list[Arrival]:
        """The jobs that messages become, in order; with `raw`, letters all of them, and why.

        Those of `known` parts are counted by bookmarks, and need no digest.
        """
        now_at = self._wall()
        noise = os.urandom(NOISE_BYTES * len(messages))
        make = self._ids.make
        one = self._arrival if raw is None else self._raw
        return [
            one(message, make(now_at, noise[at : at + NOISE_BYTES]), known, raw or "")
            for message, at in zip(messages, range(0, len(noise), NOISE_BYTES), strict=True)
        ]

    def read(self, message: Message) -> Json:
        """The arguments of one message, as text.

        Raises:
            Unreadable: it does not fit.
        """
        return self._read(message, self._event(message))[0]

    # -- one message ------------------------------------------------------------------------------

    def _arrival(self, message: Message, job: JobId, known: Collection[str], _: str) -> Arrival:
        event: CloudEvent | None = None
        try:
            event = self._event(message)
            args, values = self._read(message, event)
            lane = self._task.lane_key_of(values, self._key(message, event) if self._task.by_message else None)
        except Unreadable as error:
            return self._letter(message, event, job, known, str(error))
        except HeadraceError as error:  # of the key of its lane
            return self._letter(message, event, job, known, str(error))
        except Exception as error:  # a validator of the user's, or a key's function
            logger.exception("%s: a message could not be read", self._terms.source)
            return self._letter(message, event, job, known, f"reading it raised {type(error).__name__}: {error}")
        trace = self._trace(message, event) if message.headers or event is not None else None
        return Arrival(self._job(job, args, lane, (), trace), self._digest(message, event, known))

    def _raw(self, message: Message, job: JobId, known: Collection[str], why: str) -> Arrival:
        try:
            event = self._event(message)
        except Unreadable:
            event = None
        arrival = self._letter(message, event, job, known, why)
        arrival.job.traceparent = None  # what the store refuses may be in it
        return arrival

    def _letter(
        self, message: Message, event: CloudEvent | None, job: JobId, known: Collection[str], why: str
    ) -> Arrival:
        args, letter = letter_of(message, why, self._terms.letter_bytes_max)
        lane = self._task.lane_of(self._key(message, event)) if self._task.by_message else ""
        made = self._job(job, args, lane, (LETTER_TAG,), self._trace(message, event))
        return Arrival(made, self._digest(message, event, known), letter)

    def _job(self, job: JobId, args: Json, lane: str, tags: tuple[str, ...], trace: str | None) -> NewJob:
        task = self._task
        return NewJob(
            job,
            task.name,
            task.queue,
            args,
            self._priority,
            0.0,
            None,
            task.timeout_s,
            None,
            None,
            task.retry.max_attempts,
            None,
            "",
            lane,
            tags,
            self._signature,
            trace,
            fresh=True,
            promises=self._promises(task.name),
        )

    def _digest(self, message: Message, event: CloudEvent | None, known: Collection[str]) -> bytes | None:
        """What makes it the same message when it comes again; None where nothing does, or nobody asks."""
        if message.part in known or not self._terms.dedup:
            return None
        if event is not None:
            return digest_of(f"{event.source}\n{event.id}")
        return None if message.id is None else digest_of(message.id)

    @staticmethod
    def _key(message: Message, event: CloudEvent | None) -> str:
        """The key of the message, by which its task may be ordered."""
        given = None if event is None else event.extensions.get("partitionkey")
        return (message.key or "") if given is None else canonical(given)

    @staticmethod
    def _trace(message: Message, event: CloudEvent | None) -> str | None:
        found = message.headers.get("traceparent")
        if found is None and event is not None:
            extension = event.extensions.get("traceparent")
            found = None if extension is None else canonical(extension)
        if found is None:
            found = next((value for name, value in message.headers.items() if name.lower() == "traceparent"), None)
        return found if found is not None and _TRACE.fullmatch(found) else None

    # -- what it says -----------------------------------------------------------------------------

    def _event(self, message: Message) -> CloudEvent | None:
        """The CloudEvent that it is; None: it is none.

        Raises:
            Unreadable: it says that it is one, and is not.
        """
        content_type = message.content_type
        if content_type in PLAIN and not (content_type is None and self._prefixes.bare):
            # Names of headers that matter begin so, with every broker and in any case.
            if not message.headers or not any(name[:1] in "cC" for name in message.headers):
                return None
        elif len(message.body) > self._terms.message_bytes_max:
            return None  # too large to be looked into, whatever it is
        try:
            return parse(message.headers, message.body, self._prefixes, content_type)
        except InvalidEvent as error:
            raise Unreadable(f"it is no CloudEvent: {error}", error.attribute) from None

    def _read(self, message: Message, event: CloudEvent | None) -> tuple[Json, dict[str, Any]]:
        payload, body, content_type = self._payload, message.body, message.content_type
        if len(body) > self._terms.message_bytes_max:
            most = self._terms.message_bytes_max
            raise Unreadable(f"{len(body):,} bytes, over the limit of {most:,} (HEADRACE_MESSAGE_BYTES_MAX)")
        if event is not None:
            body, content_type = event.data or b"", event.datacontenttype
            message = replace(message, event=_attributes(event))
        if self._terms.decode is not None:
            return self._decoded(self._terms.decode, message, body)
        if payload.mode is Mode.BYTES:
            return payload.of_bytes(body, message)
        if not body:
            return payload.of_nothing(message)
        if payload.mode is Mode.TEXT:
            return payload.of_text(_text(body), message)
        if content_type in PLAIN or is_json(content_type):
            return payload.of_json(body, message)
        if content_type is not None and content_type[:5].lower() == "text/":
            return payload.of_text(_text(body), message)
        raise Unreadable(f"the content type {content_type!a} is not read here: send JSON, or give hr.on(…, decode=…)")

    def _decoded(self, decode: Decode, message: Message, body: bytes) -> tuple[Json, dict[str, Any]]:
        try:
            found = decode(message if body is message.body else replace(message, body=body))
        except Exception as error:  # noqa: BLE001 - the user's own; one message is not to stop the others
            name = getattr(decode, "__name__", "decode")
            raise Unreadable(f"{name} raised {type(error).__name__}: {error}") from None
        return self._payload.of_values(found, message)


def _attributes(event: CloudEvent) -> dict[str, str]:
    return {name: canonical(value) for name, value in event.attributes()}


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"the body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}") from None
