"""Streams of Redis as a source and as a sink: the public suites."""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from headrace.bridges.redis import RedisSink, RedisSource, client
from headrace.testing.conformance import (
    BridgeSinkConformance,
    BridgeSourceConformance,
    Found,
    MakeSink,
    MakeSource,
    OrderedSourceConformance,
    Outage,
    Put,
    Read,
    ServedSinkConformance,
    ServedSourceConformance,
)
from servers.redis import Redis
from tests.integration.bridges.redis_kit import Stream, add, bare, broker_of, read_all
from tests.integration.notifiers.outage import ServerOutage

IDLE_S = 4.0
SWEEP_S = 0.5


@pytest.fixture
async def stream(redis: Redis) -> AsyncIterator[str]:
    name = f"stream-{secrets.token_hex(4)}"
    yield name
    async with bare(redis) as its:
        await its.delete(name)


@pytest.fixture
def outage(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Outage:
    for name in ("CONNECT_S", "ANSWER_S"):  # it is not worth the time to wait for longer
        monkeypatch.setattr(client, name, 2.0)
    return ServerOutage(redis)


@pytest.fixture
def put(redis: Redis, stream: str) -> Put:
    async def put(
        bodies: Sequence[bytes],
        *,
        key: str = "key",
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> None:
        fields: dict[str, Any] = dict(headers or {})
        if content_type is not None:
            fields["content-type"] = content_type
        await add(redis, stream, [{**fields, "data": body} for body in bodies])

    return put


class TestSource(ServedSourceConformance, BridgeSourceConformance):
    @pytest.fixture
    def make_source(self, redis: Redis, stream: str) -> MakeSource:
        return lambda: RedisSource(
            broker_of(redis), Stream(stream), f"redis:{stream}:group", idle_s=IDLE_S, sweep_s=SWEEP_S
        )


class TestOrderedSource(OrderedSourceConformance):
    @pytest.fixture
    def make_source(self, redis: Redis, stream: str) -> MakeSource:
        return lambda: RedisSource(broker_of(redis), Stream(stream), f"redis:{stream}:group", ordered=True)


class TestSink(ServedSinkConformance, BridgeSinkConformance):
    @pytest.fixture
    def make_sink(self, redis: Redis) -> MakeSink:
        return lambda: RedisSink(broker_of(redis))

    @pytest.fixture
    def target(self, stream: str) -> str:
        return stream

    @pytest.fixture
    def read(self, redis: Redis) -> Read:
        async def read(target: str) -> list[Found]:
            found: list[Found] = []
            for fields in await read_all(redis, target):
                body, id_ = fields.pop(b"data"), fields.pop(b"message-id").decode()
                media = fields.pop(b"content-type", None)
                headers = {name.decode(): value.decode() for name, value in fields.items()}
                found.append(Found(body, id_, headers, media and media.decode()))
            return found

        return read
