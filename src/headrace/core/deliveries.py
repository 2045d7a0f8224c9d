"""What is posted to a webhook, and what an answer to it means.

Invariant: an event has one id for one webhook, whatever attempt or replay sends it; what is signed is what is kept.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from headrace.core.addresses import AddressPolicy
from headrace.core.breaker import Breaker
from headrace.core.classify import FAILURE_STATUSES
from headrace.core.cloudevents import STRUCTURED
from headrace.core.cloudevents_json import document
from headrace.core.errors import InvalidConfig, InvalidEvent
from headrace.core.event import JSON_TYPE, CloudEvent
from headrace.core.retry import Retry

HOUR_S: Final = 3600.0
SCHEDULE: Final = Retry(
    schedule=(5.0, 300.0, 1800.0, *(hours * HOUR_S for hours in (2, 5, 10, 14, 20, 24))), jitter=0.2
)
"""Standard Webhooks' own schedule: ten attempts in about three days."""

BREAKER: Final = Breaker(
    minimum_number_of_calls=10,
    sliding_window_size=50,
    wait_duration_in_open_state=30.0,
    permitted_number_of_calls_in_half_open_state=3,
)
"""For somebody else's endpoint, which is called now and then."""

NAME: Final = "webhook:"
"""How the task and the upstream of a webhook begin."""
QUEUE: Final = "webhooks"
EXCERPT_CHARS_MAX: Final = 300
TYPES_MAX: Final = 1_000
_TYPE: Final = re.compile(r"[!-~]{1,200}")
_HEADER: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_HOST: Final = re.compile(r"(?=.{1,253}$)(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
_URL: Final = re.compile(r"[!-~]{1,4096}")  # what is not ASCII is encoded, as browsers show it when they copy


class Meaning(StrEnum):
    """What an answer says of a delivery."""

    DELIVERED = "delivered"
    GONE = "gone"  # the endpoint wants no more, of anything
    REFUSED = "refused"  # this event, for now; the endpoint works
    FAILING = "failing"  # the endpoint does not


def meaning(status: int) -> Meaning:
    """What an HTTP status means; what is not 2xx has not arrived, and a redirect is never followed."""
    if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110: successful
        return Meaning.DELIVERED
    if status == HTTPStatus.GONE:
        return Meaning.GONE
    return Meaning.FAILING if status in FAILURE_STATUSES else Meaning.REFUSED


def told(status: int, excerpt: str) -> str:
    """An answer in words, for a person who looks at the job."""
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    redirect = "; redirects are not followed: give the URL that it leads to" if 300 <= status < 400 else ""  # noqa: PLR2004
    shown = " ".join(excerpt.split())[:EXCERPT_CHARS_MAX]
    return f"it answered {status}{phrase}{redirect}" + (f": {shown}" if shown else "")


# --- what is posted ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payload:
    """One event as one webhook gets it."""

    id: str
    type: str | None
    content_type: str
    body: str = field(repr=False)


def payload_of(event_id: str, event: CloudEvent) -> Payload:
    """A CloudEvent as one JSON document, whatever its data is.

    Raises:
        InvalidEvent: its data is not the JSON that its media type says.
    """
    return Payload(event_id, event.type, STRUCTURED, document(event))


def plain_payload(event_id: str, content_type: str | None, body: bytes) -> Payload:
    """What is no CloudEvent, as it is.

    Raises:
        InvalidEvent: it is not text, which the arguments of a job are; or what it is said to be, no header can say.
    """
    if content_type is not None and _HEADER.fullmatch(content_type) is None:
        raise InvalidEvent("datacontenttype", "is no media type: write one as application/json")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidEvent("data", "is not UTF-8: publish bytes to a webhook within a CloudEvent, with type=") from None
    return Payload(event_id, None, content_type or JSON_TYPE, text)


# --- what an endpoint is defined by ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Types:
    """Which events a webhook gets: all, or those of these types, where `order.*` is every type that begins so."""

    names: frozenset[str] | None = None

    @classmethod
    def of(cls, given: Iterable[str] | None, what: str) -> "Types":
        """As the user wrote it.

        Raises:
            InvalidConfig: what cannot be a type.
        """
        if given is None:
            return cls()
        names = [given] if isinstance(given, str) else list(given)
        for each in names:
            if not _is_type(each):
                raise InvalidConfig(
                    f"{what}: types are texts as order.paid, or order.* for all that begin so, not {each!r}"
                )
        if not 0 < len(names) <= TYPES_MAX:
            raise InvalidConfig(f"{what}: types lists 1 to {TYPES_MAX} of them; leave it out for every event")
        return cls(frozenset(names))

    def wants(self, event_type: str | None) -> bool:
        """Whether events of this type are posted; one without a type only where all are."""
        if self.names is None:
            return True
        if event_type is None:
            return False
        starts = (event_type[: at + 1] + "*" for at, sign in enumerate(event_type) if sign == ".")
        return event_type in self.names or any(each in self.names for each in starts)


def _is_type(name: object) -> bool:
    return isinstance(name, str) and _TYPE.fullmatch(name) is not None


def check_url(what: str, url: str, policy: AddressPolicy, *, insecure: bool) -> str:
    """The URL of an endpoint, and where it is, to be shown: the rest of it may be a secret.

    Raises:
        InvalidConfig: what cannot be called, or must not; the message does not show it.
    """
    try:
        parts = urlsplit(url) if _URL.fullmatch(url) else None
        port = None if parts is None else parts.port
    except (ValueError, TypeError):
        parts, port = None, None
    host = "" if parts is None else parts.hostname or ""
    if parts is None or port == 0 or ("[" not in parts.netloc and _HOST.fullmatch(host) is None):
        raise InvalidConfig(f"{what}: write its URL as https://example.com/hooks, in ASCII and without spaces")
    if parts.scheme != "https" and not (insecure and parts.scheme == "http"):
        raise InvalidConfig(
            f"{what}: its URL begins with https://"
            + ("" if parts.scheme != "http" else "; insecure=True allows http, where anybody on the way can read it")
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidConfig(f"{what}: its URL has a user name: sign instead, which every delivery is")
    if parts.fragment:
        raise InvalidConfig(f"{what}: its URL has a fragment, which is never sent: leave out what begins with #")
    if "[" in parts.netloc or host.replace(".", "").isdigit():
        _check_address(what, host, policy)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")


def _check_address(what: str, host: str, policy: AddressPolicy) -> None:
    try:
        ip_address(host)
    except ValueError:
        raise InvalidConfig(f"{what}: {host} is no IP address: write it in full") from None
    why = policy.why_not(host)
    if why is not None:
        raise InvalidConfig(f"{what}: {why}; allow=({host!r},) allows it")
