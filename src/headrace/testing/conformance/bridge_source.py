# ruff: noqa: PLR2004 - numbers are their point
"""What every source promises: `ports.bridge.Source` and `SourceLink`, one sentence a test.

A broker may deliver again what was not acknowledged, and what was; it may not lose anything.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest

from headrace.core.errors import BridgeUnavailable
from headrace.core.message import Bookmark
from headrace.ports.bridge import SourceLink
from headrace.testing.conformance.bridge_base import (
    BOUND_S,
    CLOSE_S,
    FETCH_BYTES_MAX,
    KIB,
    MIB,
    PATIENCE_S,
    WAIT_S,
    Desk,
    MakeSource,
    Put,
    bodies,
    fetched,
    numbered,
    opened,
    some,
)
from headrace.testing.conformance.notifier import Outage

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class BridgeSourceConformance:
    """What holds for every source. Inherit it, or what follows, with two fixtures.

    `make_source`: makes a source, at each call as another process would, on one place that is the same for all of a
    test, exists and is empty at its beginning. `put`: see `Put`.
    """

    names_messages = True
    """A message has an id, and the same one when it comes again."""
    keeps_order_back = True
    """What is given back comes before what was behind it."""
    shares = True
    """Two processes may take from it at a time."""
    big_body = MIB
    """A body that the broker is configured to take."""

    async def test_messages_come_in_order_and_no_more_than_were_asked_for(
        self, make_source: MakeSource, put: Put
    ) -> None:
        """However they are cut into batches."""
        await put(numbered(50))
        link, desk = await opened(make_source()), Desk()
        sizes: list[int] = []
        while len(desk.taken) < 50:
            batch = await some(link, 7)
            sizes.append(len(batch))
            assert len(batch.receipts) in {0, len(batch)}
            await desk.take(link, batch)
        assert max(sizes) <= 7
        assert desk.bodies == numbered(50)
        ids = {message.id for message in desk.taken}
        assert len(ids) == 50 or (not self.names_messages and ids == {None})
        await link.close()

    async def test_a_fetch_waits_for_a_message_and_not_for_more(self, make_source: MakeSource, put: Put) -> None:
        """With none it is empty in time."""
        link = await opened(make_source())
        began = time.monotonic()
        assert not await link.fetch(10, 0.2)
        assert 0.1 < time.monotonic() - began < 5
        waiting = asyncio.create_task(link.fetch(10, PATIENCE_S))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await put([b"one"])
        async with asyncio.timeout(5):
            assert bodies(await waiting) == [b"one"]
        await link.close()

    async def test_nothing_is_acknowledged_before_it_is_done(self, make_source: MakeSource, put: Put) -> None:
        """What was fetched comes again when the connection has ended, as the same messages."""
        await put(numbered(10))
        first = await opened(make_source())
        once = await fetched(first, 10)
        await first.close()
        second = await opened(make_source())
        again = await fetched(second, 10)
        assert sorted(bodies(once)) == sorted(bodies(again)) == sorted(numbered(10))
        if self.names_messages:
            assert {m.id: m.body for m in once.messages} == {m.id: m.body for m in again.messages}
        await second.close()

    async def test_what_is_done_does_not_come_again(self, make_source: MakeSource, put: Put) -> None:
        """And the rest does, though the connection was closed at once."""
        await put(numbered(20))
        desk = Desk()
        first = await opened(make_source(), desk)
        await desk.take(first, await fetched(first, 5))
        await fetched(first, 5)
        await first.close()
        second = await opened(make_source(), desk)
        await desk.take(second, await fetched(second, 15))
        assert sorted(desk.bodies) == sorted(numbered(20))
        assert not await second.fetch(10, WAIT_S)
        await second.close()

    async def test_batches_are_done_while_the_next_is_awaited(self, make_source: MakeSource, put: Put) -> None:
        """One on its way to the store, one gathering."""
        await put(numbered(30))
        desk = Desk()
        link = await opened(make_source(), desk)
        before = await fetched(link, 10)
        while len(desk.taken) < 30:
            waiting = asyncio.create_task(link.fetch(10, WAIT_S))
            await asyncio.sleep(0)
            await desk.take(link, before)
            before = await waiting
        assert desk.bodies == numbered(30)
        await link.close()

    async def test_what_is_given_back_comes_again(self, make_source: MakeSource, put: Put) -> None:
        """In its order, if the broker can; what was done before stays done."""
        await put(numbered(12))
        desk = Desk()
        link = await opened(make_source(), desk)
        await desk.take(link, await fetched(link, 4))
        await link.back(await fetched(link, 4))
        while len(desk.taken) < 12:
            await desk.take(link, await some(link, 100))
        assert sorted(desk.bodies) == sorted(numbered(12))
        if self.keeps_order_back:
            assert desk.bodies == numbered(12)
        await link.close()

    async def test_nothing_is_taken_while_it_is_held(self, make_source: MakeSource, put: Put) -> None:
        """It stays a member: what it has may still be done, and nothing of that comes again."""
        await put(numbered(3))
        desk = Desk()
        link = await opened(make_source(), desk)
        first = await fetched(link, 3)
        await link.hold(True)
        await put(numbered(3, "later"))
        assert not await link.fetch(10, WAIT_S)
        await desk.take(link, first)
        assert not await link.fetch(10, WAIT_S)
        await link.hold(False)
        await desk.take(link, await fetched(link, 3))
        assert desk.bodies == [*numbered(3), *numbered(3, "later")]
        assert not await link.fetch(10, WAIT_S)
        await link.close()

    async def test_a_close_ends_a_fetch_and_everything_after_it_does_no_harm(
        self, make_source: MakeSource, put: Put
    ) -> None:
        """It is idempotent, and leaves no task behind."""
        before = asyncio.all_tasks()
        await put(numbered(3))
        link = await opened(make_source())
        batch = await fetched(link, 3)
        waiting = asyncio.create_task(link.fetch(10, PATIENCE_S))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await link.close()
        assert time.monotonic() - began < CLOSE_S
        with pytest.raises(BridgeUnavailable):
            await waiting
        await link.close()
        await link.done(batch)
        await link.back(batch)
        await link.hold(True)
        async with asyncio.timeout(CLOSE_S):
            while asyncio.all_tasks() - before:  # noqa: ASYNC110 - the client ends its own
                await asyncio.sleep(0.01)

    async def test_a_fetch_that_is_cancelled_loses_nothing(self, make_source: MakeSource, put: Put) -> None:
        """In the middle of what is coming."""
        desk, sent = Desk(), numbered(40)
        link = await opened(make_source(), desk)
        for at in range(0, 40, 10):
            waiting = asyncio.create_task(link.fetch(5, PATIENCE_S))
            await put(sent[at : at + 10])
            await asyncio.sleep(0.002 * at / 10)
            waiting.cancel()
            with suppress(asyncio.CancelledError, BridgeUnavailable):
                await desk.take(link, await waiting)
            await link.close()
            link = await opened(make_source(), desk)
        await _take_all(link, desk, sent)
        await link.close()

    async def test_bodies_are_any_bytes(self, make_source: MakeSource, put: Put) -> None:
        """None at all, and many: but no more than 16 MiB at once."""
        everything = bytes(range(256)) * (self.big_body // 256 - 4 * KIB // 256)
        sent = [b"", b"\xff\xfe not UTF-8 \x00", *[everything] * 18, b"", b"last"]
        await put(sent)
        link, desk = await opened(make_source()), Desk()
        while len(desk.taken) < len(sent):
            batch = await some(link, 100)
            assert batch.body_bytes <= FETCH_BYTES_MAX
            await desk.take(link, batch)
        assert desk.bodies == sent
        await link.close()

    async def test_headers_and_media_type_come_with_it(self, make_source: MakeSource, put: Put) -> None:
        """As text."""
        await put([b"{}"], headers={"traceparent": PARENT, "x-empty": ""}, content_type="application/json")
        link = await opened(make_source())
        (message,) = (await fetched(link, 1)).messages
        assert message.source
        assert message.headers["traceparent"] == PARENT
        assert message.headers["x-empty"] == ""
        assert message.content_type == "application/json"
        await link.close()

    async def test_two_share_what_comes(self, make_source: MakeSource, put: Put) -> None:
        """Each message is taken by one of them, and by the other when that one has gone."""
        if not self.shares:
            return
        desk = Desk()
        one, other = await opened(make_source(), desk), await opened(make_source(), desk)
        await put(numbered(40))
        await asyncio.gather(*(_take(link, desk, 40) for link in (one, other)))
        await put(numbered(40, "later"))
        await one.fetch(1, WAIT_S)
        await one.close()
        await _take(other, desk, 80)
        assert set(desk.bodies) == {*numbered(40), *numbered(40, "later")}
        await other.close()


class BookmarkedSourceConformance(BridgeSourceConformance):
    """What holds for a source whose place the store keeps, beside that. All messages of one key are in one part."""

    async def test_it_begins_at_its_bookmark(self, make_source: MakeSource, put: Put) -> None:
        """Whatever the broker thinks."""
        await put(numbered(10))
        desk = Desk()
        link = await opened(make_source(), desk)
        batch = await fetched(link, 10)
        await desk.take(link, batch)
        await link.close()
        (part,) = batch.marks
        desk.marks[part] = Bookmark(int(batch.messages[4].place))
        link = await opened(make_source(), desk)
        again = await fetched(link, 6)
        assert bodies(again) == numbered(10)[4:]
        assert again.known == {part: int(batch.messages[4].place)}
        await link.close()

    async def test_it_goes_on_from_where_it_is_told(self, make_source: MakeSource, put: Put) -> None:
        """Also to parts that it does not have, which is nothing."""
        await put(numbered(10))
        link = await opened(make_source())
        batch = await fetched(link, 10)
        (part,) = batch.marks
        await link.seek({part: int(batch.messages[7].place), "999": 3})
        assert bodies(await fetched(link, 3)) == numbered(10)[7:]
        await link.close()

    async def test_bookmarks_that_cannot_be_read_end_the_connection(self, make_source: MakeSource, put: Put) -> None:
        """And another one has them."""

        async def stand(parts: Sequence[str]) -> Mapping[str, Bookmark]:
            raise RuntimeError(f"no store for {parts}")

        await put(numbered(3))
        source = make_source()
        with pytest.raises(BridgeUnavailable):
            await _open_and_fetch(await source.open(stand))
        link = await opened(make_source())
        assert bodies(await fetched(link, 3)) == numbered(3)
        await link.close()


class OrderedSourceConformance:
    """What holds for a source of which order was asked; `make_source` and `put` as above."""

    async def test_who_takes_next_begins_with_what_was_left(self, make_source: MakeSource, put: Put) -> None:
        """Where the broker sees to it, when the one before has gone; else at once, for its turn is over."""
        await put(numbered(10))
        desk = Desk()
        first = await opened(make_source(), desk)
        await desk.take(first, await fetched(first, 3))
        await fetched(first, 4)
        source = make_source()
        second = await opened(source, desk)
        await put(numbered(10, "later"))
        if not source.alone:
            assert not await second.fetch(10, WAIT_S)
            await first.close()
        while len(desk.taken) < 20:
            await desk.take(second, await some(second, 100))
        assert desk.bodies == [*numbered(10), *numbered(10, "later")]
        await first.close()
        assert not await second.fetch(10, WAIT_S)
        await second.close()

    async def test_what_is_given_back_keeps_its_place(self, make_source: MakeSource, put: Put) -> None:
        """Before all that came after it, fetched or not."""
        await put(numbered(20))
        desk = Desk()
        link = await opened(make_source(), desk)
        await desk.take(link, await fetched(link, 4))
        flight, gathered = await fetched(link, 4), await fetched(link, 4)
        await link.back(flight)
        await link.back(gathered)
        while len(desk.taken) < 20:
            await desk.take(link, await some(link, 3))
        assert desk.bodies == numbered(20)
        await link.close()


class ServedSourceConformance:
    """What holds when the server dies or stands still; beside one of the others. `outage`: see `Outage`."""

    async def test_a_server_that_is_killed_loses_nothing(
        self, make_source: MakeSource, put: Put, outage: Outage
    ) -> None:
        """The connection tells it, and another one goes on when the server is there again."""
        await put(numbered(30))
        desk = Desk()
        link = await opened(make_source(), desk)
        await desk.take(link, await fetched(link, 10))
        on_its_way = await fetched(link, 10)
        await asyncio.to_thread(outage.down)
        try:
            with pytest.raises(BridgeUnavailable):
                await _until_it_raises(link)
            await link.done(on_its_way)
            await link.close()
            async with asyncio.timeout(BOUND_S):
                with pytest.raises(BridgeUnavailable):
                    await make_source().open(desk.stand)
        finally:
            await asyncio.to_thread(outage.up)
        link = await opened(make_source(), desk)
        await _take_all(link, desk, numbered(30))
        await link.close()

    async def test_a_server_that_stands_still_holds_nobody_up(
        self, make_source: MakeSource, put: Put, outage: Outage
    ) -> None:
        """Every call ends in its time."""
        await put(numbered(10))
        link = await opened(make_source())
        first, second = await fetched(link, 3), await fetched(link, 3)
        await asyncio.to_thread(outage.cut)
        try:
            async with asyncio.timeout(BOUND_S):
                await link.done(first)
                await link.back(second)
                await link.hold(True)
            began = time.monotonic()
            await link.close()
            assert time.monotonic() - began < CLOSE_S
            async with asyncio.timeout(BOUND_S):
                with pytest.raises(BridgeUnavailable):
                    await make_source().open(Desk().stand)
        finally:
            await asyncio.to_thread(outage.mend)
        link = await opened(make_source())
        assert len(await fetched(link, 1)) == 1
        await link.close()


async def _take(link: SourceLink, desk: Desk, count: int) -> None:
    """Take until so many are taken, by others too."""
    async with asyncio.timeout(PATIENCE_S):
        while len(desk.taken) < count:
            await desk.take(link, await link.fetch(5, 0.05))


async def _take_all(link: SourceLink, desk: Desk, sent: Sequence[bytes]) -> None:
    """Take until each is taken, at least once."""
    async with asyncio.timeout(PATIENCE_S):
        while not set(desk.bodies) >= set(sent):
            await desk.take(link, await link.fetch(100, WAIT_S))


async def _open_and_fetch(link: SourceLink) -> None:
    try:
        await _until_it_raises(link)
    finally:
        await link.close()


async def _until_it_raises(link: SourceLink) -> None:
    async with asyncio.timeout(BOUND_S):
        while True:
            await link.fetch(100, WAIT_S)
