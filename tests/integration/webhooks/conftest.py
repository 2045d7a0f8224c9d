"""A Headrace on a file or a server, a receiver, retries that come soon, and a certificate of one's own."""

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NoReturn

import pytest

from headrace import Headrace
from headrace.app import webhooks
from headrace.runtime import webhook
from tests.integration.calling.flaky import Flaky
from tests.integration.webhooks.kit import NAME, QUICKLY, Names, receiving


@pytest.fixture(params=["sqlite_url", "postgres_url"], ids=["sqlite", "postgres"])
async def hr(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Headrace]:
    monkeypatch.setattr(webhooks, "SCHEDULE", QUICKLY)
    monkeypatch.setattr(webhook, "SCHEDULE", QUICKLY)
    made = Headrace(request.getfixturevalue(request.param))
    yield made
    await made.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Flaky]:
    async with receiving() as flaky:
        yield flaky


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    made = Names()
    made.install(monkeypatch)
    return made


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str], NoReturn]) -> tuple[Path, Path]:
    """A certificate for `NAME`, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("openssl")
    place = tmp_path_factory.mktemp("tls")
    cert, key = place / "cert.pem", place / "key.pem"
    made = subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2"),
            *("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return cert, key


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """The server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """The client's side."""
    return ssl.create_default_context(cafile=str(certificate[0]))
