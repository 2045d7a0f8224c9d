# ruff: noqa: PLR2004 - numbers are their point
"""What every sink promises: `ports.bridge.Sink`, one sentence a test."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from headrace.core.event import Event, Head, Outgoing
from headrace.core.relay_events import Confirmed, Deferred, Refused, Unsent
from headrace.ports.bridge import Sink, SinkEnd
from headrace.testing.conformance.bridge_base import BOUND_S, CLOSE_S, KIB, MIB, PATIENCE_S, MakeSink, Read, numbered
from headrace.testing.conformance.notifier import Outage


class Told:
    """What was told of events, each once."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.confirmed: list[int] = []
        self.refused: dict[int, str] = {}
        self.deferred: dict[int, str] = {}
        self.unsent: dict[int, str] = {}
        self._changed = asyncio.Event()

    def __call__(self, end: SinkEnd) -> None:
        """Note it."""
        match end:
            case Confirmed():
                self.confirmed += end.places
            case Refused():
                self._new(end.place)
                self.refused[end.place] = end.why
            case Deferred() | Unsent():
                for place in end.places:
                    self._new(place)
                    (self.deferred if isinstance(end, Deferred) else self.unsent)[place] = end.why
        twice = [place for place, times in Counter(self.places).items() if times > 1]
        assert not twice, f"{twice} ended twice"
        self._changed.set()

    @property
    def places(self) -> list[int]:
        """Of all that have ended."""
        return [*self.confirmed, *self.refused, *self.deferred, *self.unsent]

    async def all_of(self, events: Sequence[Outgoing], within_s: float = BOUND_S) -> "Told":
        """When all of them have ended."""
        async with asyncio.timeout(within_s):
            while len(self.places) < len(events):
                self._changed.clear()
                await self._changed.wait()
        assert sorted(self.places) == sorted(out.place for out in events)
        return self

    def _new(self, place: int) -> None:
        assert place not in self.refused
        assert place not in self.deferred
        assert place not in self.unsent


class BridgeSinkConformance:
    """What holds for every sink. Inherit it with three fixtures.

    `make_sink`: makes a sink of one broker. `target`: a place there that takes events and is empty at the beginning.
    `read`: see `Read`.
    """

    nowhere: str | None = None
    """A target that the broker refuses; None: there is none."""
    body_bytes_max: int | None = None
    """What the broker is configured to take; None: it takes whatever we try."""
    keeps_ids = True
    """A bare client finds the id of an event with it."""

    async def test_what_is_confirmed_is_there(self, make_sink: MakeSink, target: str, read: Read) -> None:
        """In the order in which it was sent, with its id."""
        sink, events = make_sink(), outgoing(target, numbered(300))
        for at in range(0, 300, 100):
            told = await sent(sink, events[at : at + 100])
            assert len(told.confirmed) == 100
        found = await read(target)
        assert [each.body for each in found] == numbered(300)
        if self.keeps_ids:
            assert [each.id for each in found] == [out.event.id.hex() for out in events]
        await sink.close()

    async def test_events_of_one_key_arrive_in_order(self, make_sink: MakeSink, target: str, read: Read) -> None:
        """As the relay sends them: one at a time, or all, as the sink wants it."""
        sink = make_sink()
        keys = ("a", "b", "c")
        lines = {key: outgoing(target, numbered(30, key), key=key, first=n * 100) for n, key in enumerate(keys)}
        told = Told()
        everything = [out for row in zip(*lines.values(), strict=True) for out in row]
        step = len(keys) if sink.one_per_key else len(everything)
        for at in range(0, len(everything), step):
            await sink.send(everything[at : at + step], told)
            if sink.one_per_key:
                await told.all_of(everything[: at + step])
        await told.all_of(everything)
        assert len(told.confirmed) == 90
        found = [each.body for each in await read(target)]
        for key in keys:
            assert [body for body in found if body.startswith(key.encode())] == numbered(30, key)
        await sink.close()

    async def test_bodies_headers_and_media_type_arrive(self, make_sink: MakeSink, target: str, read: Read) -> None:
        """Bodies of any bytes, and of none."""
        everything = bytes(range(256)) * (64 * KIB // 256)
        head = Head({"traceparent": "00-1-2-01", "x-empty": ""}, "application/json").text()
        sink, events = make_sink(), outgoing(target, [b"", everything, b"{}"], head=head)
        assert len((await sent(sink, events)).confirmed) == 3
        found = await read(target)
        assert [each.body for each in found] == [b"", everything, b"{}"]
        for each in found:
            assert each.headers["traceparent"] == "00-1-2-01"
            assert each.headers["x-empty"] == ""
            assert each.content_type == "application/json"
        await sink.close()

    async def test_what_nobody_would_get_is_refused_alone(self, make_sink: MakeSink, target: str, read: Read) -> None:
        """In words; its neighbours go on, and so does the sink."""
        if self.nowhere is None:
            return
        await self._one_is_refused(make_sink(), target, read, outgoing(self.nowhere, [b"lost"], first=99)[0])

    async def test_what_is_too_large_is_refused_alone(self, make_sink: MakeSink, target: str, read: Read) -> None:
        """In words that say how large, and how large it may be; at the bound it is taken."""
        if self.body_bytes_max is None:
            return
        large = outgoing(target, [b"x" * (self.body_bytes_max + MIB)], first=99)[0]
        why = await self._one_is_refused(make_sink(), target, read, large)
        assert str(self.body_bytes_max + MIB) in why.replace(",", "")

    async def test_the_rest_of_a_key_waits_for_what_is_too_large(self, make_sink: MakeSink, target: str) -> None:
        """Where the sink keeps the order itself."""
        sink = make_sink()
        if self.body_bytes_max is not None and not sink.one_per_key:
            bodies = [b"first", b"x" * (self.body_bytes_max + MIB), b"third"]
            events = outgoing(target, bodies, key="k")
            told = await sent(sink, [*events, *outgoing(target, [b"of another"], key="l", first=9)])
            assert (sorted(told.confirmed), list(told.refused), list(told.deferred)) == ([1, 9], [2], [3])
            assert all(told.deferred.values())
        await sink.close()

    async def test_what_is_given_next_keeps_the_order_too(self, make_sink: MakeSink, target: str, read: Read) -> None:
        """Where the sink keeps it itself: whether it returns before or after the last events have ended."""
        sink = make_sink()
        if not sink.one_per_key:
            bodies = numbered(900)
            events = [outgoing(target, [body], key="abc"[n % 3], first=n)[0] for n, body in enumerate(bodies)]
            told = Told()
            for at in range(0, 900, 60):
                await sink.send(events[at : at + 60], told)
            assert len((await told.all_of(events)).confirmed) == 900
            found = [each.body for each in await read(target)]
            assert sorted(found) == sorted(bodies)
            for n in range(3):
                assert [body for body in found if body in bodies[n::3]] == bodies[n::3]
        await sink.close()

    async def test_what_is_given_next_waits_for_what_is_too_large(self, make_sink: MakeSink, target: str) -> None:
        """Where the sink keeps the order itself, and that was not told yet."""
        sink = make_sink()
        if self.body_bytes_max is not None and not sink.one_per_key:
            first = outgoing(target, [b"first", b"x" * (self.body_bytes_max + MIB)], key="k")
            then = [
                *outgoing(target, [b"third"], key="k", first=3),
                *outgoing(target, [b"of another"], key="l", first=9),
            ]
            told = Told()
            await sink.send(outgoing(target, [b"warm"], first=20), told)
            await sink.send(first, told)
            waits = 2 not in told.refused
            await sink.send(then, told)
            await told.all_of([*first, *then, *outgoing(target, [b"warm"], first=20)])
            assert (sorted(told.confirmed), list(told.refused)) == ([1, 9, 20] if waits else [1, 3, 9, 20], [2])
            assert list(told.deferred) == ([3] if waits else [])
        await sink.close()

    async def test_nothing_is_sent_after_the_end(self, make_sink: MakeSink, target: str) -> None:
        """It ends as unsent; ends are idempotent, and leave no task behind."""
        before = asyncio.all_tasks()
        sink = make_sink()
        await sink.reset()
        assert len((await sent(sink, outgoing(target, numbered(3)))).confirmed) == 3
        await sink.reset()
        assert len((await sent(sink, outgoing(target, numbered(3)))).confirmed) == 3
        await sink.close()
        await sink.close()
        assert len((await sent(sink, outgoing(target, numbered(3)))).unsent) == 3
        async with asyncio.timeout(CLOSE_S):
            while asyncio.all_tasks() - before:  # noqa: ASYNC110 - the client ends its own
                await asyncio.sleep(0.01)

    async def test_a_send_that_is_cancelled_ends_all(self, make_sink: MakeSink, target: str) -> None:
        """Once, as unsent or as what it was; and the sink goes on after a reset."""
        for after_s in (0.0, 0.001, 0.01):
            sink, told, events = make_sink(), Told(), outgoing(target, numbered(200))
            sending = asyncio.create_task(sink.send(events, told))
            await asyncio.sleep(after_s)
            sending.cancel()
            await asyncio.wait([sending])
            await told.all_of(events)
            assert not told.refused
            await sink.reset()
            assert len((await sent(sink, outgoing(target, numbered(3)))).confirmed) == 3
            await sink.close()

    async def test_a_send_that_has_just_begun_ends_after_a_reset(self, make_sink: MakeSink, target: str) -> None:
        """As whatever it is then."""
        sink, told, events = make_sink(), Told(), outgoing(target, numbered(20))
        sending = asyncio.create_task(sink.send(events, told))
        await asyncio.sleep(0)
        await sink.reset()
        await told.all_of(events)
        await asyncio.wait_for(sending, BOUND_S)
        await sink.close()

    async def _one_is_refused(self, sink: Sink, target: str, read: Read, wrong: Outgoing) -> str:
        """An event between others; what the sink says of it."""
        before, after = outgoing(target, numbered(5)), outgoing(target, numbered(5), first=50)
        told, left = Told(), [*before, wrong, *after]
        async with asyncio.timeout(PATIENCE_S):
            while left:
                one = Told()
                await sink.send(left, one)
                await one.all_of(left)
                told.confirmed += one.confirmed
                told.refused |= one.refused
                if len(one.unsent) == len(left):  # a relay looks with one then
                    one = await sent(sink, left[:1])
                    told.confirmed += one.confirmed
                    told.refused |= one.refused
                left = [out for out in left if out.place not in {*told.confirmed, *told.refused}]
        assert set(told.refused) == {wrong.place}
        assert {each.body for each in await read(target)} == set(numbered(5))
        assert len((await sent(sink, outgoing(target, [b"and more"]))).confirmed) == 1
        await sink.close()
        return told.refused[wrong.place]


class ServedSinkConformance:
    """What holds when the server dies or stands still; beside the other. `outage`: see `Outage`."""

    async def test_what_was_not_confirmed_is_sent_again_and_nothing_is_lost(
        self, make_sink: MakeSink, target: str, read: Read, outage: Outage
    ) -> None:
        """The server is killed in the middle of it, and no event is refused for that."""
        sink, events = make_sink(), outgoing(target, numbered(3_000))
        confirmed: set[int] = set()
        killing: asyncio.Task[None] | None = None
        async with asyncio.timeout(PATIENCE_S):
            while left := [out for out in events if out.place not in confirmed]:
                told = await sent(sink, left[:100])
                assert not told.refused
                confirmed.update(told.confirmed)
                if killing is None and len(confirmed) >= 500:
                    killing = asyncio.create_task(_restart(outage))
                if told.unsent or told.deferred:
                    assert all([*told.unsent.values(), *told.deferred.values()])
                    await asyncio.sleep(0.05)
        assert killing is not None
        await killing
        found = [each.body for each in await read(target)]
        assert set(found) == set(numbered(3_000))
        assert len((await sent(sink, outgoing(target, [b"and more"]))).confirmed) == 1
        await sink.close()

    async def test_keys_keep_their_order_when_the_server_dies(
        self, make_sink: MakeSink, target: str, read: Read, outage: Outage
    ) -> None:
        """Where the sink keeps it itself: of a key nothing is confirmed, nor there, before what it was given before."""
        sink, bodies = make_sink(), numbered(6_000)
        if sink.one_per_key:
            await sink.close()
            return
        left = [outgoing(target, [body], key="abc"[n % 3], first=n)[0] for n, body in enumerate(bodies)]
        killing: asyncio.Task[None] | None = None
        async with asyncio.timeout(PATIENCE_S):
            while left:
                told, given = Told(), list[Outgoing]()
                while len(given) < len(left) and not told.unsent:
                    chunk = left[len(given) : len(given) + 50]
                    given += chunk
                    await sink.send(chunk, told)
                    if killing is None and len(told.confirmed) >= 1_000:
                        killing = asyncio.create_task(_restart(outage))
                confirmed = set((await told.all_of(given)).confirmed)
                for key in "abc":
                    ends = [out.place in confirmed for out in given if out.event.key == key]
                    assert ends == sorted(ends, reverse=True)
                left = [out for out in left if out.place not in confirmed]
                await asyncio.sleep(0.05)
        assert killing is not None
        await killing
        found = list(dict.fromkeys([each.body for each in await read(target)]))  # each where it came first
        for n in range(3):
            assert [body for body in found if body in set(bodies[n::3])] == bodies[n::3]
        await sink.close()

    async def test_without_a_server_all_is_unsent(self, make_sink: MakeSink, target: str, outage: Outage) -> None:
        """In time, in words; and with one it is sent, with nothing said to the sink."""
        sink, events = make_sink(), outgoing(target, numbered(3))
        await asyncio.to_thread(outage.cut)
        try:
            told = await sent(sink, events)
            assert len(told.unsent) == 3
            assert all(told.unsent.values())
        finally:
            await asyncio.to_thread(outage.mend)
        await _all_confirmed(sink, events)
        await sink.close()

    async def test_a_reset_ends_what_a_server_that_stands_still_does_not_answer(
        self, make_sink: MakeSink, target: str, outage: Outage
    ) -> None:
        """Within a second; the next connection is a new one."""
        sink, events = make_sink(), outgoing(target, numbered(50))
        assert len((await sent(sink, outgoing(target, [b"first"]))).confirmed) == 1
        await asyncio.to_thread(outage.cut)
        try:
            told = Told()
            sending = asyncio.create_task(sink.send(events, told))
            await asyncio.sleep(0.1)
            assert not told.places
            began = time.monotonic()
            await sink.reset()
            await told.all_of(events, CLOSE_S)
            assert time.monotonic() - began < CLOSE_S
            assert len(told.unsent) == 50
            await asyncio.wait_for(sending, CLOSE_S)
        finally:
            await asyncio.to_thread(outage.mend)
        await _all_confirmed(sink, events)
        await sink.close()


def outgoing(
    target: str, bodies: Sequence[bytes], *, key: str | None = None, head: str = "{}", first: int = 1
) -> list[Outgoing]:
    """Events in the places from `first` on; those of one place have the same id."""
    return [
        Outgoing(place, Event(place.to_bytes(16, "big"), "sink", target, key, head, body))
        for place, body in enumerate(bodies, first)
    ]


async def sent(sink: Sink, events: Sequence[Outgoing]) -> Told:
    """What became of events, when that is known of all."""
    told = Told()
    await sink.send(events, told)
    return await told.all_of(events)


async def _all_confirmed(sink: Sink, events: Sequence[Outgoing]) -> None:
    """Send them until the sink has a connection that takes all."""
    async with asyncio.timeout(PATIENCE_S):
        while len((await sent(sink, events)).confirmed) < len(events):  # noqa: ASYNC110 - the broker is asked
            await asyncio.sleep(0.05)


async def _restart(outage: Outage) -> None:
    await asyncio.to_thread(outage.down)
    await asyncio.to_thread(outage.up)
