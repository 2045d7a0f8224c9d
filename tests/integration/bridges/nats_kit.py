"""A bare client of NATS."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import nats as client
from nats.errors import Error as NatsError

from headrace.core.broker import Broker, broker
from headrace.testing.conformance import Found
from servers.nats import Nats

logging.getLogger("nats").setLevel(logging.CRITICAL)  # of what the bare client does


@dataclass(frozen=True)
class Subject:
    """As an address of an app has it."""

    subject: str
    stream: str | None = None
    durable: str | None = "durable"


def broker_of(server: Nats, url: str | None = None) -> Broker:
    return broker(url or server.url(), "HEADRACE_NATS_URL")


@asynccontextmanager
async def bare(server: Nats) -> AsyncGenerator[Any, None]:
    """JetStream, as soon as the server gives it."""

    async def quiet(error: Exception) -> None:
        pass

    async with asyncio.timeout(20):
        while True:
            try:
                connection: Any = await client.connect(
                    server.url(), allow_reconnect=False, connect_timeout=2, error_cb=quiet
                )
                jetstream: Any = connection.jetstream()
                await jetstream.account_info()
                break
            except (NatsError, OSError):
                await asyncio.sleep(0.1)
    try:
        yield jetstream
    finally:
        await connection.close()


async def new_stream(server: Nats, name: str | None = None, **config: Any) -> str:
    """Its name; it keeps the subjects `<name>.>`."""
    name = name or f"stream-{secrets.token_hex(4)}"
    async with bare(server) as jetstream:
        await jetstream.add_stream(name=name, subjects=[f"{name}.>"], **config)
    return name


async def publish(
    server: Nats, subject: str, bodies: Sequence[bytes], headers: Mapping[str, str] | None = None, *, ids: bool = True
) -> None:
    async with bare(server) as jetstream:
        for body in bodies:
            own = {"Nats-Msg-Id": secrets.token_hex(8)} if ids else {}
            await jetstream.publish(subject, body, headers={**own, **(headers or {})} or None)


async def raw(server: Nats, data: bytes) -> None:
    """Whatever bytes, as a client would write them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n' + data + b"PING\r\n")
    async with asyncio.timeout(10):
        while b"PONG" not in await reader.readline():
            pass
    writer.close()
    await writer.wait_closed()


async def read_all(server: Nats, stream: str) -> list[Found]:
    found: list[Found] = []
    async with bare(server) as jetstream:
        state = (await jetstream.stream_info(stream)).state
        for sequence in range(state.first_seq, state.last_seq + 1):
            one = await jetstream.get_msg(stream, sequence)
            headers = one.headers or {}
            found.append(Found(one.data or b"", headers.get("Nats-Msg-Id"), headers, headers.get("Content-Type")))
    return found
