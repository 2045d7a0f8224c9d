"""A client that is gone before its connection is closed: nobody is told of an error."""

import asyncio
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from headrace import Headrace
from headrace.settings import Settings

Message = MutableMapping[str, Any]
SCOPE = {
    "type": "websocket",
    "path": "/headrace/ws",
    "raw_path": b"/headrace/ws",
    "query_string": b"",
    "headers": [(b"host", b"testserver")],
    "subprotocols": ["headrace.v1"],
    "server": ("testserver", 80),
    "client": ("127.0.0.1", 40000),
    "scheme": "ws",
    "state": {},
}


class Gone:
    """A client that goes without a word once it is connected: the server learns it when it closes."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.accepted = asyncio.Event()
        self._connected = False

    async def receive(self) -> Message:
        if self._connected:
            await asyncio.Event().wait()
        self._connected = True
        return {"type": "websocket.connect"}

    async def send(self, message: Message) -> None:
        self.taken.append(message["type"])
        self.accepted.set()
        if message["type"] == "websocket.close":
            raise ConnectionResetError  # as uvicorn's ClientDisconnected, which is an OSError too


@asynccontextmanager
async def served(settings: Settings) -> AsyncGenerator[FastAPI]:
    app = FastAPI()
    Headrace("memory://", settings=settings).install(app)
    async with asyncio.timeout(10), app.router.lifespan_context(app):
        yield app


async def test_gone_before_the_close_for_silence() -> None:
    gone = Gone()
    async with served(Settings(connect_timeout_s=0.05)) as app:
        await app(SCOPE, gone.receive, gone.send)
    assert gone.taken == ["websocket.accept", "websocket.close"]


async def test_gone_before_the_close_of_a_full_process() -> None:
    first, gone = Gone(), Gone()
    async with served(Settings(connections_max=1, connect_timeout_s=0.5)) as app:
        connected = asyncio.ensure_future(app(SCOPE, first.receive, first.send))
        await first.accepted.wait()
        await app(SCOPE, gone.receive, gone.send)
        assert not connected.done()
        await connected
    assert gone.taken == ["websocket.accept", "websocket.close"]
