"""What HEADRACE_NOTIFIER asks for, and what is said of nonsense."""

import sys
from pathlib import Path

import pytest

from headrace import Headrace, InvalidConfig, clients
from headrace.app.notifying import poll_max_s
from headrace.notifiers.brokers import BrokerNotifier
from headrace.notifiers.local import LocalNotifier
from headrace.notifiers.none import NoNotifier
from headrace.notifiers.postgres import PostgresNotifier
from headrace.settings import Settings
from headrace.testing import memory

SQLITE = "sqlite:///{}/jobs.db"
POSTGRES = "postgresql://ada@127.0.0.1:1/shop"


@pytest.mark.parametrize(
    ("store", "notifier", "kind", "rarest_s"),
    [
        (SQLITE, "auto", LocalNotifier, 5.0),
        (SQLITE, "local", LocalNotifier, 5.0),
        (SQLITE, "none", NoNotifier, 5.0),
        (SQLITE, "redis://127.0.0.1:1", BrokerNotifier, 5.0),
        ("memory://", "nats://127.0.0.1:1", BrokerNotifier, 5.0),
        ("memory://", "auto", LocalNotifier, 5.0),
        (POSTGRES, "auto", PostgresNotifier, 30.0),
        (POSTGRES, "postgres", PostgresNotifier, 30.0),
        (POSTGRES, "local", LocalNotifier, 5.0),
        (POSTGRES, "amqp://127.0.0.1:1", BrokerNotifier, 5.0),
        (POSTGRES, "kafka://127.0.0.1:1,127.0.0.1:2", BrokerNotifier, 5.0),
    ],
)
def test_the_notifier_that_is_asked_for(  # noqa: PLR0917 - a row of a table
    store: str, notifier: str, kind: type, rarest_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_NOTIFIER", notifier)
    hr = Headrace(store.format(tmp_path))
    assert type(hr.notifier) is kind
    assert poll_max_s(hr.notifier) == rarest_s


@pytest.mark.parametrize(
    ("notifier", "words"),
    [
        (
            "reddis",
            r"^HEADRACE_NOTIFIER=reddis is no notifier: use auto, none, local, postgres, or a broker: redis://h",
        ),
        ("ada:s3cret@host", r"^HEADRACE_NOTIFIER=… is no notifier: use auto, "),
        ("mongodb://ada:s3cret@host", r"^HEADRACE_NOTIFIER mongodb://… is no broker that there is: use redis://host"),
        ("redis://ada:s3cret@host:0", r"^HEADRACE_NOTIFIER redis://ada:…@host:0 has a host or a port that cannot be"),
        ("amqp://ada:s3c@ret@host", r"^HEADRACE_NOTIFIER amqp://… is no URL of a broker: percent-encode user and pass"),
        ("postgres", r"^HEADRACE_NOTIFIER=postgres is for a store on PostgreSQL; use local, or a broker: redis://host"),
    ],
)
def test_nonsense_is_told_at_once_and_without_a_password(notifier: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=words) as caught:
        Headrace(SQLITE.format(tmp_path), notifier=notifier)
    assert "s3c" not in str(caught.value)


def test_a_client_that_is_not_installed_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("headrace.notifiers.redis_line", "headrace.clients.redis"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delattr(clients, "redis", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(InvalidConfig, match=r"NOTIFIER redis://ada:…@host needs redis: pip install '.*redis]'$"):
        Headrace(SQLITE.format(tmp_path), notifier="redis://ada:s3cret@host")


def test_no_repr_has_the_password(tmp_path: Path) -> None:
    url = "redis://ada:s3cret@host"
    hr = Headrace(SQLITE.format(tmp_path), notifier=url)
    assert "s3cret" not in repr(hr) + repr(hr.settings) + repr(hr.notifier) + repr(hr.notifier.health) + repr(vars(hr))
    assert "s3cret" not in repr(Settings(notifier=url))


async def test_a_notifier_of_ones_own(tmp_path: Path) -> None:
    bell = NoNotifier()
    hr = Headrace(SQLITE.format(tmp_path), notifier=bell)
    assert hr.notifier is bell
    await hr.open()
    await hr.close()


def test_a_memory_store_in_a_test_needs_no_broker(tmp_path: Path) -> None:
    hr = Headrace(SQLITE.format(tmp_path), notifier="redis://127.0.0.1:1")
    with memory(hr):
        assert isinstance(hr.notifier, LocalNotifier)
