"""A relay between a store's outbox and a broker in this process: what arrives, in which order, and what stays."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from headrace.bridges.memory import MemoryBroker
from headrace.core.errors import StoreUnavailable
from headrace.core.event import Event, Outgoing
from headrace.core.relay_events import (
    Confirmed,
    Deferred,
    Effect,
    Refusal,
    Refused,
    RelaySettings,
    RelayState,
    Send,
    Unsent,
)
from headrace.notifiers.local import LocalNotifier
from headrace.ports.bridge import Sink, SinkEnd
from headrace.ports.observer import Silent
from headrace.runtime import relay as relay_module
from headrace.runtime import relays as relays_module
from headrace.runtime.clock import SystemClock
from headrace.runtime.relay import Relay
from headrace.runtime.relays import Relays, let_go
from headrace.stores.memory import MemoryStore

QUICK = RelaySettings(
    window=20, refusals_max=3, refused_pause_s=0.005, refused_pause_max_s=0.01, sink_pause_s=0.01,
    sink_pause_max_s=0.05, sweep_s=0.05, store_pause_s=0.01, store_pause_max_s=0.05, answer_s=0.5,
)  # fmt: skip


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LEASE_S", 0.5), ("RENEW_S", 0.1), ("MARGIN_S", 0.1), ("STANDBY_S", 0.1)):
        monkeypatch.setattr(relay_module, name, value)
    monkeypatch.setattr(relays_module, "LOOK_S", 0.05)


class Counting(Silent):
    """Adds up what became of events."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = defaultdict(int)

    def sent(self, sink: str, counts: Any) -> None:
        for word, count in counts.items():
            self.counts[word] += count


class Ground:
    """A store, a broker with one topic, and relays between them."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.store = MemoryStore(wall=self.clock.wall)
        self.broker = MemoryBroker()
        self.broker.topic("t")
        self.counting = Counting()
        self.number = 0

    async def publish(self, count: int, *, keys: int = 0, size: int = 4) -> list[Event]:
        events: list[Event] = []
        for _ in range(count):
            self.number += 1
            key = f"k{self.number % keys}" if keys else None
            events.append(Event(self.number.to_bytes(16), "kafka", "t", key, body=b"%0*d" % (size, self.number)))
        await self.store.publish(events)
        return events

    @property
    def arrived(self) -> list[bytes]:
        return [record.body for part in self.broker.topics["t"] for record in part]

    async def waiting(self) -> int:
        return sum(record.waiting + record.parked for record in await self.store.sinks())

    def relay(self, sink: Sink | None = None, doer: str = "me", settings: RelaySettings = QUICK) -> Relay:
        sink = self.broker.sink() if sink is None else sink
        return Relay(
            "kafka", sink, self.store, self.clock, random.Random(1), doer=doer, settings=settings,
            observer=self.counting,
        )  # fmt: skip

    @asynccontextmanager
    async def relaying(self, relay: Relay) -> AsyncIterator[Relay]:
        running = asyncio.ensure_future(relay.run())
        relay.call()
        try:
            yield relay
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def emptied(self) -> None:
        async with asyncio.timeout(10):
            while await self.waiting():  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@pytest.fixture
async def ground() -> Ground:
    ground = Ground()
    await ground.store.open()
    return ground


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def service(ground: Ground, sinks: dict[str, Sink]) -> Relays:
    return Relays(
        ground.store, LocalNotifier(None), ground.clock, random.Random(1), open_sink=sinks.get,
        observer=lambda: ground.counting,
    )  # fmt: skip


async def test_events_arrive_in_order_and_leave_the_outbox(ground: Ground) -> None:
    events = await ground.publish(100)
    async with ground.relaying(ground.relay()) as relay:
        await ground.emptied()
        later = await ground.publish(3)
        relay.call()
        await ground.emptied()
    assert ground.arrived == [event.body for event in events + later]
    assert ground.counting.counts == {"sent": 103, "refused": 0, "parked": 0}


async def test_a_late_commit_is_found_without_a_call(ground: Ground) -> None:
    await ground.publish(1)
    async with ground.relaying(ground.relay()):
        await ground.emptied()
        await ground.publish(1)
        await ground.emptied()
    assert len(ground.arrived) == 2


async def test_while_the_broker_is_away_events_wait_and_none_is_blamed(ground: Ground) -> None:
    ground.broker.cut("127.0.0.1:9092 refuses connections")
    events = await ground.publish(50, keys=3)
    async with ground.relaying(ground.relay()) as relay:
        await until(lambda: relay.health.state is RelayState.SINK_AWAY)
        await asyncio.sleep(0.3)
        assert ground.arrived == []
        page = await ground.store.outgoing("kafka", 0, 100, 1 << 20)
        assert [out.failures for out in page.events] == [0] * 50
        ground.broker.mend()
        await ground.emptied()
        assert relay.health.state is RelayState.SENDING
    assert sorted(ground.arrived) == [event.body for event in events]


async def test_a_poison_event_is_parked_and_its_neighbours_go_on(ground: Ground) -> None:
    ground.broker.bytes_max = 100
    before = await ground.publish(3, keys=1)
    (poison,) = await ground.publish(1, keys=1, size=200)
    after = await ground.publish(3, keys=1)
    async with ground.relaying(ground.relay()) as relay:
        await until(lambda: ground.counting.counts["sent"] == 6)
        (parked,) = await ground.store.parked("kafka", 0, 10)
        assert (parked.event, parked.failures, parked.why) == (poison, 3, "200 bytes are more than 100")
        assert ground.arrived == [event.body for event in before + after]
        ground.broker.bytes_max = 1000
        assert await ground.store.unpark("kafka", None) == 1
        relay.call()
        await ground.emptied()
    assert ground.arrived[-1] == poison.body
    assert ground.counting.counts == {"sent": 7, "refused": 2, "parked": 1}


class Moody:
    """A sink that refuses every event some times, and loses its connection now and then."""

    one_per_key = True

    def __init__(self, inner: Sink, rng: random.Random) -> None:
        self.inner = inner
        self.rng = rng
        self.refused: dict[int, int] = defaultdict(int)

    async def send(self, events: Sequence[Outgoing], tell: Callable[[SinkEnd], None]) -> None:
        for out in events:
            await asyncio.sleep(0)
            mood = self.rng.random()
            if mood < 0.1:
                tell(Unsent((out.place,), "lost"))
            elif mood < 0.4 and self.refused[out.place] < 2:
                self.refused[out.place] += 1
                tell(Refused(out.place, "not now"))
            else:
                await self.inner.send([out], tell)

    async def reset(self) -> None:
        await self.inner.reset()

    async def close(self) -> None:
        await self.inner.close()


async def test_a_key_keeps_its_order_whatever_is_refused(ground: Ground) -> None:
    events = await ground.publish(200, keys=7)
    sink = Moody(ground.broker.sink(), random.Random(3))
    async with ground.relaying(ground.relay(sink)):
        await ground.emptied()
    of_key: dict[str | None, list[bytes]] = defaultdict(list)
    for record in ground.broker.topics["t"][0]:
        of_key[record.key].append(record.body)
    for key, bodies in of_key.items():
        assert bodies == [event.body for event in events if event.key == key]
    assert sum(len(bodies) for bodies in of_key.values()) == 200


async def test_a_lost_confirmation_repeats_the_event_under_its_id(ground: Ground) -> None:
    await ground.publish(20)
    lost = iter([False] * 5 + [True] + [False] * 1000)
    ground.broker.lost = lambda what: what == "confirm" and next(lost)
    async with ground.relaying(ground.relay()):
        await ground.emptied()
    ids = [record.id for record in ground.broker.topics["t"][0]]
    assert len(set(ids)) == 20
    assert len(ids) == 21


async def test_who_dies_between_sending_and_deleting_leaves_it_to_the_next(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = await ground.publish(10)
    deaf = asyncio.Event()

    async def never(sink: str, done: Sequence[int], refused: Sequence[Refusal] = ()) -> None:
        deaf.set()
        raise StoreUnavailable("cut")

    with monkeypatch.context() as patch:
        patch.setattr(ground.store, "sent", never)

        async def stays(name: str, doer: str) -> None:
            """A process that is killed leaves nothing."""

        patch.setattr(ground.store, "leave_chore", stays)
        async with ground.relaying(ground.relay(doer="first")):
            await deaf.wait()
    assert len(ground.arrived) == 10
    async with service(ground, {"kafka": ground.broker.sink()}).running("second"):
        await asyncio.sleep(0.1)
        assert len(ground.arrived) == 10  # the lease of the first
        await ground.emptied()
    assert ground.arrived == [event.body for event in events] * 2


async def test_the_chores_of_a_dead_worker_are_free_at_once(ground: Ground) -> None:
    await ground.publish(1)
    assert await ground.store.take_chore("sink:kafka", "w_dead", 3600.0) == 1
    async with service(ground, {"kafka": ground.broker.sink()}).running("me"):
        await asyncio.sleep(0.2)
        assert ground.arrived == []
        await let_go(ground.store, "w_dead")
        await ground.emptied()


async def test_one_process_at_a_time_sends(ground: Ground) -> None:
    async with ground.relaying(ground.relay(doer="one")) as one, ground.relaying(ground.relay(doer="two")) as two:
        for _ in range(20):
            await ground.publish(20)
            one.call()
            two.call()
            await asyncio.sleep(0.01)
            assert not (one.holds and two.holds)
        await ground.emptied()
    assert len(ground.arrived) == 400


async def test_draining_settles_what_is_under_way(ground: Ground) -> None:
    await ground.publish(5)
    slow = asyncio.Event()

    async def delay(what: str) -> None:
        if what == "send":
            await slow.wait()

    ground.broker.delay = delay
    relay = ground.relay()
    running = asyncio.ensure_future(relay.run())
    relay.call()
    await asyncio.sleep(0.1)
    relay.drain()
    await asyncio.sleep(0.05)
    assert not running.done()
    slow.set()
    await asyncio.wait_for(running, 5)
    assert await ground.waiting() == 0


class Stuck(Moody):
    """A sink that swallows the first events, as a network that was cut does."""

    resets = 0

    async def send(self, events: Sequence[Outgoing], tell: Callable[[SinkEnd], None]) -> None:
        if self.resets:
            await self.inner.send(events, tell)
            return
        try:
            await asyncio.Event().wait()
        finally:
            tell(Unsent(tuple(out.place for out in events), "cancelled"))

    async def reset(self) -> None:
        self.resets += 1


async def test_a_broker_that_does_not_answer_is_left_and_asked_anew(ground: Ground) -> None:
    await ground.publish(30)
    sink = Stuck(ground.broker.sink(), random.Random(1))
    async with ground.relaying(ground.relay(sink)) as relay:
        await until(lambda: relay.health.state is RelayState.SINK_AWAY)
        assert relay.health.why == "the broker does not answer"
        await ground.emptied()
    assert sink.resets == 1


class Early:
    """A sink that keeps keys in order itself, returns at once, and ends nothing by itself."""

    one_per_key = False

    def __init__(self) -> None:
        self.given: list[list[int]] = []
        self.tell: Callable[[SinkEnd], None] = lambda _: None

    async def send(self, events: Sequence[Outgoing], tell: Callable[[SinkEnd], None]) -> None:
        self.given.append([out.place for out in events])
        self.tell = tell

    async def reset(self) -> None:
        pass

    close = reset


@pytest.mark.parametrize("end", [Unsent((1,), "lost"), Refused(1, "no"), Deferred((1,), "later")])
async def test_what_was_decided_before_an_end_was_heard_is_decided_anew(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, end: SinkEnd
) -> None:
    sink = Early()
    relay = ground.relay(sink, settings=replace(QUICK, one_per_key=False))
    perform, decided = relay._perform, 0

    def then_it_ends(effects: list[Effect]) -> None:
        nonlocal decided
        perform(effects)
        decided += any(isinstance(effect, Send) for effect in effects)
        if decided == 2 and len(sink.given) == 1:
            decided += 1
            sink.tell(end)  # the sink has not been given the second yet

    monkeypatch.setattr(relay, "_perform", then_it_ends)
    await ground.publish(1, keys=1)
    async with ground.relaying(relay):
        await until(lambda: sink.given == [[1]])
        await ground.publish(1, keys=1)
        relay.call()
        await until(lambda: len(sink.given) > 1)
        assert sink.given[1] == [1]
        sink.tell(Confirmed((1,)))
        await until(lambda: len(sink.given) > 2)
        assert sink.given[2] == [2]
        sink.tell(Confirmed((2,)))
        await ground.emptied()


# -- the service ----------------------------------------------------------------------------------


async def test_each_sink_that_has_something_gets_its_relay(ground: Ground) -> None:
    await ground.publish(3)
    await ground.store.publish([Event(bytes(16), "elsewhere", "t")])
    relays = service(ground, {"kafka": ground.broker.sink()})
    async with relays.running("me"):
        await until(lambda: len(ground.arrived) == 3)
        await until(lambda: "elsewhere" in relays.health)
        assert relays.health["elsewhere"].why == "this process has no URL for it"
        await ground.publish(3)
        await until(lambda: len(ground.arrived) == 6)
        assert relays.health["kafka"].state is RelayState.SENDING
    assert await ground.store.take_chore("sink:kafka", "another", 1.0) is not None


async def test_an_idle_relay_lets_others_be_it(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "IDLE_S", 0.1)
    await ground.publish(1)
    async with ground.relaying(ground.relay(doer="one")) as relay:
        await ground.emptied()
        await until(lambda: not relay.holds)
        assert await ground.store.take_chore("sink:kafka", "two", 0.1) is not None
