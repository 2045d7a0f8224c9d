"""What broker URLs name, which cannot work, and that no secret is shown."""

import pickle
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core.broker import SCHEMES, BrokerKind, BrokerUrl, Place, shown_broker
from headrace.core.errors import InvalidConfig

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("text", "kind", "tls", "where"),
    [
        ("redis://h", BrokerKind.REDIS, False, "h:6379"),
        ("rediss://h", BrokerKind.REDIS, True, "h:6379"),
        ("nats://h", BrokerKind.NATS, False, "h:4222"),
        ("tls://h", BrokerKind.NATS, True, "h:4222"),
        ("amqp://h", BrokerKind.RABBITMQ, False, "h:5672"),
        ("amqps://h", BrokerKind.RABBITMQ, True, "h:5671"),
        ("kafka://h", BrokerKind.KAFKA, False, "h:9092"),
        ("kafka+ssl://h", BrokerKind.KAFKA, True, "h:9093"),
        ("REDIS://h", BrokerKind.REDIS, False, "h:6379"),
        ("redis://[::1]:7", BrokerKind.REDIS, False, "[::1]:7"),
        ("amqp://broker_1.internal:1", BrokerKind.RABBITMQ, False, "broker_1.internal:1"),
        ("nats://a,b:5,[fe80::1]", BrokerKind.NATS, False, "a:4222,b:5,[fe80::1]:4222"),
        ("nats://a,nats://b:5", BrokerKind.NATS, False, "a:4222,b:5"),
        ("kafka://a:1,b,c:3", BrokerKind.KAFKA, False, "a:1,b:9092,c:3"),
        ("kafka+ssl://a:1,kafka+ssl://b", BrokerKind.KAFKA, True, "a:1,b:9093"),
    ],
)
def test_what_a_url_names(text: str, kind: BrokerKind, tls: bool, where: str) -> None:
    url = BrokerUrl.parse(text)
    assert (url.kind, url.tls, url.where) == (kind, tls, where)
    assert BrokerUrl.parse(text, kind=kind) == url


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("redis://h", "0"),
        ("redis://h/", "0"),
        ("redis://h/15", "15"),
        ("redis://h/007", "7"),
        ("amqp://h", "/"),
        ("amqp://h/", "/"),
        ("amqp://h/%2F", "/"),
        ("amqp://h/b%C3%BCro%2Fa", "büro/a"),
        ("nats://h/", ""),
        ("kafka://h", ""),
    ],
)
def test_a_database_or_virtual_host(text: str, name: str) -> None:
    url = BrokerUrl.parse(text)
    assert url.name == name
    assert BrokerUrl.parse(url.client_url) == url


def test_users_passwords_and_tokens() -> None:
    def who(text: str) -> tuple[str | None, str | None, str | None]:
        url = BrokerUrl.parse(text)
        return url.user, url.password, url.token

    assert who("redis://h") == (None, None, None)
    assert who("redis://:p%40w@h") == ("", "p@w", None)
    assert who("amqp://b%C3%BCro:a:b@h") == ("büro", "a:b", None)
    assert who("nats://u:p@a,b") == ("u", "p", None)
    assert who("nats://t%2Fk@a") == (None, None, "t/k")
    assert who("nats://u:p@a,nats://u:p@b,nats://c") == ("u", "p", None)
    assert who("kafka://u:100%25@a") == ("u", "100%", None)
    assert who("amqp://u:@h") == ("u", "", None)


def test_options() -> None:
    assert BrokerUrl.parse("rediss://h/0?cafile=/etc/ca.pem").options == {"cafile": "/etc/ca.pem"}
    both = BrokerUrl.parse("tls://a,b?certfile=c%40d&keyfile=k&creds=/srv/my.creds").options
    assert both == {"certfile": "c@d", "keyfile": "k", "creds": "/srv/my.creds"}
    assert BrokerUrl.parse("kafka://u:p@h?sasl=scram-sha-512").options == {"sasl": "scram-sha-512"}
    assert BrokerUrl.parse("kafka://h").options == {}


def test_what_clients_are_given() -> None:
    url = BrokerUrl.parse("tls://u:a%2Fb@a,[::1]:5?creds=x")
    assert url.client_url == "tls://u:a%2Fb@a:4222,[::1]:5"
    assert url.servers == ("tls://a:4222", "tls://[::1]:5")
    assert url.places == (Place("a", 4222), Place("::1", 5))
    assert BrokerUrl.parse("amqp://u:p@h").client_url == "amqp://u:p@h:5672/%2F"
    assert BrokerUrl.parse("nats://t%2Fk@h").client_url == "nats://t%2Fk@h:4222"


def test_kafkas_servers_may_stand_without_a_scheme_where_kafka_is_meant() -> None:
    assert BrokerUrl.parse("a:1,b", kind=BrokerKind.KAFKA) == BrokerUrl.parse("kafka://a:1,b")
    with pytest.raises(InvalidConfig, match=r"^the broker 'a:1' is no URL of NATS: it begins with nats:// or tls://"):
        BrokerUrl.parse("a:1", kind=BrokerKind.NATS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://h/0", "redis://h/0"),
        ("redis://:s3cret@h/0", "redis://:…@h/0"),
        ("redis://s3cret@h/0", "redis://…@h/0"),
        ("nats://s3cret@h", "nats://…@h"),
        ("nats://u:s3cret@a,nats://u:s3cret@b", "nats://u:…@a,u:…@b"),
        ("amqp://u:x:s3cret@h:1/v", "amqp://u:…@h:1/v"),
        ("amqps://u:x@h/v?cafile=s3cret", "amqps://u:…@h/v"),
        ("kafka://u:s3cret@a,b", "kafka://u:…@a,b"),
        ("http://u:s3cret@h/x", "http://u:…@h/x"),
        ("h:6379", "h:6379"),
        # Written so that nobody can tell what the secret is: then nothing of it is shown.
        ("redis://u:x@s3cret@h/0", "redis://…"),
        ("redis://u:s3cret/x@h/0", "redis://…"),
        ("redis://u:s3cret#x@h/0", "redis://…"),
        ("redis://u:x?s3cret@h/0", "redis://…"),
        ("redis://u:s3cret", "redis://…"),
        ("redis://u:x,s3cret", "redis://…"),
        ("nats://a,nats://u:x@s3cret@b", "nats://a,…"),
        ("u:s3cret@h", "…"),
        ("password=s3cret", "…"),
        ("u:s3cret@x://h", "…"),
    ],
)
def test_what_is_shown_has_no_secret(text: str, shown: str) -> None:
    assert shown_broker(text) == shown


def test_nothing_that_is_printed_has_a_secret() -> None:
    url = BrokerUrl.parse("amqps://u:s3cret@h/v?keyfile=s3cret&certfile=s3cret")
    assert str(url) == f"{url}" == "amqps://u:…@h:5671/v"
    assert repr(url) == "<BrokerUrl amqps://u:…@h:5671/v>"
    assert str(BrokerUrl.parse("nats://s3cret@h")) == "nats://…@h:4222"
    assert url == pickle.loads(pickle.dumps(url))
    assert {url: 1}[url] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no URL of a broker: it begins with redis://, rediss://, nats://,"),
        ("h:6379", "is no URL of a broker"),
        ("http://h", "'http://h' is no URL of a broker"),
        ("rabbitmq://u:s3cret@h", "has a scheme that is not known: write amqp://user:password@host:5672/vhost"),
        ("valkey://:s3cret@h", "has a scheme that is not known: write redis://user:password@host:6379/0"),
        ("kafka+sasl_ssl://h", "write kafka+ssl://host1:9092,host2:9092"),
        ("redis://", "names no host: write redis://user:password@host:6379/0"),
        ("redis:///0", "names no host"),
        ("nats://a,nats://", "names no host"),
        ("redis://a,b", "names 2 servers, and Redis takes one"),
        ("amqp://a,b,c", "names 3 servers, and RabbitMQ takes one"),
        ("redis://u:s3cret@h:x", "'redis://u:…@h:x' has a host or a port that cannot be"),
        ("redis://u:s3cret@h:0", "has a host or a port that cannot be"),
        ("redis://u:s3cret@h:65536", "has a host or a port that cannot be"),
        ("redis://u:s3cret@::1", "has a host or a port that cannot be"),
        ("redis://u:s3cret@[::g]", "has a host or a port that cannot be"),
        ("redis://u:s3cret@[1]", "has a host or a port that cannot be"),
        ("nats://u:s3cret@a,,b", "has a host or a port that cannot be"),
        ("nats://u:s3cret@a b", "has a host or a port that cannot be"),
        ("nats://u:s3cret@a..b", "has a host or a port that cannot be"),
        (f"nats://u:s3cret@{'a.' * 127}b", "has a host or a port that cannot be"),
        ("redis://u:s3cret", "is no URL: percent-encode user and password (@ is %40, : is %3A"),
        ("redis://u:p@s3cret@h", "percent-encode user and password"),
        ("redis://u:s3cret/x@h", "percent-encode user and password"),
        ("redis://u:s3cret%FF@h", "is no URL: what is percent-encoded must be UTF-8"),
        ("redis://s3cret@h", "'redis://…@h' has a user without a password"),
        ("kafka://s3cret@h", "has a user without a password"),
        ("nats://u:s3cret@a,nats://v:s3cret@b", "has another user or password for each server: write one for all"),
        ("nats://s3cret@a,nats://u:s3cret@b", "has another user or password for each server"),
        ("redis://h/first", "has a database that is no number"),
        ("redis://h/-1", "has a database that is no number"),
        ("redis://h/٣", "has a database that is no number"),
        ("redis://h/123456", "has a database that is no number"),
        ("amqp://h/a/b", "has a virtual host with a / in it: percent-encode it as %2F"),
        ("kafka://h/orders", "has a path, and a URL of Kafka has none"),
        ("nats://h/orders", "has a path, and a URL of NATS has none"),
        ("redis://h?s3cret=1", "'redis://h' has an option that is not known: it takes none"),
        ("tls://h?x=s3cret", "has an option that is not known: it takes cafile, certfile, keyfile, creds"),
        ("kafka://h?s3cret", "options that are not written as ?name=value&name=value: it takes sasl"),
        ("kafka://h?sasl=", "options that are not written as ?name=value"),
        ("kafka://h?sasl=%FF", "options that are not written as ?name=value"),
        ("kafka://u:p@h?sasl=s3cret", "sasl is one of plain, scram-sha-256, scram-sha-512"),
        ("redis://h?cafile=s3cret", "has the option cafile, which needs TLS: write rediss://"),
        ("rediss://h?keyfile=s3cret", "has a keyfile without its certificate"),
    ],
)
def test_what_cannot_work_is_told_without_the_secret(text: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=re.escape(said)) as refused:
        BrokerUrl.parse(text, "HEADRACE_NOTIFIER")
    assert str(refused.value).startswith("HEADRACE_NOTIFIER '")
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


def test_another_broker_is_named() -> None:
    with pytest.raises(InvalidConfig) as refused:
        BrokerUrl.parse("redis://u:s3cret@h", "HEADRACE_RABBITMQ_URL", BrokerKind.RABBITMQ)
    assert str(refused.value) == (
        "HEADRACE_RABBITMQ_URL 'redis://u:…@h' is Redis, not RabbitMQ: write amqp:// or amqps://, as in"
        " amqp://user:password@host:5672/vhost"
    )


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
def test_every_example_works(scheme: Any) -> None:
    assert BrokerUrl.parse(scheme.example).scheme == scheme


PIECE = st.text(st.sampled_from("ab:@/?#,%=&[].1é\n "), max_size=6)


@given(st.sampled_from([*SCHEMES, "http", ""]), PIECE, PIECE, PIECE, st.sampled_from(["u:", ":", "", "a:b"]))
@example("redis", "x@", "/", "", "u:")
def test_a_secret_before_the_at_is_never_shown(scheme: str, before: str, after: str, rest: str, user: str) -> None:
    secret = f"{before}{SECRET}{after}"
    if not user:  # a token, or a password that lost its colon: what stands before a colon is a user
        secret = secret.replace(":", "")
    for text in (f"{scheme}://{user}{secret}@h{rest}", f"{scheme}://{user}{quote(secret, safe='')}@h{rest}"):
        told = shown_broker(text)
        try:
            url = BrokerUrl.parse(text)
            told += str(url) + repr(url) + url.where + "".join(url.servers)
        except InvalidConfig as refused:
            told += str(refused)
        assert SECRET not in told, text


@given(st.one_of(st.text(max_size=40), st.builds("{}://{}".format, st.sampled_from([*SCHEMES]), PIECE)))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for kind in (None, BrokerKind.KAFKA):
        try:
            url = BrokerUrl.parse(text, kind=kind)
        except InvalidConfig:
            continue
        again = BrokerUrl.parse(url.client_url)
        assert (again.places, again.name, again.user, again.token) == (url.places, url.name, url.user, url.token)
        assert again.password == url.password


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_what_is_percent_encoded_comes_back(user: str, password: str) -> None:
    for scheme in SCHEMES:
        try:
            text = f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@h"
        except UnicodeEncodeError:  # a lone surrogate is no text
            return
        url = BrokerUrl.parse(text)
        assert (url.user, url.password) == (user, password)
        assert BrokerUrl.parse(url.client_url) == url
