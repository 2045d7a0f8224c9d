"""The URLs that name a broker: what they say, and what of it may be shown.

Invariant: neither what is shown nor any error has the password, however the URL was written.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from headrace.core.errors import InvalidConfig

EXAMPLES: Final = "redis://host, nats://host, amqp://user:password@host/vhost or kafka://host:9092"
_KINDS: Final = {
    "redis": ("redis", 6379, False),
    "rediss": ("redis", 6379, True),
    "nats": ("nats", 4222, False),
    "tls": ("nats", 4222, True),
    "amqp": ("rabbitmq", 5672, False),
    "amqps": ("rabbitmq", 5671, True),
    "kafka": ("kafka", 9092, False),
    "kafkas": ("kafka", 9092, True),
}
_MANY: Final = frozenset({"nats", "kafka"})  # may name several servers of one cluster
_URL: Final = re.compile(
    r"(?P<scheme>[a-z]+)://(?:(?P<user>[^@:/?#]*)(?::(?P<password>[^@/?#]*))?@)?"
    r"(?P<hosts>[^@/?#]+)(?:/(?P<path>[^@?#]*))?(?:\?(?P<query>[^@#]*))?"
)
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(?P<port>\d{1,5}))?", re.ASCII)
_PORT_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, and as whom."""

    kind: str
    shown: str
    """The URL without its password and its options."""
    url: str = field(repr=False)
    hosts: tuple[tuple[str, int], ...] = field(repr=False)
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: bool = field(default=False, repr=False)
    options: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @property
    def servers(self) -> list[str]:
        """Each as `host:port`."""
        return [f"{host}:{port}" for host, port in self.hosts]


def scheme_of(url: str) -> str:
    """What kind of URL it is; empty: it is none."""
    scheme, found, _ = url.partition("://")
    return scheme if found and scheme.isalpha() else ""


def broker(url: str, what: str, kind: str | None = None) -> Broker:
    """What a URL says of a broker; with a `kind`, one of that (of Kafka also its servers alone: `host:9092,host:9092`).

    Raises:
        InvalidConfig: it cannot work; the message begins with `what` it is.
    """
    if kind == "kafka" and "://" not in url:
        url = f"kafka://{url}"
    scheme = scheme_of(url)
    if scheme not in _KINDS:
        raise InvalidConfig(f"{what} {scheme or '…'}://… is no broker that there is: use {EXAMPLES}")
    found, port, tls = _KINDS[scheme]
    if kind not in {None, found}:
        raise InvalidConfig(f"{what} {scheme}://… is {found}, not {kind}: write {_begins(kind)}")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise InvalidConfig(
            f"{what} {scheme}://… is no URL of a broker: percent-encode user and password (@ is %40, : is %3A, / is"
            f" %2F, ? is %3F, # is %23), as in {EXAMPLES}"
        )
    user = "" if parts["user"] is None else f"{parts['user']}{'' if parts['password'] is None else ':…'}@"
    shown = f"{scheme}://{user}{parts['hosts']}{'' if not parts['path'] else '/' + parts['path']}"
    hosts = [_host(text, port) for text in parts["hosts"].split(",")]
    if None in hosts or (len(hosts) > 1 and found not in _MANY):
        raise InvalidConfig(f"{what} {shown} has a host or a port that cannot be: write {scheme}://host:{port}")
    return Broker(
        found,
        shown,
        url,
        tuple(host for host in hosts if host is not None),
        _plain(parts["user"]),
        _plain(parts["password"]),
        tls,
        dict(parse_qsl(parts["query"] or "")),
    )


def _begins(kind: str | None) -> str:
    return " or ".join(f"{scheme}://…" for scheme, known in _KINDS.items() if known[0] == kind)


def _host(text: str, port: int) -> tuple[str, int] | None:
    parts = _HOST.fullmatch(text)
    if parts is None:
        return None
    number = int(parts["port"] or port)
    return (parts["host"], number) if 1 <= number <= _PORT_MAX else None


def _plain(text: str | None) -> str | None:
    return unquote(text) if text else None
