"""Every error of the driver and of the network is one of ours, with what to do about it."""

import errno
import socket

import asyncpg
import pytest

from headrace.core.errors import (
    HeadraceError,
    InvalidConfig,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
    StoreUnusable,
)
from headrace.stores.postgres.faults import mapped, shown, unreached


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (socket.gaierror(-2, "Name or service not known"), StoreUnavailable, "its host is not known; check the host"),
        (UnicodeError("label empty or too long"), StoreUnavailable, "its host is not known; check the host"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), StoreUnavailable, "nobody listens there; start the server"),
        (FileNotFoundError(errno.ENOENT, "no socket"), StoreUnavailable, "nobody listens there; start the server"),
        (TimeoutError(), StoreUnavailable, "no answer in time; check host, port and firewalls"),
        (ConnectionError("rejected SSL upgrade"), StoreUnavailable, "check that it is a PostgreSQL server"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), StoreUnavailable, "No route to host"),
        (asyncpg.TooManyConnectionsError("sorry"), StoreUnavailable, "raise max_connections"),
        (asyncpg.CannotConnectNowError("the database system is starting up"), StoreUnavailable, "wait for it"),
        (asyncpg.ReadOnlySQLTransactionError("cannot execute"), StoreUnavailable, "jobs need the primary"),
        (asyncpg.LockNotAvailableError("lock timeout"), StoreUnavailable, "a `headrace migrate`?"),
        (asyncpg.DeadlockDetectedError("deadlock"), StoreUnavailable, "two at once"),
        (asyncpg.InvalidPasswordError("failed"), StoreUnusable, "check user and password"),
        (asyncpg.InvalidAuthorizationSpecificationError("no"), StoreUnusable, "pg_hba.conf"),
        (asyncpg.InvalidCatalogNameError("no"), StoreUnusable, "as `createdb` does"),
        (asyncpg.InsufficientPrivilegeError("permission denied"), StoreUnusable, "have it GRANT what is missing"),
        (asyncpg.UndefinedObjectError('parameter "ssl"'), StoreUnusable, "an option of the store's URL: drop it"),
        (asyncpg.UndefinedTableError('relation "x"'), SchemaMismatch, "`headrace doctor` says what"),
        (asyncpg.UndefinedFunctionError("function x()"), SchemaMismatch, "`headrace migrate` makes what is pending"),
        (asyncpg.NumericValueOutOfRangeError("too big"), StoreError, "answered with an error: too big [22003]"),
        (asyncpg.InternalServerError("odd"), StoreUnusable, "answered with an error: odd [XX000]"),
    ],
)
def test_each_has_its_remedy(error: Exception, kind: type[HeadraceError], said: str) -> None:
    found = unreached(error, "h:5432/shop")
    assert type(found) is kind
    assert "h:5432/shop" in str(found)
    assert said in str(found)
    assert type(mapped(error, "h:5432/shop")) is kind


def test_options_that_the_driver_cannot_use() -> None:
    error = asyncpg.exceptions.ClientConfigurationError("`sslmode` parameter must be one of: disable, allow")
    assert isinstance(unreached(error, "h/shop"), InvalidConfig)
    assert isinstance(unreached(ValueError("invalid literal for int() with base 10: 'x'"), "h/shop"), InvalidConfig)


def test_a_message_of_many_lines_is_one() -> None:
    assert "\n" not in str(mapped(asyncpg.InternalServerError("odd\nDETAIL: very"), "h/shop"))


def test_ours_stays_ours_and_nothing_shows_a_password() -> None:
    ours = StoreUnavailable("it is away")
    assert mapped(ours, "h/shop") is ours
    assert shown("postgresql://ann:s3cret@h:1/shop?password=s3cret") == "h:1/shop"
    assert shown("postgresql://ann:s3cret@h:x/shop") == "PostgreSQL"
