"""The URLs that name a broker: what they say, and what of it may be shown.

Invariant: nothing that is printed or raised here has a password or a token, however the URL was written; where it
cannot be told what in a URL is the secret, only its scheme is shown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from headrace.core.errors import InvalidConfig


class BrokerKind(StrEnum):
    """The brokers that there are."""

    REDIS = "redis"
    NATS = "nats"
    RABBITMQ = "rabbitmq"
    KAFKA = "kafka"


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a URL's scheme stands for."""

    name: str
    kind: BrokerKind
    tls: bool
    port: int

    @property
    def example(self) -> str:
        """A URL that works."""
        return f"{self.name}://{_EXAMPLES[self.kind]}"


SCHEMES: Final[Mapping[str, Scheme]] = {
    scheme.name: scheme
    for scheme in (
        Scheme("redis", BrokerKind.REDIS, tls=False, port=6379),
        Scheme("rediss", BrokerKind.REDIS, tls=True, port=6379),
        Scheme("nats", BrokerKind.NATS, tls=False, port=4222),
        Scheme("tls", BrokerKind.NATS, tls=True, port=4222),
        Scheme("amqp", BrokerKind.RABBITMQ, tls=False, port=5672),
        Scheme("amqps", BrokerKind.RABBITMQ, tls=True, port=5671),
        Scheme("kafka", BrokerKind.KAFKA, tls=False, port=9092),
        Scheme("kafka+ssl", BrokerKind.KAFKA, tls=True, port=9093),
    )
}
TITLES: Final[Mapping[BrokerKind, str]] = {
    BrokerKind.REDIS: "Redis",
    BrokerKind.NATS: "NATS",
    BrokerKind.RABBITMQ: "RabbitMQ",
    BrokerKind.KAFKA: "Kafka",
}
OPTIONS_OF_TLS: Final = ("cafile", "certfile", "keyfile")
MECHANISMS: Final = ("plain", "scram-sha-256", "scram-sha-512")

_EXAMPLES: Final[Mapping[BrokerKind, str]] = {
    BrokerKind.REDIS: "user:password@host:6379/0",
    BrokerKind.NATS: "user:password@host:4222",
    BrokerKind.RABBITMQ: "user:password@host:5672/vhost",
    BrokerKind.KAFKA: "host1:9092,host2:9092",
}
_ALIKE: Final[Mapping[str, str]] = {  # schemes that people try, and the one that is meant
    "rabbitmq": "amqp",
    "rabbitmqs": "amqps",
    "amqp+ssl": "amqps",
    "valkey": "redis",
    "valkeys": "rediss",
    "redis+ssl": "rediss",
    "redis+tls": "rediss",
    "nats+tls": "tls",
    "nats+ssl": "tls",
    "kafkas": "kafka+ssl",
    "kafka+tls": "kafka+ssl",
    "kafka+sasl_ssl": "kafka+ssl",
}
_OWN_OPTIONS: Final[Mapping[BrokerKind, tuple[str, ...]]] = {
    BrokerKind.NATS: ("creds",),
    BrokerKind.KAFKA: ("sasl",),
}
_SEVERAL: Final = frozenset({BrokerKind.NATS, BrokerKind.KAFKA})
_PARTS: Final = re.compile(
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://"
    r"(?:(?P<user>[^@:/?#]*)(?P<secret>:[^@/?#]*)?@)?"
    r"(?P<hosts>[^@/?#]*)(?P<path>/[^@?#]*)?(?:\?(?P<query>[^@#]*))?"
)
_SCHEME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*")
_HOST: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(?P<port>[0-9]{1,5}))?")
_PORT_MAX: Final = 65_535
_HOST_CHARS_MAX: Final = 253
_DATABASE_CHARS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Place:
    """One server of a broker."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, repr=False)
class BrokerUrl:
    """Where a broker is and who we are there.

    `name` is the database of Redis (a number in digits), the virtual host of RabbitMQ, and empty for the others. A
    `token` is what NATS takes in place of user and password.
    """

    scheme: Scheme
    places: tuple[Place, ...]
    name: str = ""
    user: str | None = None
    password: str | None = None
    token: str | None = None
    options: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)

    @classmethod
    def parse(cls, text: str, what: str = "the broker", kind: BrokerKind | None = None) -> "BrokerUrl":
        """Read a URL; with a `kind`, one of that broker (of Kafka also its servers alone: `host:9092,host:9092`).

        Raises:
            InvalidConfig: it cannot work; the message begins with `what` it is, and has no secret.
        """
        if kind is BrokerKind.KAFKA and "://" not in text:
            text = f"kafka://{text}"
        reader = _Reader(text, f"{what} {shown_broker(text)!r}")
        return reader.read(kind)

    @property
    def kind(self) -> BrokerKind:
        """Which broker it is."""
        return self.scheme.kind

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme.tls

    @property
    def where(self) -> str:
        """The servers, as a sentence names them: `host:port`, with commas between several."""
        return ",".join(str(place) for place in self.places)

    @property
    def servers(self) -> tuple[str, ...]:
        """Each server as a URL without a secret."""
        return tuple(f"{self.scheme.name}://{place}" for place in self.places)

    @property
    def client_url(self) -> str:
        """The URL as client libraries take it: with the secret, without options. Never to be shown."""
        who = ""
        if self.token is not None:
            who = f"{quote(self.token, safe='')}@"
        elif self.user is not None:
            who = f"{quote(self.user, safe='')}:{quote(self.password or '', safe='')}@"
        return f"{self.scheme.name}://{who}{self.where}{self._path}"

    def __str__(self) -> str:
        who = "" if self.user is None else f"{quote(self.user, safe='')}:…@"
        return f"{self.scheme.name}://{'…@' if self.token is not None else who}{self.where}{self._path}"

    def __repr__(self) -> str:
        return f"<BrokerUrl {self}>"

    @property
    def _path(self) -> str:
        return f"/{quote(self.name, safe='')}" if self.name else ""


def shown_broker(text: str) -> str:
    """A broker's URL, right or wrong, as it may be printed: without password, token or options.

    A user without a password is not shown either: it may be a token, or a password that lost its colon.
    """
    scheme, found, rest = text.partition("://")
    if not found:
        return "…" if "@" in text or "=" in text else text
    if _SCHEME.fullmatch(scheme) is None:
        return "…"
    return f"{scheme}://" + ",".join(_shown(f"{scheme}://{piece}") for piece in rest.split(f",{scheme}://"))


def _shown(url: str) -> str:
    parts = _PARTS.fullmatch(url)
    if parts is None or (parts["user"] is None and parts["hosts"] and _places(parts["hosts"], 1) is None):
        return "…"
    who = ""
    if parts["user"] is not None:
        who = f"{parts['user']}:…@" if parts["secret"] else "…@"
    return f"{who}{parts['hosts']}{parts['path'] or ''}"


class _Reader:
    """Reads one URL; each refusal begins with what was read."""

    def __init__(self, text: str, shown: str) -> None:
        self._text = text
        self._shown = shown

    def read(self, kind: BrokerKind | None) -> BrokerUrl:
        scheme = self._scheme(kind)
        pieces = [
            self._parts(scheme, f"{scheme.name}://{piece}")
            for piece in self._text.partition("://")[2].split(f",{self._text.partition('://')[0]}://")
        ]
        places = tuple(place for parts in pieces for place in self._places(scheme, parts["hosts"]))
        if len(places) > 1 and scheme.kind not in _SEVERAL:
            raise self._no(f"names {len(places)} servers, and {TITLES[scheme.kind]} takes one: write {scheme.example}")
        user, password = self._who(scheme, pieces)
        token = None
        if scheme.kind is BrokerKind.NATS and user is not None and password is None:
            user, token = None, user
        last = pieces[-1]
        options = self._options(scheme, last["query"])
        return BrokerUrl(scheme, places, self._name(scheme, last["path"] or ""), user, password, token, options)

    def _no(self, why: str) -> InvalidConfig:
        return InvalidConfig(f"{self._shown} {why}")

    def _scheme(self, kind: BrokerKind | None) -> Scheme:
        wanted = [scheme for scheme in SCHEMES.values() if kind in {None, scheme.kind}]
        names = [f"{scheme.name}://" for scheme in wanted]
        choice = f"{', '.join(names[:-1])} or {names[-1]}"
        name, found, _ = self._text.partition("://")
        name = name.lower()
        if found and name in _ALIKE and SCHEMES[_ALIKE[name]] in wanted:
            raise self._no(f"has a scheme that is not known: write {SCHEMES[_ALIKE[name]].example}")
        title = "a broker" if kind is None else TITLES[kind]
        scheme = SCHEMES.get(name) if found else None
        if scheme is None:
            raise self._no(f"is no URL of {title}: it begins with {choice}, as in {wanted[0].example}")
        if scheme not in wanted:
            raise self._no(f"is {TITLES[scheme.kind]}, not {title}: write {choice}, as in {wanted[0].example}")
        return scheme

    def _parts(self, scheme: Scheme, url: str) -> re.Match[str]:
        parts = _PARTS.fullmatch(url)
        if parts is None or (parts["user"] is None and parts["hosts"] and _places(parts["hosts"], 1) is None):
            raise self._no(
                "is no URL: percent-encode user and password (@ is %40, : is %3A, / is %2F, ? is %3F, # is %23), write"
                f" the port as a number and options as ?name=value, as in {scheme.example}"
            )
        return parts

    def _places(self, scheme: Scheme, hosts: str) -> tuple[Place, ...]:
        if not hosts:
            raise self._no(f"names no host: write {scheme.example}")
        places = _places(hosts, scheme.port)
        if places is None:
            raise self._no(f"has a host or a port that cannot be: write {scheme.example}")
        return places

    def _who(self, scheme: Scheme, pieces: list[re.Match[str]]) -> tuple[str | None, str | None]:
        who = {(parts["user"], parts["secret"]) for parts in pieces if parts["user"] is not None}
        if not who:
            return None, None
        if len(who) > 1:
            raise self._no(f"has another user or password for each server: write one for all, as in {scheme.example}")
        user, secret = who.pop()
        password = None if secret is None else self._decoded(secret[1:])
        if password is None and scheme.kind is not BrokerKind.NATS:
            raise self._no(f"has a user without a password: write {scheme.example}")
        return self._decoded(user), password

    def _name(self, scheme: Scheme, path: str) -> str:
        name = path[1:]
        if scheme.kind is BrokerKind.RABBITMQ:
            if "/" in name:
                raise self._no("has a virtual host with a / in it: percent-encode it as %2F")
            return self._decoded(name) or "/"
        if scheme.kind is BrokerKind.REDIS:
            if name and not (name.isascii() and name.isdigit() and len(name) <= _DATABASE_CHARS_MAX):
                raise self._no(f"has a database that is no number: write {scheme.example}")
            return str(int(name or "0"))
        if name:
            raise self._no(f"has a path, and a URL of {TITLES[scheme.kind]} has none: write {scheme.example}")
        return ""

    def _options(self, scheme: Scheme, query: str | None) -> dict[str, str]:
        known = (*(OPTIONS_OF_TLS if scheme.tls else ()), *_OWN_OPTIONS.get(scheme.kind, ()))
        takes = f"it takes {', '.join(known) or 'none'}"
        try:
            found = dict(parse_qsl(query or "", keep_blank_values=True, strict_parsing=bool(query), errors="strict"))
        except ValueError:
            found = {"": ""}
        if not all(found.values()):
            raise self._no(f"has options that are not written as ?name=value&name=value: {takes}")
        strange = sorted(found.keys() - set(known))
        if strange and strange[0] in OPTIONS_OF_TLS:
            secure = next(each for each in SCHEMES.values() if each.kind is scheme.kind and each.tls)
            raise self._no(f"has the option {strange[0]}, which needs TLS: write {secure.name}://")
        if strange:
            raise self._no(f"has an option that is not known: {takes}")
        if found.get("sasl", MECHANISMS[0]) not in MECHANISMS:
            raise self._no(f"has a mechanism that is not known: sasl is one of {', '.join(MECHANISMS)}")
        if "keyfile" in found and "certfile" not in found:
            raise self._no("has a keyfile without its certificate: write ?certfile=…&keyfile=…")
        return found

    def _decoded(self, text: str) -> str:
        try:
            return unquote(text, errors="strict")
        except UnicodeDecodeError:
            raise self._no("is no URL: what is percent-encoded must be UTF-8") from None


def _places(hosts: str, port: int) -> tuple[Place, ...] | None:
    """The servers of a list with commas; None: one of them cannot be."""
    places: list[Place] = []
    for text in hosts.split(","):
        parts = _HOST.fullmatch(text)
        if parts is None or int(parts["port"] or 1) not in range(1, _PORT_MAX + 1):
            return None
        host = parts["host"]
        if not _is_host(host):
            return None
        places.append(Place(host.strip("[]"), int(parts["port"] or port)))
    return tuple(places)


def _is_host(host: str) -> bool:
    if len(host) > _HOST_CHARS_MAX:
        return False
    try:
        return bool(IPv6Address(host.strip("[]")) if host.startswith("[") else host.encode("idna"))
    except ValueError:  # no address, or what no name server can know: an empty label, or one that is too long
        return False
