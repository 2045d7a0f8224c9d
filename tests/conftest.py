"""What every test of the repository shares."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

import pytest

from servers.kafka import Kafka
from servers.nats import Nats
from servers.pgbouncer import PgBouncer
from servers.postgres import Postgres
from servers.rabbitmq import RabbitMQ
from servers.redis import Redis
from servers.server import MissingError, Server

S = TypeVar("S", bound=Server)
ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by directory, so that `-m e2e` never misses a file."""
    for item in items:
        if ROOT / "tests" / "e2e" in item.path.parents:
            item.add_marker(pytest.mark.e2e)


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI may not skip", pytrace=False)
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def missing() -> Callable[[str], NoReturn]:
    """Skip on a laptop, fail in CI: what a test calls when a server or a program that it needs is not there."""
    return _missing


def started(make: Callable[[], S], missing: Callable[[str], NoReturn]) -> S:
    """A server that has been started, if there is one on this machine."""
    try:
        return make()
    except MissingError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def postgres(missing: Callable[[str], NoReturn]) -> Iterator[Postgres]:
    """A PostgreSQL server for the whole run; a test that restarts it leaves it running."""
    with started(Postgres, missing) as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer(postgres: Postgres, missing: Callable[[str], NoReturn]) -> Iterator[PgBouncer]:
    """A pooler by transaction in front of it."""
    with started(lambda: PgBouncer(postgres), missing) as pooler:
        yield pooler


@pytest.fixture(scope="session")
def redis(missing: Callable[[str], NoReturn]) -> Iterator[Redis]:
    """A Redis server for the whole run; a test that kills it starts it again."""
    with started(Redis, missing) as server:
        yield server


@pytest.fixture(scope="session")
def nats(missing: Callable[[str], NoReturn]) -> Iterator[Nats]:
    """A NATS server with JetStream for the whole run; a test that kills it starts it again."""
    with started(Nats, missing) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq(missing: Callable[[str], NoReturn]) -> Iterator[RabbitMQ]:
    """A RabbitMQ broker for the whole run; a test that kills it starts it again."""
    with started(RabbitMQ, missing) as server:
        yield server


@pytest.fixture(scope="session")
def kafka(missing: Callable[[str], NoReturn]) -> Iterator[Kafka]:
    """A Kafka server for the whole run; a test that kills it starts it again."""
    with started(Kafka, missing) as server:
        yield server


class Own(Protocol):
    """Starts a server for one test: `own(Redis)`."""

    def __call__(self, make: Callable[[], S]) -> S: ...


@pytest.fixture
def own(missing: Callable[[str], NoReturn]) -> Iterator[Own]:
    """Starts servers of a test's own, which it may do anything to; they end with it."""
    with ExitStack() as stack:
        yield lambda make: stack.enter_context(started(make, missing))


@pytest.fixture(scope="session")
def _postgres_scratch(postgres: Postgres) -> str:
    return postgres.create_database()


@pytest.fixture
def postgres_url(postgres: Postgres, _postgres_scratch: str) -> str:
    """An empty database on the server; `pgbouncer.url(postgres_url)` is the same by the pooler.

    It is the same one for every test, made empty: to make and drop one takes a second.
    """
    postgres.empty(_postgres_scratch)
    return _postgres_scratch


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file that is not there yet."""
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Where the Chromium is that browser tests launch."""
    found = subprocess.run([ROOT / "scripts" / "find-chromium.sh"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        _missing("Chromium (`scripts/preflight.sh --browser` names the command that installs it)")
    return Path(found.stdout.strip())


@pytest.fixture(scope="session")
def chromium_args() -> list[str]:
    """Switches for a Chromium that talks to nobody but the page under test, and that also starts for root."""
    return [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]


@pytest.fixture(scope="session")
def photographs() -> list[Path]:
    """Real photographs, largest last, from the wheel of scikit-image."""
    skimage = pytest.importorskip("skimage")
    data = Path(skimage.__file__).parent / "data"
    names = ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png", "hubble_deep_field.jpg", "retina.jpg")
    return sorted((data / name for name in names), key=lambda photo: photo.stat().st_size)
