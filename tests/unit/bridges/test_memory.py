"""The broker in this process: places of topics, repeats of queues, and what becomes of events."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from headrace.bridges.memory import MemoryBroker
from headrace.core.errors import BridgeRefused, BridgeUnavailable
from headrace.core.event import Event, Head, Outgoing
from headrace.core.message import Batch, Bookmark
from headrace.core.relay_events import Confirmed, Deferred, Refused, Unsent
from headrace.ports.bridge import SinkEnd

SOON_S = 0.01


async def no_bookmarks(parts: Sequence[str]) -> Mapping[str, Bookmark]:
    return {}


def bodies(batch: Batch) -> list[bytes]:
    return [message.body for message in batch.messages]


@pytest.fixture
def broker() -> MemoryBroker:
    broker = MemoryBroker()
    broker.topic("orders", parts=2)
    broker.queue("mail")
    return broker


async def test_a_topic_is_read_from_its_bookmarks(broker: MemoryBroker) -> None:
    for n in range(4):
        broker.put("orders", b"%d" % n, key="same")
    (part,) = {str(at) for at, records in enumerate(broker.topics["orders"]) if records}

    async def stand(parts: Sequence[str]) -> Mapping[str, Bookmark]:
        assert sorted(parts) == ["0", "1"]
        return {part: Bookmark(1)}

    link = await broker.source("s", "orders", "g").open(stand)
    first = await link.fetch(2, SOON_S)
    assert (bodies(first), first.known, first.marks[part].next) == ([b"1", b"2"], {part: 1}, 3)
    second = await link.fetch(2, SOON_S)
    assert (bodies(second), second.known) == ([b"3"], {part: 3})
    assert first.join(second).marks[part].known == 1
    await link.back(first)
    await link.back(second)
    assert bodies(await link.fetch(9, SOON_S)) == [b"1", b"2", b"3"]
    await link.seek({part: 3})
    assert bodies(await link.fetch(9, SOON_S)) == [b"3"]
    assert not await link.fetch(9, SOON_S)


async def test_a_group_shares_its_parts_and_one_that_was_expelled_reads_on(broker: MemoryBroker) -> None:
    for n in range(10):
        broker.put("orders", b"%d" % n)
    source = broker.source("s", "orders", "g")
    old, new = await source.open(no_bookmarks), await source.open(no_bookmarks)
    parts = {message.part for message in (await old.fetch(9, SOON_S)).messages}
    others = {message.part for message in (await new.fetch(9, SOON_S)).messages}
    assert parts | others == {"0", "1"}
    assert not parts & others
    broker.expel(old)  # type: ignore[arg-type]  # a topic's link
    assert {message.part for message in (await new.fetch(9, SOON_S)).messages} == parts
    broker.put("orders", b"a")
    broker.put("orders", b"b")
    assert {message.part for message in (await old.fetch(9, SOON_S)).messages} == parts
    await new.close()
    with pytest.raises(BridgeUnavailable):
        await new.fetch(1, SOON_S)


async def test_a_queue_gives_again_what_is_not_acknowledged(broker: MemoryBroker) -> None:
    for n in range(4):
        broker.put("mail", b"%d" % n, id=str(n))
    source = broker.source("s", "mail")
    link = await source.open(no_bookmarks)
    done, given_back, kept = [await link.fetch(1, SOON_S) for _ in range(3)]
    await link.done(done)
    await link.back(given_back)
    assert bodies(await link.fetch(1, SOON_S)) == [b"1"]
    await link.close()
    await link.done(kept)
    again = await (await source.open(no_bookmarks)).fetch(9, SOON_S)
    assert (bodies(again), again.marks, again.messages[0].id) == ([b"1", b"2", b"3"], {}, "1")


async def test_who_takes_alone_begins_with_what_others_left(broker: MemoryBroker) -> None:
    for n in range(4):
        broker.put("mail", b"%d" % n)
    source = broker.source("s", "mail", alone=True)
    assert source.alone
    before = await source.open(no_bookmarks)
    assert bodies(await before.fetch(2, SOON_S)) == [b"0", b"1"]
    link = await source.open(no_bookmarks)
    assert bodies(await link.fetch(9, SOON_S)) == [b"0", b"1", b"2", b"3"]
    with pytest.raises(BridgeUnavailable, match="another takes"):
        await before.fetch(1, SOON_S)


async def test_a_waiting_fetch_hears_of_messages_holds_and_cuts(broker: MemoryBroker) -> None:
    source = broker.source("s", "mail")
    link = await source.open(no_bookmarks)
    await link.hold(True)
    broker.put("mail", b"x")
    assert not await link.fetch(1, SOON_S)
    waiting = asyncio.create_task(link.fetch(1, 9))
    await asyncio.sleep(0)
    await link.hold(False)
    assert bodies(await waiting) == [b"x"]
    waiting = asyncio.create_task(link.fetch(1, 9))
    await asyncio.sleep(0)
    broker.cut("no password", refused=True)
    with pytest.raises(BridgeRefused, match="no password"):
        await waiting
    with pytest.raises(BridgeRefused):
        await source.open(no_bookmarks)
    broker.mend()
    assert bodies(await (await source.open(no_bookmarks)).fetch(1, SOON_S)) == [b"x"]
    with pytest.raises(BridgeRefused, match="no queue nowhere"):
        await broker.source("s", "nowhere").open(no_bookmarks)


async def test_every_event_has_one_end(broker: MemoryBroker) -> None:
    told: list[SinkEnd] = []
    sink = broker.sink()
    head = Head({"a": "b"}, "text/plain").text()

    def out(place: int, target: str = "mail") -> Outgoing:
        return Outgoing(place, Event(bytes([place]) * 16, "memory", target, "k", head, b"body"))

    await sink.send([out(1), out(2, "nowhere"), out(3)], told.append)
    lost = iter([False, False, False, True])
    broker.lost = lambda what: next(lost)
    await sink.send([out(4), out(5), out(6)], told.append)
    broker.cut()
    await sink.send([out(7)], told.append)
    assert told == [
        Confirmed((1,)),
        Refused(2, "there is no topic and no queue nowhere"),
        Deferred((3,), "an event of the same key before it was not taken"),
        Confirmed((4,)),
        Unsent((5, 6), "the connection is lost"),
        Unsent((7,), "the broker is away"),
    ]
    first, _, unsure = broker.queues["mail"]
    assert (first.id, first.key, first.headers, first.content_type) == ("01" * 16, "k", {"a": "b"}, "text/plain")
    assert unsure.id == "05" * 16
