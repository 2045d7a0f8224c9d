"""Settings: from arguments, then HEADRACE_*, then defaults; nonsense is refused by name."""

import os

import pytest

from headrace.core.errors import InvalidConfig
from headrace.ports.store import StoreSettings
from headrace.settings import Auth, Settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)


def test_the_defaults_of_the_store_are_the_stores_own() -> None:
    assert Settings().store_settings() == StoreSettings()


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LEASE_S", "20")
    assert Settings().lease_s == 20
    assert Settings(lease_s=3).lease_s == 3
    assert Settings(lease_s=3).store_settings().lease_s == 3


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_AUTH", "")
    assert Settings().auth is Auth.ON


def test_what_a_supervisor_tells_its_child_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_WORKER_ID", "w_1")
    assert Settings().concurrency == 100


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lease_s": 0}, "lease_s: should be greater than 0, not 0"),
        ({"lease_s": float("inf")}, "lease_s"),
        ({"concurrency": "many"}, "concurrency: should be a valid integer"),
        ({"auth": "maybe"}, "auth: should be 'on' or 'off', not 'maybe'"),
        ({"stoer": "x"}, "stoer: there is no such setting"),
        ({"store": ""}, "store"),
    ],
)
def test_nonsense_is_refused_by_name(given: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidConfig, match="^" + said):
        Settings(**given)


def test_a_variable_is_named_as_it_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_GRACE_S", "-1")
    with pytest.raises(InvalidConfig, match=r"^HEADRACE_GRACE_S: should be greater than or equal to 0, not '-1'$"):
        Settings()


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidConfig) as refused:
        Settings(secret="hunter2")
    assert "hunter2" not in str(refused.value)
    assert "32 characters" in str(refused.value)
    assert "0123456789" not in repr(Settings(secret="0123456789" * 4))


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.lease_s = 1  # type: ignore[misc]
