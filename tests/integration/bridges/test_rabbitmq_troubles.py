"""What RabbitMQ refuses, in one sentence without the password; and what only queues have."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from headrace.bridges.rabbitmq import RabbitmqSink, RabbitmqSource
from headrace.bridges.rabbitmq import link as links
from headrace.core.errors import BridgeRefused, BridgeUnavailable
from headrace.core.event import Head, routed
from headrace.ports.bridge import SourceLink
from headrace.testing.conformance.bridge_base import Desk, bodies, fetched, numbered
from headrace.testing.conformance.bridge_sink import outgoing, sent
from servers.rabbitmq import RabbitMQ
from servers.server import free_port
from tests.integration.bridges.rabbitmq_kit import Queue, bare, broker_of, new_queue, publish, read_all

AT = "amqp://guest:…@127.0.0.1"


@pytest.fixture
async def queue(rabbitmq: RabbitMQ) -> AsyncIterator[str]:
    name = await new_queue(rabbitmq)
    yield name
    async with bare(rabbitmq) as channel:
        await channel.queue_delete(name)


def source(server: RabbitMQ, queue: str | Queue, url: str | None = None, *, ordered: bool = False) -> RabbitmqSource:
    address = Queue(queue) if isinstance(queue, str) else queue
    return RabbitmqSource(broker_of(server, url), address, "rabbitmq:test", ordered=ordered)


async def opened(server: RabbitMQ, queue: str | Queue, url: str | None = None, *, ordered: bool = False) -> SourceLink:
    return await source(server, queue, url, ordered=ordered).open(Desk().stand)


async def refusal(server: RabbitMQ, queue: str | Queue, url: str | None = None) -> str:
    with pytest.raises(BridgeRefused) as caught:
        await opened(server, queue, url)
    return str(caught.value)


async def test_it_does_not_let_us_in(rabbitmq: RabbitMQ, queue: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    at = f"127.0.0.1:{rabbitmq.port}"
    refused = "refuses the user or the password that its URL gives, or lets that user do too little"
    assert await refusal(rabbitmq, queue, f"amqp://guest:wr0ng@{at}/") == f"amqp://guest:…@{at} {refused}"
    assert await refusal(rabbitmq, queue, f"amqp://guest:guest@{at}/no") == f"amqp://guest:…@{at}/no {refused}"
    sink = RabbitmqSink(broker_of(rabbitmq, f"amqp://guest:wr0ng@{at}/"))
    told = await sent(sink, outgoing(routed("", queue), [b"x"]))
    assert told.unsent == {1: f"amqp://guest:…@{at} {refused}"}
    assert "wr0ng" not in caplog.text


async def test_it_is_away(rabbitmq: RabbitMQ) -> None:
    url = f"amqp://guest:s3cret@127.0.0.1:{free_port()}/"
    with pytest.raises(BridgeUnavailable, match=r"amqp://guest:…@127.0.0.1:\d+ is not reached \(Connect call failed"):
        await opened(rabbitmq, "q", url)
    told = await sent(RabbitmqSink(broker_of(rabbitmq, url)), outgoing(routed("", "q"), [b"x"]))
    assert "is not reached" in told.unsent[1]


async def test_there_is_no_such_queue(rabbitmq: RabbitMQ) -> None:
    assert await refusal(rabbitmq, "nowhere") == (
        f"there is no queue nowhere at {AT}:{rabbitmq.port}: declare it, or have it made by"
        " rabbitmq('nowhere', declare=True)"
    )


async def test_the_queue_was_declared_otherwise(rabbitmq: RabbitMQ) -> None:
    name = await new_queue(rabbitmq, {"x-max-length": 10})
    words = await refusal(rabbitmq, Queue(name, declare=True))
    assert words.startswith(
        f"the queue {name} of {AT}:{rabbitmq.port} was declared otherwise (inequivalent arg 'x-max-"
    )
    assert words.endswith("leave out declare=True, or delete the queue")
    async with bare(rabbitmq) as channel:
        await channel.queue_delete(name)


async def test_the_queue_is_another_connections(rabbitmq: RabbitMQ) -> None:
    async with bare(rabbitmq) as channel:
        await channel.queue_declare("mine", exclusive=True)
        assert await refusal(rabbitmq, "mine") == (
            f"the queue mine of {AT}:{rabbitmq.port} is exclusive to another connection"
        )


async def test_a_queue_is_made_and_bound(rabbitmq: RabbitMQ) -> None:
    address = Queue("made", "made-events", "order.paid", declare=True)
    assert await refusal(rabbitmq, address) == (f"there is no exchange made-events at {AT}:{rabbitmq.port}: declare it")
    async with bare(rabbitmq) as channel:
        await channel.exchange_declare("made-events", exchange_type="topic", durable=True)
    link = await opened(rabbitmq, address)
    sink = RabbitmqSink(broker_of(rabbitmq))
    told = await sent(sink, outgoing(routed("made-events", "order.paid"), [b"one"]))
    assert told.confirmed == [1]
    (message,) = (await fetched(link, 1)).messages
    assert (message.body, message.key) == (b"one", "order.paid")
    told = await sent(sink, outgoing(routed("made-events", "order.lost"), [b"two"]))
    assert told.refused == {
        1: f"no queue is bound to the exchange made-events at {AT}:{rabbitmq.port} for the routing key 'order.lost'"
    }
    await link.close()
    async with bare(rabbitmq) as channel:
        await channel.exchange_delete("made-events")
        await channel.queue_delete("made")
    told = await sent(
        sink, [*outgoing(routed("made-events", "x"), [b"x"]), *outgoing(routed("", "none"), [b"x"], first=9)]
    )
    assert "no exchange 'made-events'" in told.refused[1]  # it was there a moment ago
    (told,) = [await sent(sink, outgoing(routed("made-events", "x"), [b"x"]))]
    assert told.refused == {1: f"there is no exchange made-events at {AT}:{rabbitmq.port}: declare it"}
    await sink.close()


async def test_a_queue_that_is_deleted_is_told(rabbitmq: RabbitMQ) -> None:
    name = await new_queue(rabbitmq)
    link = await opened(rabbitmq, name)
    async with bare(rabbitmq) as channel:
        await channel.queue_delete(name)
    with pytest.raises(BridgeUnavailable, match=f"the queue {name} of .* is deleted or moved"):
        await link.fetch(1, 20)
    await link.close()
    assert "there is no queue" in await refusal(rabbitmq, name)


async def test_50_megabytes_come_whole(rabbitmq: RabbitMQ, queue: str) -> None:
    body = b"x" * 50_000_000
    await publish(rabbitmq, queue, [b"before", body, b"after"])
    link = await opened(rabbitmq, queue)
    got = await fetched(link, 3)
    assert [len(each) for each in bodies(got)] == [6, 50_000_000, 5]
    await link.done(got)
    await link.close()
    assert await read_all(rabbitmq, queue) == []


async def test_headers_of_any_type_are_text(rabbitmq: RabbitMQ, queue: str) -> None:
    headers: dict[str, Any] = {
        "text": "ä",
        "bytes": bytearray(b"\xff\x00a"),
        "number": 7,
        "real": 1.5,
        "decimal": Decimal("1.25"),
        "yes": True,
        "nothing": None,
        "at": datetime(2026, 11, 27, 12, 30, tzinfo=UTC),
        "table": {"a": [1, {"b": False}], "at": datetime(2026, 11, 27, tzinfo=UTC)},
    }
    await publish(
        rabbitmq,
        queue,
        [b"{}"],
        headers=headers,
        content_type="application/json",
        message_id="m-1",
        timestamp=datetime(2026, 11, 27, 12, 30, tzinfo=UTC),
    )
    link = await opened(rabbitmq, queue)
    (message,) = (await fetched(link, 1)).messages
    assert dict(message.headers) == {
        "text": "ä",
        "bytes": "\\xff\x00a",
        "number": "7",
        "real": "1.5",
        "decimal": "1.25",
        "yes": "true",
        "nothing": "",
        "at": "2026-11-27T12:30:00Z",
        "table": '{"a": [1, {"b": false}], "at": "2026-11-27T00:00:00Z"}',
    }
    assert (message.id, message.key, message.content_type) == ("m-1", queue, "application/json")
    assert message.at == datetime(2026, 11, 27, 12, 30, tzinfo=UTC).timestamp()
    await link.close()


async def test_a_message_without_an_id_has_none(rabbitmq: RabbitMQ, queue: str) -> None:
    async with bare(rabbitmq) as channel:
        await _publish_without_id(channel, queue)
    link = await opened(rabbitmq, queue)
    (message,) = (await fetched(link, 1)).messages
    assert (message.id, message.content_type, message.at, message.headers) == (None, None, None, {})
    await link.close()


async def _publish_without_id(channel: Any, queue: str) -> None:
    """As other clients do; aiormq gives one to what has none."""

    header = ContentHeader(body_size=1, properties=Basic.Properties())
    frames: list[Any] = [Basic.Publish(routing_key=queue), header, ContentBody(b"x")]
    drained = channel.create_future()
    await channel.write_queue.put(ChannelFrame.marshall(channel.number, frames, drained))
    await drained


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-max-length": 1000},
        {"x-single-active-consumer": True, "x-max-priority": 3},
        {"x-queue-type": "quorum", "x-single-active-consumer": True, "x-overflow": "reject-publish"},
    ],
)
async def test_an_ordered_queue_has_one_consumer_and_one_that_stands_by(
    rabbitmq: RabbitMQ, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "STAND_BY_S", 0.1)
    name = await new_queue(rabbitmq, arguments)
    desk = Desk()
    one, other = await opened(rabbitmq, name, ordered=True), await opened(rabbitmq, name, ordered=True)
    await publish(rabbitmq, name, numbered(10))
    await desk.take(one, await fetched(one, 4))
    await fetched(one, 3)
    assert not await other.fetch(10, 0.5)
    await one.close()
    await desk.take(other, await fetched(other, 6))
    assert desk.bodies == numbered(10)
    await other.close()
    async with bare(rabbitmq) as channel:
        await channel.queue_delete(name)


async def test_a_queue_that_keeps_no_order_is_refused_where_one_is_asked_for(rabbitmq: RabbitMQ) -> None:
    name = await new_queue(rabbitmq, {"x-queue-type": "quorum", "x-max-length": 7})
    with pytest.raises(BridgeRefused) as caught:
        await opened(rabbitmq, name, ordered=True)
    assert str(caught.value) == (
        f"the queue {name} of {AT}:{rabbitmq.port} gives to all of its consumers, so that nothing keeps an order:"
        " declare it with x-single-active-consumer"
    )
    link = await opened(rabbitmq, name)
    await link.close()
    async with bare(rabbitmq) as channel:
        await channel.queue_delete(name)


async def test_what_is_done_out_of_turn_acknowledges_nothing_else(rabbitmq: RabbitMQ, queue: str) -> None:
    await publish(rabbitmq, queue, numbered(12))
    link = await opened(rabbitmq, queue)
    first, second, third = await fetched(link, 4), await fetched(link, 4), await fetched(link, 4)
    await link.done(second)
    await link.back(third)
    await link.done(first)
    await link.done(await fetched(link, 1))
    await link.close()
    assert [each.body for each in await read_all(rabbitmq, queue)] == numbered(12)[9:]
    assert len(third) == 4


async def test_large_messages_make_it_take_fewer(
    rabbitmq: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "ROOM_BYTES", 1_000_000)
    monkeypatch.setattr(links, "FLOOD_BYTES", 4_000_000)
    sent_ = [bytes([n]) * 100_000 for n in range(30)]
    await publish(rabbitmq, queue, sent_)
    desk, reader = Desk(), source(rabbitmq, Queue(queue, prefetch=30))
    link: Any = await reader.open(desk.stand)
    await asyncio.sleep(0.3)
    assert link._bytes >= 1_000_000
    assert not link._consumer
    while len(desk.taken) < 30:
        await desk.take(link, await link.fetch(3, 1))
    assert desk.bodies == sent_
    assert reader._taking.count == 10
    await publish(rabbitmq, queue, numbered(200))
    while len(desk.taken) < 230:
        await desk.take(link, await link.fetch(30, 1))
    assert desk.bodies[30:] == numbered(200)
    assert reader._taking.count == 30  # and when they are small again, as many as it may
    await link.close()


async def test_a_flood_ends_the_connection_and_loses_nothing(
    rabbitmq: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "ROOM_BYTES", 1_000_000)
    monkeypatch.setattr(links, "FLOOD_BYTES", 1_500_000)
    sent_ = [bytes([n]) * 300_000 for n in range(30)]
    await publish(rabbitmq, queue, sent_)
    desk, reader, losses = Desk(), source(rabbitmq, queue, ordered=True), list[str]()
    link = await reader.open(desk.stand)
    while len(desk.taken) < 30:
        try:
            await asyncio.sleep(0.05)
            await desk.take(link, await link.fetch(2, 1))
        except BridgeUnavailable as error:
            losses.append(str(error))
            await link.close()
            link = await reader.open(desk.stand)
    assert desk.bodies == sent_
    assert losses == [f"the messages of {queue} are large: fewer are taken at a time"]
    await link.close()


async def test_a_message_whose_properties_cannot_be_read_comes_without_them(
    rabbitmq: RabbitMQ, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    await publish(rabbitmq, queue, [b"before"])
    async with bare(rabbitmq) as channel:
        await _publish_nonsense(channel, queue, b"strange")
    await publish(rabbitmq, queue, [b"after"])
    desk, reader = Desk(), source(rabbitmq, queue)
    link = await reader.open(desk.stand)
    for _ in range(50):
        try:
            await desk.take(link, await link.fetch(10, 0.1))
        except BridgeUnavailable:
            await link.close()
            link = await reader.open(desk.stand)
        if len(desk.taken) >= 3 and b"after" in desk.bodies:
            break
    assert [body for body in desk.bodies if body != b"before"] == [b"strange", b"after"]
    await link.close()
    assert await read_all(rabbitmq, queue) == []


async def _publish_nonsense(channel: Any, queue: str, body: bytes) -> None:
    """A timestamp in nanoseconds, which no calendar has, and a type that is not UTF-8."""

    good = ContentHeader(
        body_size=len(body),
        properties=Basic.Properties(content_type="XXXX", timestamp=datetime(2026, 11, 27, tzinfo=UTC)),
    )
    raw = marshal(good, channel.number)
    stamp = int(datetime(2026, 11, 27, tzinfo=UTC).timestamp()).to_bytes(8, "big")
    assert stamp in raw
    raw = raw.replace(stamp, (1_800_000_000 * 10**9).to_bytes(8, "big")).replace(b"XXXX", b"\xff\xfeXX")
    before, after = (marshal(frame, channel.number) for frame in (Basic.Publish(routing_key=queue), ContentBody(body)))
    drained = channel.create_future()
    await channel.write_queue.put(ChannelFrame(before + raw + after, False, drained))
    await drained


async def test_a_full_queue_is_no_fault_of_the_event(rabbitmq: RabbitMQ) -> None:
    name = await new_queue(rabbitmq, {"x-max-length": 1, "x-overflow": "reject-publish"})
    sink = RabbitmqSink(broker_of(rabbitmq))
    told = await sent(sink, outgoing(routed("", name), numbered(10)))
    assert told.confirmed
    assert set(told.deferred.values()) == {f"a queue of {AT}:{rabbitmq.port} takes nothing for now: {name}"}
    assert not told.refused
    await sink.close()
    async with bare(rabbitmq) as channel:
        await channel.queue_delete(name)


async def test_what_amqp_cannot_carry_is_refused(rabbitmq: RabbitMQ, queue: str) -> None:
    sink = RabbitmqSink(broker_of(rabbitmq))
    head = Head({}, "x" * 300).text()
    events = [
        *outgoing(routed("", queue), [b"long type"], head=head),
        *outgoing(routed("", "k" * 300), [b"long key"], first=2),
        *outgoing(routed("", queue), [b"fine"], first=3),
    ]
    told = await sent(sink, events)
    assert (told.confirmed, sorted(told.refused)) == ([3], [1, 2])
    assert all(why.startswith("it cannot be a message of RabbitMQ: ") for why in told.refused.values())
    await sink.close()
