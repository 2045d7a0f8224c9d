"""Which addresses may be called: every range at both ends, and every way to hide one address in another."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core.addresses import REFUSED_V4, REFUSED_V6, AddressPolicy
from headrace.core.errors import InvalidConfig

PUBLIC = AddressPolicy()

# Network, an address just before and one just after that may be called (None: there is none), and the words.
RANGES_V4 = [
    ("0.0.0.0/8", None, "1.0.0.0", "an address of this machine's own network"),
    ("10.0.0.0/8", "9.255.255.255", "11.0.0.0", "a private address"),
    ("100.64.0.0/10", "100.63.255.255", "100.128.0.0", "an address inside a provider's network"),
    ("127.0.0.0/8", "126.255.255.255", "128.0.0.0", "a loopback address"),
    ("169.254.0.0/16", "169.253.255.255", "169.255.0.0", "a link-local address"),
    ("172.16.0.0/12", "172.15.255.255", "172.32.0.0", "a private address"),
    ("192.0.0.0/24", "191.255.255.255", "192.0.1.0", "a reserved address"),
    ("192.0.2.0/24", "192.0.1.255", "192.0.3.0", "an address for examples in documentation"),
    ("192.88.99.0/24", "192.88.98.255", "192.88.100.0", "an address of 6to4 relays"),
    ("192.168.0.0/16", "192.167.255.255", "192.169.0.0", "a private address"),
    ("198.18.0.0/15", "198.17.255.255", "198.20.0.0", "an address for benchmarks of networks"),
    ("198.51.100.0/24", "198.51.99.255", "198.51.101.0", "an address for examples in documentation"),
    ("203.0.113.0/24", "203.0.112.255", "203.0.114.0", "an address for examples in documentation"),
    ("224.0.0.0/4", "223.255.255.255", None, "a multicast address"),
    ("240.0.0.0/5", None, None, "a reserved address"),
    ("255.255.255.255/32", None, None, "the broadcast address"),
]
RANGES_V6 = [
    ("::/128", None, None, "the unspecified address"),
    ("::1/128", None, None, "a loopback address"),
    ("::2/127", None, None, "no address of the public internet"),
    ("64:ff9b:1::/48", None, None, "an address of a local NAT64"),
    ("100::/64", None, None, "an address that discards"),
    ("1fff:ffff::/32", None, "2000::", "no address of the public internet"),
    ("2001::/32", "2000:ffff:ffff::", None, "an address of a Teredo tunnel"),
    ("2001:1::/32", None, None, "a reserved address"),
    ("2001:1ff::/32", None, "2001:200::", "a reserved address"),
    ("2001:db8::/32", "2001:db7:ffff::", "2001:db9::", "an address for examples in documentation"),
    ("3fff::/20", "3ffe:ffff:ffff::", "3fff:1000::", "an address for examples in documentation"),
    ("4000::/3", "3fff:ffff:ffff::", None, "no address of the public internet"),
    ("5f00::/16", None, None, "an address of segment routing"),
    ("fc00::/7", None, None, "a private address"),
    ("fe80::/10", None, None, "a link-local address"),
    ("fec0::/10", None, None, "a private address"),
    ("ff00::/8", None, None, "a multicast address"),
]


@pytest.mark.parametrize(("network", "before", "after", "words"), RANGES_V4 + RANGES_V6)
def test_every_range_at_both_ends(network: str, before: str | None, after: str | None, words: str) -> None:
    known = ipaddress.ip_network(network)
    for address in (known[0], known[-1]):
        assert PUBLIC.why_not(str(address)) == f"{address} is {words}"
    for outside in (before, after):
        if outside is not None:
            assert PUBLIC.why_not(outside) is None


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::1", "2620:4f:8000::1"],
)
def test_public_addresses_may_be_called(address: str) -> None:
    assert PUBLIC.why_not(address) is None
    assert PUBLIC.why_not(ipaddress.ip_address(address)) is None


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.0.0.7", "10.0.0.7 is a private address"),
        ("169.254.169.254", "169.254.169.254 is a link-local address, where clouds hand out credentials"),
        ("::ffff:10.0.0.7", "::ffff:10.0.0.7 is 10.0.0.7, a private address"),
        ("::ffff:a9fe:a9fe", "::ffff:169.254.169.254 is 169.254.169.254, a link-local address, where clouds"),
        ("0:0:0:0:0:ffff:127.0.0.1", "::ffff:127.0.0.1 is 127.0.0.1, a loopback address"),
        ("64:ff9b::10.0.0.7", "64:ff9b::a00:7 leads through NAT64 to 10.0.0.7, a private address"),
        ("64:ff9b::7f00:1", "64:ff9b::7f00:1 leads through NAT64 to 127.0.0.1, a loopback address"),
        ("2002:a00:7::1", "2002:a00:7::1 leads through 6to4 to 10.0.0.7, a private address"),
        ("2002:7f00:1:ffff:ffff:ffff:ffff:ffff", "leads through 6to4 to 127.0.0.1, a loopback address"),
        ("2001:0:808:808::", "2001:0:808:808:: is an address of a Teredo tunnel"),
        ("::127.0.0.1", "::7f00:1 is no address of the public internet"),
        ("::8.8.8.8", "::808:808 is no address of the public internet"),
        ("fe80::1%eth0", "fe80::1 is a link-local address"),
        ("fe80::1%\n<b>", "fe80::1 is a link-local address"),
        ("0177.0.0.1", "'0177.0.0.1' is no IP address"),
        ("2130706433", "'2130706433' is no IP address"),
        ("0x7f.1", "'0x7f.1' is no IP address"),
        ("127.1", "'127.1' is no IP address"),
        ("10.0.0.7\n", r"'10.0.0.7\n' is no IP address"),
        ("localhost", "'localhost' is no IP address"),
        ("٨.٨.٨.٨", "is no IP address"),
        ("", "'' is no IP address"),
    ],
)
def test_why_an_address_may_not_be_called(address: str, why: str) -> None:
    told = PUBLIC.why_not(address)
    assert told is not None
    assert why in told
    assert told.isprintable()


def test_public_addresses_behind_ipv6_may_be_called() -> None:
    for address in ("::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"):
        assert PUBLIC.why_not(address) is None


def test_networks_of_ones_own() -> None:
    own = AddressPolicy.allowing(["10.1.0.0/16", "fd00:1::/32", "127.0.0.1"])
    for address in (
        "10.1.0.0",
        "10.1.255.255",
        "fd00:1::1",
        "127.0.0.1",
        "::ffff:10.1.2.3",
        "64:ff9b::10.1.2.3",
        "8.8.8.8",
    ):
        assert own.why_not(address) is None
    assert own.why_not("10.2.0.0") == "10.2.0.0 is a private address"
    assert own.why_not("fd00:2::1") == "fd00:2::1 is a private address"
    assert own.why_not("127.0.0.2") == "127.0.0.2 is a loopback address"
    assert own.why_not("::ffff:10.2.0.0") == "::ffff:10.2.0.0 is 10.2.0.0, a private address"
    assert AddressPolicy.allowing(["::/0"]).why_not("10.0.0.7") == "10.0.0.7 is a private address"
    assert AddressPolicy.allowing(["::ffff:0:0/96"]).why_not("::ffff:10.0.0.7") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "10.1.0.1/16",
            "webhook_allow has '10.1.0.1/16', which is an address of the network 10.1.0.0/16: write the net",
        ),
        ("10.1.0.0/33", "webhook_allow has '10.1.0.0/33', which is no network: write it as 10.1.0.0/16"),
        ("internal", "which is no network"),
        ("", "which is no network"),
        (None, "which is no network"),
    ],
)
def test_what_is_no_network_is_refused(text: str, told: str) -> None:
    with pytest.raises(InvalidConfig, match=told):
        AddressPolicy.allowing([text])


def test_one_text_is_no_list() -> None:
    with pytest.raises(InvalidConfig, match=r"allow is a list of networks: write \['10.1.0.0/16'\]"):
        AddressPolicy.allowing("10.1.0.0/16", "allow")


def test_one_wrong_address_of_several_is_enough() -> None:
    assert PUBLIC.first_refusal(["8.8.8.8", "10.0.0.7", "127.0.0.1"]) == "10.0.0.7 is a private address"
    assert PUBLIC.first_refusal(["8.8.8.8", "2606:4700::1"]) is None
    assert PUBLIC.first_refusal([]) is None


@given(st.integers(0, (1 << 32) - 1).map(IPv4Address))
@example(IPv4Address("192.88.99.1"))
def test_an_address_of_ipv4_has_one_fate_however_it_is_written(address: IPv4Address) -> None:
    forms = [
        IPv6Address(f"::ffff:{address}"),
        IPv6Address(f"64:ff9b::{address}"),
        IPv6Address((0x2002 << 112) | (int(address) << 80) | 1),
    ]
    plain = PUBLIC.why_not(address)
    assert all((PUBLIC.why_not(form) is None) == (plain is None) for form in forms)
    refused = any(address in network for network, _ in REFUSED_V4)
    assert (plain is not None) == refused
    if not refused:  # Python's own tables, where they are right: what they call private is refused here
        assert not address.is_private
        assert not address.is_multicast
        assert not address.is_reserved


@given(st.integers(0, (1 << 128) - 1).map(IPv6Address))
def test_what_no_table_knows_is_refused(address: IPv6Address) -> None:
    if address not in ipaddress.IPv6Network("2000::/3") and address.ipv4_mapped is None:
        assert PUBLIC.why_not(address) is not None


@given(st.one_of(st.text(max_size=20), st.ip_addresses().map(str)))
def test_any_text_is_judged_in_words(text: str) -> None:
    told = PUBLIC.why_not(text)
    assert told is None or told.isprintable()


def test_the_tables_have_no_network_twice() -> None:
    known = [network for network, _ in (*REFUSED_V4, *REFUSED_V6)]
    assert len(set(known)) == len(known)
