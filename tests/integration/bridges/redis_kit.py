"""A bare client of Redis."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis as Client
from redis.exceptions import ConnectionError as Away

from headrace.core.broker import Broker, broker
from servers.redis import Redis


@dataclass(frozen=True)
class Stream:
    """As an address of an app has it."""

    key: str
    group: str | None = "group"
    start: str = "0"


def broker_of(server: Redis, url: str | None = None) -> Broker:
    return broker(url or server.url(), "HEADRACE_REDIS_URL")


@asynccontextmanager
async def bare(server: Redis) -> AsyncGenerator[Any, None]:
    """A client, as soon as the server answers."""
    client: Any = Client.from_url(server.url(), protocol=2, socket_timeout=None)
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    await client.ping()
                    break
                except Away:
                    await asyncio.sleep(0.1)
        yield client
    finally:
        await client.aclose()


async def add(server: Redis, stream: str, entries: Sequence[Mapping[str | bytes, str | bytes]]) -> list[bytes]:
    """Their ids."""
    async with bare(server) as client:
        return [await client.xadd(stream, dict(fields)) for fields in entries]


async def read_all(server: Redis, stream: str) -> list[dict[bytes, bytes]]:
    async with bare(server) as client:
        return [fields for _, fields in await client.xrange(stream)]
