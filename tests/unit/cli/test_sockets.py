"""Ports: in use is told in words, with who has it."""

import errno
import os
import socket
from pathlib import Path

import pytest

from headrace.cli import sockets
from headrace.cli.fail import Fail


def test_a_free_port_is_taken() -> None:
    with sockets.listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert sockets.address(listening) == f"http://127.0.0.1:{port}"
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass


def test_a_port_in_use_names_who_has_it_and_the_remedy() -> None:
    with sockets.listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(Fail) as refused:
            sockets.listen("127.0.0.1", port)
    said = str(refused.value)
    assert said.startswith(f"port {port} is in use")
    assert said.endswith(f"take another, as in --port {port + 1}")
    if Path("/proc/net/tcp").exists():
        assert f"by process {os.getpid()} (" in said


def test_who_cannot_be_seen_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_listening_inodes", lambda _: set())
    assert sockets.describe_holder(80) == ""


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "port 80 needs rights"),
        (errno.EADDRNOTAVAIL, "cannot listen on 10.1.2.3"),
    ],
)
def test_other_refusals(number: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> socket.socket:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(Fail, match=f"^{said}"):
        sockets.listen("10.1.2.3", 80)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("example.com", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert sockets.is_loopback(host) is loopback
