"""The API's server: what it still answers when it is asked to end."""

import asyncio
import socket
from collections.abc import Callable

from fastapi import FastAPI

from headrace.cli import run

app = FastAPI()


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not look():  # noqa: ASYNC110 - what the server does has no event
            await asyncio.sleep(0.005)


@app.get("/")
async def root() -> str:
    return "answered"


async def test_a_connection_taken_just_before_the_end_is_answered() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = run._server(app, access_log=False, local=True)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)  # taken, or waiting to be
    await until(lambda: server.server_state.connections)
    server.should_exit = True
    await until(lambda: not server.servers[0].is_serving())
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'"answered"')
    writer.close()
    await serving
