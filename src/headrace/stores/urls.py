"""The URLs that name a store: what they say, and what of it may be shown.

Invariant: what is shown has no password, however the URL was written; where it cannot be told what in a URL is the
password, only its scheme is shown.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote

from headrace.core.errors import InvalidConfig

POSTGRES: Final = ("postgresql://", "postgres://")
SQLITE: Final = "sqlite:///"
MEMORY: Final = "memory://"
EXAMPLE: Final = "postgresql://user@host/database"

_DRIVER: Final = re.compile(r"postgres(?:ql)?\+\w+://")
_PARTS: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?:(?P<user>[^@:/?#]*)(?P<secret>:[^@/?#]*)?@)?"
    r"(?P<hosts>[^@/?#]*)(?P<path>/[^@?#]*)?(?:\?(?P<query>[^@#]*))?"
)
_HOST: Final = re.compile(r"(?P<host>\[[\w:.%-]+\]|[^:\[\]]*)(?::(?P<port>\d{1,5}))?")
_PORT_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class Database:
    """What a PostgreSQL URL names; empty where it leaves that to the environment."""

    hosts: str
    name: str

    def __str__(self) -> str:
        return f"{self.hosts}/{self.name}"


def shown_url(url: str) -> str:
    """A store's URL as it may be printed: without a password, and without options, which may hold one."""
    scheme, found, _ = url.partition("://")
    if not found:
        return "…" if "@" in url or "=" in url else url
    if scheme == "sqlite":
        return url
    parts = _PARTS.fullmatch(url)
    if parts is None or (parts["user"] is None and not _readable(parts["hosts"])):
        return f"{scheme}://…"
    user = "" if parts["user"] is None else f"{parts['user']}{':…' if parts['secret'] else ''}@"
    return f"{scheme}://{user}{parts['hosts']}{parts['path'] or ''}"


def database(url: str, what: str = "the store") -> Database:
    """What a PostgreSQL URL names.

    Raises:
        InvalidConfig: it cannot work; the message begins with `what` it is.
    """
    shown = f"{what} {shown_url(url)!r}"
    if _DRIVER.match(url):
        raise InvalidConfig(f"{shown} names a driver, and headrace has its own: write {EXAMPLE}")
    if not url.startswith(POSTGRES):
        raise InvalidConfig(f"{shown} is no PostgreSQL database: write {EXAMPLE}")
    parts = _PARTS.fullmatch(url)
    options = None if parts is None else _options(parts["query"])
    if parts is not None and parts["user"] is not None and not _readable(parts["hosts"]):
        raise InvalidConfig(f"{shown} has a host or a port that cannot be: write {EXAMPLE}, or host:5432")
    if parts is None or options is None or not _readable(parts["hosts"]):
        raise InvalidConfig(
            f"{shown} is no URL: percent-encode user and password (@ is %40, : is %3A, / is %2F, ? is %3F, # is %23),"
            f" write the port as a number and options as ?name=value, as in {EXAMPLE}"
        )
    named = unquote((parts["path"] or "/")[1:]) or options.get("dbname") or options.get("database") or ""
    if not named and "service" not in options:
        raise InvalidConfig(f"{shown} names no database: write {EXAMPLE}")
    return Database(unquote(parts["hosts"]) or options.get("host", ""), named)


def sqlite_path(url: str) -> Path:
    """The file that a `sqlite:///…` URL names (four slashes: an absolute path).

    Raises:
        InvalidConfig: another scheme, or no file.
    """
    path = url.removeprefix(SQLITE)
    if not url.startswith(SQLITE) or not path:
        raise InvalidConfig(
            f"{shown_url(url)!r} is no store with a schema; write sqlite:///headrace.db, sqlite:////srv/headrace.db or"
            f" {EXAMPLE}"
        )
    if path == ":memory:":
        raise InvalidConfig("sqlite:///:memory: cannot be shared by threads and processes; use memory://")
    return Path(path)


def _readable(hosts: str) -> bool:
    return all(_is_host(host) for host in hosts.split(","))


def _is_host(text: str) -> bool:
    parts = _HOST.fullmatch(text)
    if parts is None or int(parts["port"] or 1) not in range(1, _PORT_MAX + 1):
        return False
    host = unquote(parts["host"])
    try:
        return host.startswith(("/", "[")) or not host or bool(host.encode("idna"))
    except UnicodeError:  # what no name server can know: an empty label, or one that is too long
        return False


def _options(query: str | None) -> dict[str, str] | None:
    """The last value of each option; None: not written as options are."""
    try:
        found = parse_qs(query or "", keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        return None
    return {name: values[-1] for name, values in found.items()}
