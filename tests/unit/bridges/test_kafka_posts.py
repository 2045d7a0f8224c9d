"""What is given to Kafka together: when it goes, and what is told of it."""

import asyncio

import pytest

from headrace.bridges.kafka.posts import BEHIND, Batch, Lines, Post
from headrace.core.errors import BridgeUnavailable
from headrace.core.event import Event, Outgoing
from headrace.core.relay_events import Confirmed, Deferred, Refused, Unsent
from headrace.ports.bridge import SinkEnd


def events(*keys: str | None) -> list[Outgoing]:
    return [Outgoing(n, Event(bytes(16), "kafka", "t", key)) for n, key in enumerate(keys, 1)]


async def test_what_comes_after_what_is_unsent_is_unsent() -> None:
    told: list[SinkEnd] = []
    first = Post(events("k"), None)
    then = Post(events("k"), first)
    assert (first.is_first, then.is_first) == (True, False)
    turn = asyncio.ensure_future(then.turn())
    await asyncio.sleep(0)
    assert not turn.done()
    first.end(told.append, "lost")
    with pytest.raises(BridgeUnavailable, match="lost"):
        await turn
    assert then.is_first
    assert told == [Unsent((1,), "lost")]
    first.end(told.append, "again")
    assert len(told) == 1


async def test_what_comes_after_what_was_refused_is_filled_anew_without_its_key() -> None:
    told: list[SinkEnd] = []
    first = Post(events("k", "l", "k"), None)
    then = Post(events("k", "l"), first)
    out = first.left
    first.refuse(out[0], "no")
    assert [first.waits(each) for each in out[1:]] == [False, True]
    first.confirmed.add(2)
    assert first.left == []
    first.end(told.append, "")
    assert told == [Refused(1, "no"), Confirmed((2,)), Deferred((3,), BEHIND)]
    assert not await then.turn()
    assert [then.waits(each) for each in then.left] == [True, False]
    last = Post(events("k", "m"), then)
    then.confirmed.add(2)
    then.end(told.append, "")
    assert told[3:] == [Confirmed((2,)), Deferred((1,), BEHIND)]
    assert not await last.turn()
    assert [last.waits(each) for each in last.left] == [True, False]


async def test_of_a_key_nothing_is_confirmed_after_what_is_not() -> None:
    told: list[SinkEnd] = []
    post = Post(events("k", "k", None, "l"), None)
    post.confirmed |= {2, 3, 4}
    post.end(told.append, "lost")
    assert told == [Confirmed((3, 4)), Unsent((1, 2), "lost")]


async def test_of_a_key_nothing_is_refused_after_what_is_unsent() -> None:
    told: list[SinkEnd] = []
    post = Post(events("k", "k", "l", "l"), None)
    for out in post.left:
        if out.place in {2, 3}:
            post.refuse(out, "no")
    assert post.waits(post.left[-1])
    first = Post([], None)
    then = Post(events("k", "k"), first)
    then.refuse(then.left[1], "no such topic")
    post.end(told.append, "lost")
    assert told == [Refused(3, "no"), Deferred((4,), BEHIND), Unsent((1, 2), "lost")]
    first.why = "lost"
    first.over.set()
    with pytest.raises(BridgeUnavailable):
        await then.turn()
    then.end(told.append, "lost")
    assert told[3:] == [Unsent((1, 2), "lost")]


async def test_the_next_is_given_when_this_is_filled_and_the_last_has_ended() -> None:
    first = Post(events("k"), None)
    then = Post(events("k"), first)
    handed = asyncio.ensure_future(then.handed())
    then.filled.set()
    await asyncio.sleep(0)
    assert not handed.done()
    first.end(lambda _: None, "")
    await asyncio.wait_for(handed, 1)


async def test_of_a_partition_nothing_goes_after_a_batch_that_was_not_taken() -> None:
    gone: list[str] = []

    async def send(place: tuple[str, int], batch: Batch) -> bool:
        await asyncio.sleep(0)
        gone.append(batch.builder)
        return bool(batch.builder != "no")

    lines = Lines(send)
    for partition, name in ((0, "a"), (0, "no"), (0, "c"), (1, "d")):
        lines.go(("t", partition), Batch(name))
    assert not await lines.ended()
    assert sorted(gone) == ["a", "d", "no"]
    whole = Lines(send)
    whole.go(("t", 0), Batch("e"))
    assert await whole.ended()
