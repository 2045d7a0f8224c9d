"""What NATS refuses, in one sentence without the password; and what only JetStream has."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from headrace.bridges.nats import NatsSink, NatsSource, source
from headrace.core.errors import BridgeRefused, BridgeUnavailable
from headrace.core.event import Event, Outgoing
from headrace.testing.conformance.bridge_base import Desk, bodies, fetched, numbered
from headrace.testing.conformance.bridge_sink import outgoing, sent
from servers.nats import Nats
from servers.server import free_port
from tests.conftest import Own
from tests.integration.bridges.nats_kit import Subject, bare, broker_of, new_stream, publish, raw, read_all

pytestmark = pytest.mark.timeout(60)

Open: TypeAlias = Callable[..., Any]


@pytest.fixture
async def opened(nats: Nats) -> AsyncIterator[Open]:
    """Opens a source that ends with the test."""
    async with AsyncExitStack() as stack:

        async def opened(subject: str, stream: str | None = None, url: str | None = None) -> Any:
            link = await NatsSource(broker_of(nats, url), Subject(subject, stream), "nats").open(Desk().stand)
            stack.push_async_callback(link.close)
            return link

        yield opened


async def refusal(opened: Open, *args: Any) -> str:
    with pytest.raises(BridgeRefused) as caught:
        await opened(*args)
    return str(caught.value)


async def test_it_does_not_let_us_in(own: Own, opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    users = (
        "{ users: [ {user: any, password: any}, {user: ada, password: right},"
        ' {user: eve, password: right, permissions: {publish: "eve.>"}} ] }'
    )
    server = await asyncio.to_thread(own, lambda: Nats({"authorization": users, "no_auth_user": "any"}))
    at = f"127.0.0.1:{server.port}"
    why = "refuses the user or the password that its URL gives, or lets that user do too little"
    assert await refusal(opened, "orders", None, f"nats://ada:wr0ng@{at}") == f"nats://ada:…@{at} {why}"
    assert await refusal(opened, "orders", None, f"nats://eve:right@{at}") == f"nats://eve:…@{at} {why}"
    told = await sent(NatsSink(broker_of(server, f"nats://ada:wr0ng@{at}")), outgoing("orders", [b"x"]))
    assert told.unsent == {1: f"nats://ada:…@{at} {why}"}
    sink = NatsSink(broker_of(server, f"nats://eve:right@{at}"))
    told = await sent(sink, outgoing("eve.x", [b"x"]))  # whether there is a stream for it, she may not ask
    assert told.unsent == {1: f"nats://eve:…@{at} {why}"}
    await sink.close()
    assert "wr0ng" not in caplog.text


async def test_it_is_away(nats: Nats, opened: Open) -> None:
    url = f"nats://ada:s3cret@127.0.0.1:{free_port()}"
    with pytest.raises(BridgeUnavailable, match=r"^nats://ada:…@127.0.0.1:\d+ is not reached \(Connect call failed"):
        await opened("orders", None, url)
    told = await sent(NatsSink(broker_of(nats, url)), outgoing("orders", [b"x"]))
    assert "is not reached (Connect call failed" in told.unsent[1]


async def test_there_is_no_such_stream(nats: Nats, opened: Open) -> None:
    at = f"nats://127.0.0.1:{nats.port}"
    assert await refusal(opened, "no.where") == f"{at} has no stream that keeps no.where: make one, or name the stream"
    assert await refusal(opened, "no.where", "NOWHERE") == f"{at} has no stream NOWHERE: make it"
    sink = NatsSink(broker_of(nats))
    told = await sent(sink, outgoing("no.where", [b"x"]))
    assert told.refused == {1: f"{at} has no stream that takes no.where: make one"}
    told = await sent(sink, outgoing("no where", [b"x"]))
    assert told.refused[1].startswith(f"{at} does not take it on the subject 'no where'")
    await sink.close()


@pytest.mark.parametrize(
    ("config", "what", "edit"),
    [
        (ConsumerConfig(deliver_subject="there"), "pushes, and cannot be pulled from", None),
        (ConsumerConfig(ack_policy=AckPolicy.ALL), "does not want each message acknowledged", None),
        (ConsumerConfig(max_deliver=3), "gives a message up after some deliveries", "--max-deliver=-1"),
        (ConsumerConfig(filter_subject="SELF.other"), "takes other subjects than SELF.>", "--filter='SELF.>'"),
    ],
)
async def test_the_consumer_was_made_otherwise(
    nats: Nats, opened: Open, config: ConsumerConfig, what: str, edit: str | None
) -> None:
    stream = await new_stream(nats)
    wanted = (config.filter_subject or "SELF.>").replace("SELF", stream)
    async with bare(nats) as jetstream:
        await jetstream.add_consumer(stream, config.evolve(durable_name="durable", filter_subject=wanted))
    remedy = source.ANEW if edit is None else f"`nats consumer edit SELF durable {edit}`"
    why = await refusal(opened, f"{stream}.>")
    assert why.replace(stream, "SELF") == (
        f"the consumer durable of the stream SELF of nats://127.0.0.1:{nats.port} {what}: {remedy}, or name another"
    )
    if edit is not None:
        async with bare(nats) as jetstream:
            mended = ConsumerConfig(durable_name="durable", filter_subject=f"{stream}.>", max_deliver=-1)
            await jetstream.add_consumer(stream, mended)  # which edits it
        await opened(f"{stream}.>")


async def test_a_consumer_that_is_deleted_is_made_anew(nats: Nats, opened: Open) -> None:
    stream = await new_stream(nats)
    await publish(nats, f"{stream}.x", numbered(2))
    link = await opened(f"{stream}.>")
    await link.done(await fetched(link, 2))
    waiting = asyncio.create_task(link.fetch(10, 20))
    await asyncio.sleep(0.2)
    async with bare(nats) as jetstream:
        await jetstream.delete_consumer(stream, "durable")
    with pytest.raises(BridgeUnavailable, match=f"the consumer durable of the stream {stream} of .* is gone"):
        await waiting
    assert len(await fetched(await opened(f"{stream}.>"), 2)) == 2  # their ids are known


async def test_what_is_no_text_and_what_is_nothing(nats: Nats, opened: Open) -> None:
    stream = await new_stream(nats)
    head = b"NATS/1.0\r\nbad: \xff\xfe\r\nb\xffd: x\r\ncontent-type: text/plain\r\nStatus: 404\r\n"
    head += b"".join(b"h%d: x\r\n" % n for n in range(1_000)) + b"\r\n"
    await raw(
        nats,
        b"PUB %s.\xff\xfe 1\r\n1\r\n" % stream.encode()
        + b"HPUB %s.x %d %d\r\n%s2\r\n" % (stream.encode(), len(head), len(head) + 1, head)
        + b"PUB %s.x 0\r\n\r\n" % stream.encode(),
    )
    found = (await fetched(await opened(f"{stream}.>"), 3)).messages
    assert [message.body for message in found] == [b"1", b"2", b""]
    assert found[0].key == f"{stream}.\ufffd\ufffd"
    assert found[1].headers["bad"] == "\ufffd\ufffd"
    assert found[1].content_type == "text/plain"
    assert len(found[1].headers) == 64


async def test_30_megabytes(nats: Nats, opened: Open) -> None:
    """What is over 32 MiB, NATS 2.9 confirms and has not: it passes over it when it reads its file."""
    stream = await new_stream(nats)
    big = bytes(30 << 20)
    sink = NatsSink(broker_of(nats))
    for place, body in enumerate((b"before", big, b"after"), 1):
        assert (await sent(sink, outgoing(f"{stream}.x", [body], first=place))).confirmed == [place]
    await sink.close()
    link = await opened(f"{stream}.>")
    found = [await fetched(link, 1) for _ in range(3)]
    assert [message.body for batch in found for message in batch.messages] == [b"before", big, b"after"]


async def test_too_large_for_the_server_is_refused_and_the_connection_lives(own: Own) -> None:
    """Headers count too, which the client does not know."""
    server = await asyncio.to_thread(own, lambda: Nats({"max_payload": "10000"}))
    stream = await new_stream(server)
    sink = NatsSink(broker_of(server))
    told = await sent(sink, outgoing(f"{stream}.x", [b"x" * 9_980, b"y" * 9_000]))
    assert told.confirmed == [2]
    assert told.refused[1].startswith("9980 bytes and ")
    assert told.refused[1].endswith(f"of headers are more than the 10000 that nats://127.0.0.1:{server.port} takes")
    await sink.close()


async def test_what_takes_long_is_not_given_to_others(
    nats: Nats, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "ACK_WAIT_S", 0.6)
    stream = await new_stream(nats)
    await publish(nats, f"{stream}.x", numbered(2))
    one, other = await opened(f"{stream}.>"), await opened(f"{stream}.>")
    batch = await fetched(one, 2)
    assert not await other.fetch(10, 1.5)
    await one.done(batch)
    assert not await other.fetch(10, 0.8)


async def test_an_ordered_link_ends_when_another_takes_too(nats: Nats) -> None:
    """It cannot know what that one does; who opens next begins with what is not done."""
    stream = await new_stream(nats)
    made = NatsSource(broker_of(nats), Subject(f"{stream}.>"), "nats", ordered=True)
    await publish(nats, f"{stream}.x", numbered(4))
    one = await made.open(Desk().stand)
    await one.done(await fetched(one, 1, most=1))
    await one._client.flush()
    other = await made.open(Desk().stand)
    assert bodies(await fetched(other, 1, most=1)) == numbered(4)[1:2]
    with pytest.raises(BridgeUnavailable, match="gives to another process too"):
        await fetched(one, 1)
    await one.close()
    third = await made.open(Desk().stand)
    assert bodies(await fetched(third, 3)) == numbered(4)[1:]
    await third.close()
    await other.close()


async def test_what_a_dead_process_had_comes_again(nats: Nats, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "ACK_WAIT_S", 0.6)
    stream = await new_stream(nats)
    await publish(nats, f"{stream}.x", numbered(3))
    one, other = await opened(f"{stream}.>"), await opened(f"{stream}.>")
    assert len(await fetched(one, 3)) == 3
    one._client._transport._io_writer.transport.abort()  # as its kernel would
    assert sorted(bodies(await fetched(other, 3))) == numbered(3)
    with pytest.raises(BridgeUnavailable):
        await one.fetch(1, 1)


async def test_an_event_that_is_sent_twice_is_there_once(nats: Nats) -> None:
    stream = await new_stream(nats)
    for _ in range(2):
        sink = NatsSink(broker_of(nats))
        assert len((await sent(sink, outgoing(f"{stream}.x", numbered(20)))).confirmed) == 20
        await sink.close()
    assert [found.body for found in await read_all(nats, stream)] == numbered(20)


async def test_a_stream_that_is_full_refuses_no_event(nats: Nats) -> None:
    """They wait until there is room."""
    stream = await new_stream(nats, max_msgs=2, discard="new")
    sink = NatsSink(broker_of(nats))
    told = await sent(sink, outgoing(f"{stream}.x", numbered(4)))
    assert told.confirmed == [1, 2]
    at = f"nats://127.0.0.1:{nats.port}"
    assert told.deferred[3] == f"{at} takes nothing on {stream}.x for now: maximum messages exceeded"
    await sink.close()


async def test_who_answers_may_be_no_stream(nats: Nats) -> None:
    sink = NatsSink(broker_of(nats))
    async with bare(nats) as jetstream:

        async def answer(message: Any) -> None:
            await message.respond(b"hello")

        await jetstream._nc.subscribe("service", cb=answer)
        await jetstream._nc.flush()
        told = await sent(sink, [Outgoing(1, Event(bytes(16), "s", "service", None, '{"headers": 1}'))])
        assert "its headers are no text" in told.refused[1]
        told = await sent(sink, outgoing("service", [b"x"]))
    assert told.refused == {1: "who answers on the subject service is no stream: make one for it"}
    await sink.close()
