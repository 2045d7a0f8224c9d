"""What Kafka refuses, in one sentence without the password; and what only topics have."""

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from headrace.bridges.kafka import KafkaSink, KafkaSource, client, link, source
from headrace.core.errors import BridgeRefused, BridgeUnavailable
from headrace.core.event import Event, Head, Outgoing
from headrace.core.message import Bookmark
from headrace.ports.bridge import SourceLink
from headrace.testing.conformance.bridge_base import Desk, bodies, fetched, numbered
from headrace.testing.conformance.bridge_base import opened as open_link
from headrace.testing.conformance.bridge_sink import outgoing, sent
from servers.kafka import Kafka
from servers.server import free_port
from tests.conftest import Own
from tests.integration.bridges.kafka_kit import (
    BIG,
    Topic,
    aiokafka,
    broker_of,
    delete_before,
    delete_topic,
    new_topic,
    produce,
    produce_raw,
    read_all,
    records,
    started,
)

pytestmark = pytest.mark.timeout(60)

JAAS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required"
    ' username="admin" password="admin" user_admin="admin" user_ada="right";'
)
Open: TypeAlias = Callable[..., Any]
WORKER = """
import asyncio, sys
from headrace.bridges.kafka import KafkaSource, source
from headrace.core.broker import broker
from headrace.testing.conformance.bridge_base import Desk, fetched
from tests.integration.bridges.kafka_kit import Topic

async def main():
    url, topic = sys.argv[1:]
    source.SESSION_MS = 20_000
    made = KafkaSource(broker(url, "broker"), Topic(topic, topic), "kafka", member="one")
    link = await made.open(Desk().stand)
    print(len(await fetched(link, 1)), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "SESSION_MS", 1_500)
    monkeypatch.setattr(source, "HEARTBEAT_MS", 200)
    monkeypatch.setattr(link, "LOOK_S", 0.5)
    monkeypatch.setattr(client, "CONNECT_S", 3.0)


@pytest.fixture
async def opened(kafka: Kafka) -> AsyncIterator[Open]:
    """Opens a source that ends with the test."""
    async with AsyncExitStack() as stack:

        async def opened(
            topic: str, desk: Desk | None = None, *, start: str = "earliest", member: str | None = None
        ) -> Any:
            made = KafkaSource(broker_of(kafka), Topic(topic, topic, start), f"kafka:{topic}", member=member)
            link = await made.open((desk or Desk()).stand)
            stack.push_async_callback(link.close)
            return link

        yield opened


async def ends(link: SourceLink) -> str:
    """Why a person must mend it; it lets go of its parts then."""

    async def nothing() -> None:
        while not await link.fetch(100, 0.1):
            pass

    async with asyncio.timeout(20):
        with pytest.raises(BridgeRefused) as caught:
            await nothing()
    await link.close()
    return str(caught.value)


def slow(real: Callable[..., Any]) -> Callable[..., Any]:
    async def slowly(*args: Any) -> Any:
        await asyncio.sleep(0.1)
        return await real(*args)

    return slowly


async def take(link: SourceLink, desk: Desk, count: int) -> None:
    async with asyncio.timeout(20):
        while len(desk.taken) < count:
            await desk.take(link, await link.fetch(100, 0.1))


async def test_it_does_not_let_us_in(own: Own, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = await asyncio.to_thread(
        own,
        lambda: Kafka(
            {
                "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
                "sasl.enabled.mechanisms": "PLAIN",
                "sasl.mechanism.inter.broker.protocol": "PLAIN",
                "listener.name.plaintext.plain.sasl.jaas.config": JAAS,
            }
        ),
    )
    at = f"127.0.0.1:{server.port}"
    why = f"kafka://ada:…@{at} refuses the user or the password that its URL gives, or lets that user do too little"
    with pytest.raises(BridgeRefused) as caught:
        await KafkaSource(broker_of(server, f"kafka://ada:wr0ng@{at}"), Topic("orders"), "kafka").open(Desk().stand)
    assert str(caught.value) == why
    told = await sent(KafkaSink(broker_of(server, f"kafka://ada:wr0ng@{at}")), outgoing("orders", [b"x"]))
    assert told.unsent == {1: why}
    with pytest.raises(BridgeRefused, match=r"has no topic orders"):
        await KafkaSource(broker_of(server, f"kafka://ada:right@{at}"), Topic("orders"), "kafka").open(Desk().stand)
    assert "wr0ng" not in caplog.text


async def test_it_is_away(kafka: Kafka) -> None:
    url = f"kafka://ada:s3cret@127.0.0.1:{free_port()}"
    with pytest.raises(BridgeUnavailable, match=r"^kafka://ada:…@127.0.0.1:\d+ is not reached \(Connect call failed"):
        await KafkaSource(broker_of(kafka, url), Topic("orders"), "kafka").open(Desk().stand)
    told = await sent(KafkaSink(broker_of(kafka, url)), outgoing("orders", [b"x"]))
    assert "is not reached (Connect call failed" in told.unsent[1]


async def test_there_is_no_such_topic(kafka: Kafka) -> None:
    with pytest.raises(BridgeRefused) as caught:
        await KafkaSource(broker_of(kafka), Topic("nowhere"), "kafka").open(Desk().stand)
    at = f"kafka://127.0.0.1:{kafka.port}"
    assert str(caught.value) == f"{at} has no topic nowhere, or does not show it to our user: make it"
    sink = KafkaSink(broker_of(kafka))
    told = await sent(sink, outgoing("nowhere", [b"x"]))
    await sink.close()
    assert told.refused == {1: f"{at} has no topic nowhere that our user may see: make it"}


async def test_a_topic_goes_while_it_is_read(kafka: Kafka, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is silent: the group shares out what is left."""
    monkeypatch.setattr(client, "METADATA_MS", 300)
    topic = await new_topic(kafka)
    link = await opened(topic)
    await produce(kafka, topic, [b"x"])
    await fetched(link, 1)
    await delete_topic(kafka, topic)
    assert await ends(link) == f"kafka://127.0.0.1:{kafka.port} has no topic {topic} any more: make it there again"


async def test_messages_are_deleted_unread(kafka: Kafka, opened: Open) -> None:
    topic, desk = await new_topic(kafka), Desk()
    await produce(kafka, topic, numbered(10))
    first = await opened(topic, desk)
    await desk.take(first, await fetched(first, 4))
    await first.close()
    await delete_before(kafka, topic, 4)  # all that was read, which is nothing to us
    second = await opened(topic, desk)
    await desk.take(second, await fetched(second, 2))
    await second.close()
    await delete_before(kafka, topic, 8)
    assert await ends(await opened(topic, desk)) == (
        f"partition 0 of the topic {topic} of kafka://127.0.0.1:{kafka.port} was read up to 6 and begins at 8: messages"
        f" were deleted unread; `headrace sources reset kafka:{topic} --to earliest --part 0` goes on with what is"
        " there"
    )
    desk.marks["0"] = Bookmark(0)  # that command
    third = await opened(topic, desk)
    await desk.take(third, await fetched(third, 2))
    assert desk.bodies == [*numbered(6), *numbered(10)[8:]]


@pytest.mark.parametrize("count", [3, 12])
async def test_a_topic_is_made_anew(kafka: Kafka, opened: Open, count: int) -> None:
    """With fewer messages than were read, or more."""
    topic, desk = await new_topic(kafka), Desk()
    await produce(kafka, topic, numbered(8))
    first = await opened(topic, desk)
    await desk.take(first, await fetched(first, 8))
    await first.close()
    await delete_topic(kafka, topic)
    await new_topic(kafka, name=topic)
    await produce(kafka, topic, numbered(count, "new"))
    why = await ends(await opened(topic, desk))
    assert "the topic was made anew or has lost its end; `headrace sources reset" in why
    desk.marks["0"] = Bookmark(0)
    again = await opened(topic, desk)
    assert bodies(await fetched(again, count)) == numbered(count, "new")


@pytest.mark.parametrize("at_ms", [1_795_000_000_123_456_789, 2**63 - 1])
async def test_a_record_from_far_away_is_known_again(kafka: Kafka, opened: Open, at_ms: int) -> None:
    """As of a producer that gives nanoseconds."""
    topic, desk = await new_topic(kafka, message_timestamp_after_max_ms=2**63 - 1), Desk()
    await produce(kafka, topic, [b"x"], at_ms=at_ms)
    first = await opened(topic, desk)
    await desk.take(first, await fetched(first, 1))
    await first.close()
    await produce(kafka, topic, [b"y"], at_ms=at_ms)
    second = await opened(topic, desk)
    await take(second, desk, 2)
    assert desk.bodies == [b"x", b"y"]
    assert (desk.marks["0"].at_ms or 0) < 2**63


async def test_gaps_between_places_are_normal(kafka: Kafka, opened: Open) -> None:
    """Transactions end with a record that nobody sees, and what is aborted is not given."""
    topic, desk = await new_topic(kafka), Desk()
    await produce(kafka, topic, numbered(3), transaction="commit")
    await produce(kafka, topic, numbered(3, "aborted"), transaction="abort")
    await produce(kafka, topic, numbered(3, "after"))
    first = await opened(topic, desk)
    while len(desk.taken) < 6:
        await desk.take(first, await fetched(first, 1))
    await first.close()
    assert desk.bodies == [*numbered(3), *numbered(3, "after")]
    assert desk.marks["0"].next > 6 + 2  # a transaction's end may land after what was sent next
    assert not await (await opened(topic, desk)).fetch(10, 0.5)


async def test_what_is_no_text_and_what_is_nothing(kafka: Kafka, opened: Open) -> None:
    topic = await new_topic(kafka)
    headers = [("bad", b"\xff\xfe"), ("Content-Type", b"text/plain"), *[(f"h{n}", b"x") for n in range(10_000)]]
    await produce(kafka, topic, [None], key=b"\xff\x00k", headers=headers)
    await produce(kafka, topic, [b""], key=None)
    found = (await fetched(await opened(topic), 2)).messages
    assert [message.body for message in found] == [b"", b""]
    assert [message.key for message in found] == ["\ufffd\x00k", None]
    assert found[0].headers["bad"] == "\ufffd\ufffd"
    assert found[0].content_type == "text/plain"
    assert len(found[0].headers) == 64
    assert [message.place for message in found] == ["0", "1"]
    assert found[0].at is not None


async def test_a_header_whose_name_is_no_text_stops_there_and_nowhere_else(kafka: Kafka, opened: Open) -> None:
    """What came before it is given, which the client would pass over."""
    topic, desk = await new_topic(kafka), Desk()
    await produce(kafka, topic, numbered(3))
    await produce_raw(kafka, topic, b"a\xffb")
    await produce(kafka, topic, numbered(3, "after"))
    why = (
        f"partition 0 of the topic {topic} of kafka://127.0.0.1:{kafka.port} has at 3 a message with a header whose"
        f" name is not UTF-8, which the client cannot read: `headrace sources reset kafka:{topic} --to 4 --part 0`"
        " passes it over"
    )
    first = await opened(topic, desk)
    await desk.take(first, await fetched(first, 3))
    assert await ends(first) == why
    assert await ends(await opened(topic, desk)) == why
    assert desk.bodies == numbered(3)
    desk.marks["0"] = Bookmark(4)
    link = await opened(topic, desk)
    await desk.take(link, await fetched(link, 3))
    assert desk.bodies == [*numbered(3), *numbered(3, "after")]


async def test_it_is_read_however_it_is_compressed(kafka: Kafka, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    topic, desk = await new_topic(kafka), Desk()
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        await produce(kafka, topic, [codec.encode() * 100], compression=codec)
    first = await opened(topic, desk)
    found = bodies(await fetched(first, 4))
    await first.close()
    assert found == [b"gzip" * 100, b"snappy" * 100, b"lz4" * 100, b"zstd" * 100]
    monkeypatch.setattr("aiokafka.codec.has_zstd", lambda: False)  # as without cramjam
    desk.marks["0"] = Bookmark(3)
    why = await ends(await opened(topic, desk))
    assert why.startswith(f"the topic {topic} of kafka://127.0.0.1:{kafka.port} has messages that the client cannot")
    assert "pip install 'headrace[kafka]'" in why


async def test_damaged_messages_are_told_as_such(kafka: Kafka, opened: Open) -> None:
    topic = await new_topic(kafka)
    await produce(kafka, topic, [b"to be damaged"])
    for log in (kafka.directory / "data").glob(f"{topic}-0/*.log"):
        with log.open("r+b") as file:
            file.seek(file.read().index(b"to be damaged"))
            file.write(b"T")
    assert "cannot read (CorruptRecordException: " in await ends(await opened(topic))


async def test_many_partitions_begin_together(kafka: Kafka, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every answer takes a while."""
    for name in ("committed", "end_offsets", "commit"):
        monkeypatch.setattr(aiokafka.AIOKafkaConsumer, name, slow(getattr(aiokafka.AIOKafkaConsumer, name)))
    topic = await new_topic(kafka, 60)
    link = await opened(topic, start="latest")
    while len(link._parts) < 60:
        assert not await link.fetch(10, 0.05)
    await produce(kafka, topic, [b"x"], part=59)
    assert bodies(await fetched(link, 1)) == [b"x"]


async def test_50_megabytes(kafka: Kafka, opened: Open) -> None:
    topic = await new_topic(kafka, max_message_bytes=BIG)
    big = bytes(50 << 20)
    await produce(kafka, topic, [b"before", big, b"after"])
    link = await opened(topic)
    found = [await fetched(link, 1) for _ in range(3)]
    assert [message.body for batch in found for message in batch.messages] == [b"before", big, b"after"]
    sink = KafkaSink(broker_of(kafka))
    assert (await sent(sink, outgoing(topic, [big]))).confirmed == [1]
    await sink.close()


async def test_a_rebalance_loses_and_doubles_nothing(kafka: Kafka, opened: Open) -> None:
    """Members come and go while messages come; one that is shut out without its knowing commits nothing."""
    topic, desk = await new_topic(kafka, 4), Desk()
    everything = [f"{part} {number}".encode() for part in range(4) for number in range(300)]
    links = [await opened(topic, desk)]
    producing = asyncio.gather(
        *(produce(kafka, topic, everything[part * 300 : part * 300 + 300], part=part) for part in range(4))
    )

    async def run(at: int, turns: int) -> None:
        for _ in range(turns):
            try:
                batch = await links[at].fetch(20, 0.05)
            except BridgeUnavailable:  # shut out on a busy machine: another connection may do
                await links[at].close()
                links[at] = await opened(topic, desk)
                continue
            await asyncio.sleep(0.01)  # on its way to the store; meanwhile parts change hands
            await desk.take(links[at], batch)

    await run(0, 5)
    links.append(await opened(topic, desk))
    await asyncio.gather(*(run(at, 20) for at in range(2)))
    links.append(await opened(topic, desk))
    await asyncio.gather(*(run(at, 20) for at in range(3)))
    await links[0].close()
    await producing
    async with asyncio.timeout(40):
        while len(desk.taken) < 1_200:
            await asyncio.gather(*(run(at, 1) for at in (1, 2)))
    assert sorted(desk.bodies) == sorted(everything)
    for part in range(4):
        mine = [body for body in desk.bodies if body.startswith(b"%d " % part)]
        assert mine == everything[part * 300 : part * 300 + 300]


async def test_where_a_group_stands_in_kafka_is_where_it_begins(kafka: Kafka, opened: Open) -> None:
    """And how far it is read is told to Kafka, for those who look there."""
    topic, desk = await new_topic(kafka, 2), Desk()
    await produce(kafka, topic, numbered(10), part=0)
    await produce(kafka, topic, numbered(2, "other"), part=1)
    bare = await started(
        aiokafka.AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=topic, enable_auto_commit=False)
    )
    part = aiokafka.TopicPartition(topic, 0)
    bare.assign([part])
    await bare.commit({part: 6})
    link = await opened(topic, desk)
    await take(link, desk, 6)
    assert sorted(desk.bodies) == sorted([*numbered(10)[6:], *numbered(2, "other")])
    await link.close()
    assert await bare.committed(part) == 10
    await bare.stop()


async def test_latest_begins_where_it_was_first_looked_at(kafka: Kafka, opened: Open) -> None:
    topic, desk = await new_topic(kafka), Desk()
    await produce(kafka, topic, numbered(5))
    first = await opened(topic, desk, start="latest")
    assert not await first.fetch(10, 1)
    await produce(kafka, topic, numbered(3, "new"))
    await first.close()
    second = await opened(topic, desk, start="latest")
    await take(second, desk, 3)
    assert desk.bodies == numbered(3, "new")


async def test_a_process_is_killed_and_one_of_its_name_goes_on_at_once(kafka: Kafka, opened: Open) -> None:
    """The group need not miss it first."""
    topic = await new_topic(kafka)
    await produce(kafka, topic, numbered(3))
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, kafka.url(), topic),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"1\n"
    worker.kill()
    await worker.wait()
    async with asyncio.timeout(10):
        assert bodies(await fetched(await opened(topic, member="one"), 3)) == numbered(3)


async def test_a_member_with_a_name_leaves_when_it_closes(
    kafka: Kafka, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "SESSION_MS", 20_000)
    topic = await new_topic(kafka)
    await produce(kafka, topic, numbered(3))
    one = await opened(topic, member="one")
    await fetched(one, 3)
    await one.close()
    async with asyncio.timeout(10):
        assert len(await fetched(await opened(topic, member="other"), 3)) == 3


async def test_a_link_keeps_its_name_when_its_source_is_gone(kafka: Kafka) -> None:
    topic = await new_topic(kafka)
    link = await open_link(KafkaSource(broker_of(kafka), Topic(topic, topic), "s"))
    gc.collect()
    other = KafkaSource(broker_of(kafka), Topic(topic, topic), "s")
    assert other._taking.member.name != link._taking.member.name  # type: ignore[attr-defined]
    await link.close()


async def test_a_batch_that_is_refused_is_sent_one_by_one(kafka: Kafka) -> None:
    """A topic that takes less than a batch of the client has."""
    topic = await new_topic(kafka, max_message_bytes=20_000)
    sink = KafkaSink(broker_of(kafka))
    bodies = [bytes([n]) * 9_000 for n in range(5)]
    events = outgoing(topic, [*bodies[:2], b"x" * 30_000, *bodies[2:]])
    told = await sent(sink, events)
    assert sorted(told.confirmed) == [1, 2, 4, 5, 6]
    assert told.refused[3] == (
        f"30000 bytes are more than the topic {topic} of kafka://127.0.0.1:{kafka.port} takes: raise its"
        " max.message.bytes"
    )
    assert [found.body for found in await read_all(kafka, topic)] == bodies
    assert (await sent(sink, outgoing(topic, [b"more"]))).confirmed == [1]
    await sink.close()


async def test_what_comes_after_a_refused_event_of_its_key_is_not_sent(kafka: Kafka) -> None:
    topic = await new_topic(kafka, max_message_bytes=20_000)
    sink = KafkaSink(broker_of(kafka))
    places = [("a", b"1"), ("a", b"x" * 30_000), ("a", b"2"), ("b", b"3")]
    told = await sent(
        sink, [Outgoing(n, Event(bytes(16), "s", topic, key, "{}", body)) for n, (key, body) in enumerate(places)]
    )
    assert (sorted(told.confirmed), list(told.refused), list(told.deferred)) == ([0, 3], [1], [2])
    assert {found.body for found in await read_all(kafka, topic)} == {b"1", b"3"}
    await sink.close()


async def test_a_key_is_in_the_partition_where_others_look_for_it(kafka: Kafka) -> None:
    topic = await new_topic(kafka, 5)
    keys = [f"customer {number} é" for number in range(40)]
    for key in keys:
        await produce(kafka, topic, [b"theirs"], key=key)
    sink = KafkaSink(broker_of(kafka))
    for first, key in enumerate(keys):
        assert (await sent(sink, outgoing(topic, [b"ours"], key=key, first=first))).confirmed == [first]
    await sink.close()
    parts: dict[bytes, set[int]] = {}
    for record in await records(kafka, topic):
        parts.setdefault(record.key, set()).add(record.partition)
    assert len(parts) == 40
    assert all(len(its) == 1 for its in parts.values())
    assert {part for its in parts.values() for part in its} == set(range(5))


async def test_headers_that_cannot_be_sent_are_refused(kafka: Kafka) -> None:
    topic = await new_topic(kafka)
    sink = KafkaSink(broker_of(kafka))
    heads = ['{"headers": {"a": 1}}', Head({"lone": "\ud800"}).text()]
    told = await sent(
        sink, [Outgoing(n, Event(bytes(16), "s", topic, None, head, b"x")) for n, head in enumerate(heads)]
    )
    assert "its headers are no text" in told.refused[0]
    assert told.confirmed == [1]
    await sink.close()
