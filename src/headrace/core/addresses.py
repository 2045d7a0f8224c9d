"""Which IP addresses may be called when somebody else has chosen the name: those of the public internet.

Invariant: an address that carries another one (IPv4 in IPv6, 6to4, NAT64) is no better than that one; and what no table
knows is refused. The tables are our own: `is_global` and `is_private` of Python are wrong before 3.12.4 and 3.11.10.

Source: IANA's special-purpose address registries for IPv4 and IPv6 (RFC 6890 and what updates it); CVE-2024-4032.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from headrace.core.errors import InvalidConfig

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_PRIVATE: Final = "a private address"
_EXAMPLE: Final = "an address for examples in documentation"
_RESERVED: Final = "a reserved address"

REFUSED_V4: Final[tuple[tuple[IPv4Network, str], ...]] = tuple(
    (IPv4Network(network), words)
    for network, words in (
        ("0.0.0.0/8", "an address of this machine's own network"),
        ("10.0.0.0/8", _PRIVATE),
        ("100.64.0.0/10", "an address inside a provider's network"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.169.254/32", "a link-local address, where clouds hand out credentials"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", _PRIVATE),
        ("192.0.0.0/24", _RESERVED),
        ("192.0.2.0/24", _EXAMPLE),
        ("192.88.99.0/24", "an address of 6to4 relays"),
        ("192.168.0.0/16", _PRIVATE),
        ("198.18.0.0/15", "an address for benchmarks of networks"),
        ("198.51.100.0/24", _EXAMPLE),
        ("203.0.113.0/24", _EXAMPLE),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", _RESERVED),
    )
)
REFUSED_V6: Final[tuple[tuple[IPv6Network, str], ...]] = tuple(
    (IPv6Network(network), words)
    for network, words in (
        ("::/128", "the unspecified address"),
        ("::1/128", "a loopback address"),
        ("fc00::/7", _PRIVATE),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", _PRIVATE),
        ("ff00::/8", "a multicast address"),
        ("64:ff9b:1::/48", "an address of a local NAT64"),
        ("100::/64", "an address that discards"),
        ("2001::/32", "an address of a Teredo tunnel"),
        ("2001:db8::/32", _EXAMPLE),
        ("2001::/23", _RESERVED),
        ("3fff::/20", _EXAMPLE),
        ("5f00::/16", "an address of segment routing"),
    )
)
PUBLIC_V6: Final = IPv6Network("2000::/3")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")
_LOW_32: Final = 0xFFFF_FFFF
_BITS_BELOW_6TO4: Final = 80


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """The addresses that may be called: the public ones, and those in `networks`."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def allowing(cls, texts: Iterable[str], what: str = "webhook_allow") -> "AddressPolicy":
        """The public addresses, and those of networks written as 10.1.0.0/16.

        Raises:
            InvalidConfig: one of them is no network; the message begins with `what` it is.
        """
        if isinstance(texts, str):
            raise InvalidConfig(f"{what} is a list of networks: write [{texts!r}]")
        return cls(tuple(_network(text, what) for text in texts))

    def why_not(self, address: str | Address) -> str | None:
        """Why an address may not be called, in words that go after what it belongs to; None: it may.

        Returns: as "10.0.0.7 is a private address".
        """
        try:
            known = ip_address(address)
        except ValueError:
            return f"{ascii(address)[:60]} is no IP address"
        if self._allowed(known):
            return None
        inner, shown = _carried(known)
        words = None if self._allowed(inner) else _refused(inner)
        return None if words is None else f"{shown} {words}"

    def first_refusal(self, addresses: Sequence[str | Address]) -> str | None:
        """Why the first of a name's addresses that may not be called may not; None: all of them may."""
        return next((why for why in map(self.why_not, addresses) if why is not None), None)

    def _allowed(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def _carried(address: Address) -> tuple[Address, str]:
    """The address that is meant: an IPv6 one may lead to one of IPv4. And how a sentence about it begins."""
    if isinstance(address, IPv6Address):
        if address in _MAPPED:
            inner = IPv4Address(int(address) & _LOW_32)
            return inner, f"::ffff:{inner} is {inner},"
        if address in _NAT64:
            inner = IPv4Address(int(address) & _LOW_32)
            return inner, f"{_shown(address)} leads through NAT64 to {inner},"
        if address in _6TO4:
            inner = IPv4Address(int(address) >> _BITS_BELOW_6TO4 & _LOW_32)
            return inner, f"{_shown(address)} leads through 6to4 to {inner},"
    return address, f"{_shown(address)} is"


def _refused(address: Address) -> str | None:
    if isinstance(address, IPv4Address):
        return next((words for network, words in REFUSED_V4 if address in network), None)
    words = next((words for network, words in REFUSED_V6 if address in network), None)
    if words is None and address not in PUBLIC_V6:
        return "no address of the public internet"
    return words


def _shown(address: Address) -> str:
    """An address without its zone, which its writer has chosen."""
    return str(address).partition("%")[0]


def _network(text: str, what: str) -> Network:
    try:
        return ip_network(text)
    except (ValueError, TypeError):
        pass
    try:
        meant = ip_network(text, strict=False)
    except (ValueError, TypeError):
        raise InvalidConfig(f"{what} has {text!r}, which is no network: write it as 10.1.0.0/16") from None
    raise InvalidConfig(
        f"{what} has {text!r}, which is an address of the network {meant}: write the network, or the address alone"
    )
