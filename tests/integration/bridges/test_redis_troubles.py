"""What Redis refuses, in one sentence without the password; and what only streams have."""

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headrace.bridges.redis import RedisSink, RedisSource
from headrace.core.errors import BridgeRefused, BridgeUnavailable
from headrace.core.event import Head
from headrace.ports.bridge import SourceLink
from headrace.testing.conformance.bridge_base import Desk, bodies, fetched, numbered
from headrace.testing.conformance.bridge_sink import outgoing, sent
from servers.redis import Redis
from servers.server import free_port
from tests.integration.bridges.redis_kit import Stream, add, bare, broker_of, read_all

REFUSED = "refuses the user or the password that its URL gives, or lets that user do too little"


@pytest.fixture
async def stream(redis: Redis) -> AsyncIterator[str]:
    name = f"stream-{secrets.token_hex(4)}"
    yield name
    async with bare(redis) as client:
        await client.delete(name)


def source(server: Redis, stream: str | Stream, url: str | None = None, **options: Any) -> RedisSource:
    address = Stream(stream) if isinstance(stream, str) else stream
    return RedisSource(broker_of(server, url), address, "redis:test", **options)


async def opened(server: Redis, stream: str | Stream, url: str | None = None, **options: Any) -> SourceLink:
    return await source(server, stream, url, **options).open(Desk().stand)


async def pending(server: Redis, stream: str) -> int:
    async with bare(server) as client:
        return int((await client.xpending(stream, "group"))["pending"])


async def test_it_does_not_let_us_in(redis: Redis, stream: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    at = f"127.0.0.1:{redis.port}"
    async with bare(redis) as client:
        await client.execute_command("ACL", "SETUSER", "cara", "on", ">right", "+@all", "-xadd", "-xgroup", "~*")
    for url in (f"redis://cara:wr0ng@{at}", f"redis://cara:right@{at}"):  # one may not make groups
        with pytest.raises(BridgeRefused) as caught:
            await opened(redis, stream, url)
        assert str(caught.value) == f"redis://cara:…@{at} {REFUSED}"
    told = await sent(RedisSink(broker_of(redis, f"redis://cara:wr0ng@{at}")), outgoing(stream, [b"x"]))
    assert told.unsent == {1: f"redis://cara:…@{at} {REFUSED}"}
    sink = RedisSink(broker_of(redis, f"redis://cara:right@{at}"))
    told = await sent(sink, outgoing(stream, [b"x"]))
    assert told.refused[1].startswith(f"the user of redis://cara:…@{at} may not add to {stream}: ")
    await sink.close()
    assert "wr0ng" not in caplog.text


async def test_it_is_away(redis: Redis) -> None:
    url = f"redis://ada:s3cret@127.0.0.1:{free_port()}/0"
    with pytest.raises(BridgeUnavailable, match=r"redis://ada:…@127.0.0.1:\d+/0 is not reached \("):
        await opened(redis, "s", url)
    told = await sent(RedisSink(broker_of(redis, url)), outgoing("s", [b"x"]))
    assert "is not reached" in told.unsent[1]


async def test_the_key_is_no_stream(redis: Redis, stream: str) -> None:
    words = f"the key {stream} of {broker_of(redis).shown} is no stream: name another, or rename that one"
    async with bare(redis) as client:
        await client.set(stream, "text")
    with pytest.raises(BridgeRefused) as caught:
        await opened(redis, stream)
    assert str(caught.value) == words
    sink = RedisSink(broker_of(redis))
    other = f"{stream}-other"
    told = await sent(sink, [*outgoing(stream, [b"x"]), *outgoing(other, [b"y"], first=2)])
    assert (told.refused, told.confirmed) == ({1: words}, [2])
    await sink.close()
    async with bare(redis) as client:
        await client.delete(other)


async def test_a_server_that_is_full_is_no_fault_of_the_event(own: Any) -> None:
    server = await asyncio.to_thread(own, Redis)
    async with bare(server) as client:
        await client.config_set("maxmemory", "1mb")
    sink = RedisSink(broker_of(server))
    told = await sent(sink, outgoing("events", numbered(3)))
    assert len(told.unsent) == 3
    assert "OOM" in told.unsent[1] or "maxmemory" in told.unsent[1]
    async with bare(server) as client:
        await client.config_set("maxmemory", "100mb")
    assert len((await sent(sink, outgoing("events", numbered(3)))).confirmed) == 3
    await sink.close()


async def test_what_is_too_large_is_refused_alone(own: Any) -> None:
    server = await asyncio.to_thread(own, lambda: Redis({"proto-max-bulk-len": "1mb"}))
    sink = RedisSink(broker_of(server))
    events = [*outgoing("events", numbered(2)), *outgoing("events", [b"x" * 2_000_000], first=9)]
    told = await sent(sink, events)
    assert told.confirmed == [1, 2]
    assert told.refused == {
        9: f"2000000 bytes are more than the 1048576 of {broker_of(server).shown} (proto-max-bulk-len)"
    }
    await sink.close()


async def test_50_megabytes_come_whole(redis: Redis, stream: str) -> None:
    body = b"x" * 50_000_000
    await add(redis, stream, [{"data": b"before"}, {"data": body}, {"data": b"after"}])
    link = await opened(redis, stream)
    got = await fetched(link, 3)
    assert [len(each) for each in bodies(got)] == [6, 50_000_000, 5]
    await link.done(got)
    await link.close()
    assert await pending(redis, stream) == 0


async def test_what_a_dead_consumer_left_comes_to_another(redis: Redis, stream: str) -> None:
    await add(redis, stream, [{"data": body} for body in numbered(5)])
    async with bare(redis) as client:
        await client.xgroup_create(stream, "group", id="0")
        await client.xreadgroup("group", "dead", {stream: ">"}, count=3)
    link = await opened(redis, stream, idle_s=1.0, sweep_s=0.1)
    desk = Desk()
    await desk.take(link, await fetched(link, 2))
    assert desk.bodies == numbered(5)[3:]
    await desk.take(link, await fetched(link, 3))
    assert desk.bodies == [*numbered(5)[3:], *numbered(3)]
    assert await pending(redis, stream) == 0
    await link.close()


async def test_what_a_process_has_itself_it_does_not_take_again(redis: Redis, stream: str) -> None:
    await add(redis, stream, [{"data": body} for body in numbered(5)])
    link = await opened(redis, stream, idle_s=0.1, sweep_s=0.05)
    got = await fetched(link, 5)
    assert not await link.fetch(10, 0.5)
    await link.done(got)
    assert await pending(redis, stream) == 0
    await link.close()


async def test_a_group_that_is_lost_is_made_again_at_the_beginning(redis: Redis, stream: str) -> None:
    await add(redis, stream, [{"data": b"one"}])
    link = await opened(redis, stream)
    await link.done(await fetched(link, 1))
    async with bare(redis) as client:
        await client.xgroup_destroy(stream, "group")
    await add(redis, stream, [{"data": b"two"}])
    assert bodies(await fetched(link, 2)) == [b"one", b"two"]
    async with bare(redis) as client:
        await client.delete(stream)
    await link.fetch(1, 0.1)
    await add(redis, stream, [{"data": b"three"}])
    assert bodies(await fetched(link, 1)) == [b"three"]
    await link.close()


async def test_a_new_group_begins_where_it_is_told(redis: Redis, stream: str) -> None:
    await add(redis, stream, [{"data": b"old"}])
    reader = source(redis, Stream(stream, start="$"))
    link = await reader.open(Desk().stand)
    await add(redis, stream, [{"data": b"new"}])
    assert bodies(await fetched(link, 1)) == [b"new"]
    await link.close()
    async with bare(redis) as client:
        await client.xgroup_destroy(stream, "group")
    link = await reader.open(Desk().stand)  # it had a place, so that nothing may be passed over
    assert bodies(await fetched(link, 2)) == [b"old", b"new"]
    await link.close()


async def test_entries_that_were_deleted_while_they_were_pending_are_passed_over(redis: Redis, stream: str) -> None:
    ids = await add(redis, stream, [{"data": body} for body in numbered(3)])
    first = await opened(redis, stream, idle_s=5.0)
    await fetched(first, 3)
    await first.close()
    async with bare(redis) as client:
        await client.xdel(stream, ids[1])
    link = await opened(redis, stream, idle_s=5.0)
    got = await fetched(link, 2)
    assert bodies(got) == [b"message 0", b"message 2"]
    await link.done(got)
    assert await pending(redis, stream) == 0
    await link.close()


async def test_consumers_do_not_gather(redis: Redis, stream: str) -> None:
    for _ in range(3):
        link = await opened(redis, stream)
        await link.fetch(1, 0.05)
        await link.close()
    async with bare(redis) as client:
        assert await client.xinfo_consumers(stream, "group") == []


async def test_an_entry_is_a_message_whatever_its_fields_are(redis: Redis, stream: str) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
    ids = await add(
        redis,
        stream,
        [
            {"order": "7", "total": "5"},
            {"data": "{}", "content-type": "application/json", "x": b"\xff"},
            {"event": json.dumps(event)},
            {"raw": b"\xff\xfe"},
            {"data": "a", "message-id": "m-1"},
        ],
    )
    link = await opened(redis, stream)
    plain, data, structured, raw, named = (await fetched(link, 5)).messages
    assert (plain.body, plain.content_type, plain.headers) == (b'{"order":"7","total":"5"}', "application/json", {})
    assert (data.body, data.content_type, data.headers) == (b"{}", "application/json", {"x": "\\xff"})
    assert (json.loads(structured.body), structured.content_type) == (event, "application/cloudevents+json")
    assert (raw.body, raw.content_type) == (b"raw=\xff\xfe", "application/octet-stream")
    assert (named.body, named.id, named.headers) == (b"a", "m-1", {})
    assert plain.place == ids[0].decode()
    assert plain.id == f"{stream}:{plain.place}"
    assert plain.at == int(ids[0].partition(b"-")[0]) / 1000
    await link.close()


async def test_a_stream_is_kept_about_so_long(redis: Redis, stream: str) -> None:
    sink = RedisSink(broker_of(redis), maxlen=100)
    head = Head({"a": "b"}, "text/plain").text()
    told = await sent(sink, outgoing(stream, numbered(500), head=head))
    assert len(told.confirmed) == 500
    found = await read_all(redis, stream)
    assert 100 <= len(found) < 400
    assert found[-1] == {
        b"message-id": (500).to_bytes(16, "big").hex().encode(),
        b"a": b"b",
        b"content-type": b"text/plain",
        b"data": b"message 499",
    }
    await sink.close()
