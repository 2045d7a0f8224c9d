"""What store URLs name, which cannot work, and that no password is shown."""

import pytest

from headrace.app import Headrace
from headrace.core.errors import InvalidConfig
from headrace.settings import Settings
from headrace.stores.urls import database, shown_url

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql://u:s3cret@h:5432/db", "postgresql://u:…@h:5432/db"),
        ("postgresql://u:%73%33cret%40x@h/db", "postgresql://u:…@h/db"),
        ("postgresql://h/db?user=u&password=s3cret", "postgresql://h/db"),
        ("postgresql://u:x:s3cret@h1:1,[::1]:2/db", "postgresql://u:…@h1:1,[::1]:2/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db"),
        ("postgresql+asyncpg://u:s3cret@h/db", "postgresql+asyncpg://u:…@h/db"),
        ("mysql://u:s3cret@h/db", "mysql://u:…@h/db"),
        ("sqlite:////srv/jobs.db", "sqlite:////srv/jobs.db"),
        ("jobs.db", "jobs.db"),
        # Written so that nobody can tell what the password is: then nothing of it is shown.
        ("postgresql://u:x@s3cret@h/db", "postgresql://…"),
        ("postgresql://u:s3cret/x@h/db", "postgresql://…"),
        ("postgresql://u:x/s3cret@h/db", "postgresql://…"),
        ("postgresql://u:s3cret?x@h/db", "postgresql://…"),
        ("postgresql://u:x@s3cret?x@h/db", "postgresql://…"),
        ("postgresql://u:s3cret#x@h/db", "postgresql://…"),
        ("postgresql://u:x#s3cret@h/db", "postgresql://…"),
        ("postgresql://u:s3cret", "postgresql://…"),
        ("postgresql://h/db?password=x@s3cret", "postgresql://…"),
        ("POSTGRESQL://u:s3cret@h/db", "POSTGRESQL://…"),
        ("host=h user=u password=s3cret", "…"),
        ("u:s3cret@h/db", "…"),
    ],
)
def test_what_is_shown_has_no_password(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql://u@h/db", "h/db"),
        ("postgres://u:p:w@h:5433/db", "h:5433/db"),
        ("postgresql://h1:1,h2:2/db?target_session_attrs=read-write", "h1:1,h2:2/db"),
        ("postgresql://u@[fe80::1%25eth0]:5432/db", "[fe80::1%eth0]:5432/db"),
        ("postgresql:///db?host=/run/postgresql", "/run/postgresql/db"),
        ("postgresql://u@%2Frun%2Fpostgresql/db", "/run/postgresql/db"),
        ("postgresql://u@h?dbname=db", "h/db"),
        ("postgresql://u@h/b%C3%BCro", "h/büro"),
        ("postgresql://?service=jobs", "/"),
    ],
)
def test_what_a_url_names(url: str, where: str) -> None:
    assert str(database(url)) == where


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:s3cret@h", "'postgresql://u:…@h' names no database: write postgresql://user@host/database"),
        ("postgresql://u:s3cret@h/", "names no database"),
        ("postgresql://", "names no database"),
        ("postgresql+asyncpg://u:s3cret@h/db", "names a driver, and headrace has its own: write postgresql://"),
        ("postgresql+psycopg://u:s3cret@h/db", "names a driver"),
        ("postgres+psycopg2://u:s3cret@h/db", "names a driver"),
        ("postgresql://u:p@s3cret@h/db", "@ is %40"),
        ("postgresql://u:s3cret/@h/db", "@ is %40"),
        ("postgresql://u:s3cret#@h/db", "@ is %40"),
        ("postgresql://u:s3cret?@h/db", "@ is %40"),
        ("postgresql://u:s3cret@h:fivefour/db", "has a host or a port that cannot be"),
        ("postgresql://u:s3cret@h:0/db", "has a host or a port that cannot be"),
        ("postgresql://u:s3cret@h:65536/db", "has a host or a port that cannot be"),
        ("postgresql://u:s3cret@h1:1,h2:x/db", "has a host or a port that cannot be"),
        ("postgresql://u:s3cret@::1/db", "has a host or a port that cannot be"),
        ("postgresql://u:s3cret@h:/db", "has a host or a port that cannot be"),
        ("postgresql://u:s3cret", "the port as a number"),
        ("postgresql://u:s3cret@h/db?s3cret", "options as ?name=value"),
        ("postgresql://u:s3cret@db..internal/db", "has a host"),
        (f"postgresql://u:s3cret@{'a' * 64}.internal/db", "has a host"),
        ("postgresql:/u:s3cret@h/db", "is no PostgreSQL database"),
    ],
)
def test_what_cannot_work_is_told_without_the_password(url: str, said: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        Headrace(url)
    assert said in str(refused.value)
    assert str(refused.value).startswith("the store '")
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    with pytest.raises(InvalidConfig) as refused:
        Headrace(settings=Settings(store="postgresql://u@h/db", listen_url=url))
    assert said in str(refused.value)
    assert str(refused.value).startswith("HEADRACE_LISTEN_URL '")
    assert SECRET not in str(refused.value)


def test_nothing_that_is_printed_has_the_password() -> None:
    url = "postgresql://u:s3cret@h/db?password=s3cret"
    settings = Settings(store=url, listen_url=url)
    assert SECRET not in repr(settings) + str(settings)
    assert repr(Headrace(settings=settings)) == "<Headrace postgresql://u:…@h/db: 0 tasks>"
