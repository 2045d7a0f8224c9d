"""The servers that the peers need: started on loopback and free ports, in temporary folders, and stopped again."""

import contextlib
import socket
import time
from collections.abc import Callable

from bench.peers.trees import Tree
from bench.processes import TooSlowError

START_S = 60.0


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def until_ready(tree: Tree, is_ready: Callable[[], bool], name: str) -> None:
    """Wait for a server that has been started; stop it when it does not come.

    Raises:
        TooSlowError: it ended, or has not answered in time.
    """
    give_up = time.monotonic() + START_S
    while not is_ready():
        if not tree.is_alive or time.monotonic() > give_up:
            tree.stop()
            raise TooSlowError(f"{name} does not start: {tree.last_words()}")
        time.sleep(0.05)


def ask(port: int, question: bytes, answer_bytes: int = 64) -> bytes:
    """What a server answers first; nothing if it does not."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
        connection.sendall(question)
        return connection.recv(answer_bytes)
    return b""
