"""A way to the server that is cut at a commit: before it arrives, or when it has landed and before the answer."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

Cut = Literal["before", "after"]


class Cutter:
    """Listens on a port of its own; each connection is carried by two threads."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._server = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{self._listener.getsockname()[1]}")
        self.cut: Cut | None = None
        self.cuts = 0
        self._sockets: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._carrying: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(30)  # from then on there is no further connection
        self._end(*self._sockets)
        for thread in self._carrying:
            thread.join(30)
        for each in (self._listener, *self._sockets):
            each.close()
        assert not any(thread.is_alive() for thread in (self._accepting, *self._carrying))

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            lost = threading.Event()
            for target, one, other in ((self._ask, client, server), (self._answer, server, client)):
                self._carrying.append(threading.Thread(target=target, args=(one, other, lost), daemon=True))
                self._carrying[-1].start()

    def _ask(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        while data := self._read(client):
            if self.cut is not None and b"COMMIT" in data:
                cut, self.cut = self.cut, None
                self.cuts += 1
                lost.set()
                if cut == "before":
                    break
            if not self._sent(server, data):
                break
        self._end(server, client)

    def _answer(self, server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        while data := self._read(server):
            if lost.is_set() or not self._sent(client, data):
                break
        self._end(client, server)

    @staticmethod
    def _read(one: socket.socket) -> bytes:
        try:
            return one.recv(65536)
        except OSError:
            return b""

    @staticmethod
    def _sent(one: socket.socket, data: bytes) -> bool:
        try:
            one.sendall(data)
        except OSError:
            return False
        return True

    @staticmethod
    def _end(*sockets: socket.socket) -> None:
        for each in sockets:
            with suppress(OSError):  # it has ended
                each.shutdown(socket.SHUT_RDWR)
