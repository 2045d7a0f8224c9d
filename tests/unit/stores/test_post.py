"""What is rung for when events are put into an outbox, and that a place is never used twice."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace.core.errors import LeaseLost
from headrace.core.event import Event
from headrace.core.model import Lease
from headrace.core.relay_events import Refusal
from headrace.ports.post import Arrival, Intake, Promise
from headrace.stores.memory import MemoryStore
from headrace.stores.sqlite import SqliteStore
from headrace.testing.clock import ManualClock
from headrace.testing.conformance import FullStore
from headrace.testing.conformance.store_base import new_job


@pytest.fixture
def rung() -> list[set[str]]:
    return []


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, rung: list[set[str]], tmp_path: Path) -> AsyncIterator[FullStore]:
    store: MemoryStore | SqliteStore
    if request.param == "memory":
        store = MemoryStore(wall=ManualClock().wall, notify=lambda hints: rung.append(set(hints)))
    else:
        store = SqliteStore(tmp_path / "jobs.db", notify=lambda hints: rung.append(set(hints)))
    await store.open()
    yield store
    await store.close()


def event(sink: str = "kafka", number: int = 1) -> Event:
    return Event(bytes([number]) * 16, sink, "orders")


async def test_sinks_are_rung_for_once_a_commit(store: FullStore, rung: list[set[str]]) -> None:
    await store.publish([event(), event(number=2), event("nats", 3)], once=True)
    assert rung == [{"sink:kafka", "sink:nats"}]
    await store.publish([event()], once=True)
    with pytest.raises(LeaseLost):
        await store.publish([event()], Lease(new_job().id, 1))
    (out,) = (await store.outgoing("nats", 0, 10, 10)).events
    await store.sent("nats", [], [Refusal(out.place, "no", parked=True)])
    assert len(rung) == 1, "nothing has come"
    await store.unpark("nats", None)
    await store.unpark("nats", None)
    assert rung[1:] == [{"sink:nats"}]


async def test_a_kept_promise_rings_and_a_message_that_is_a_job(store: FullStore, rung: list[set[str]]) -> None:
    job = new_job(promises=("a", "b"))
    await store.receive("rabbitmq:orders", Intake([Arrival(job)]))
    assert rung == [{"queue:billing"}]
    await store.cancel([job.id])
    rung.clear()
    assert await store.keep_promises([(Promise(job.id, "a"), None)]) == 1
    assert rung == []
    assert await store.keep_promises([(Promise(job.id, "b"), event())]) == 1
    assert rung == [{"sink:kafka"}]


async def test_a_place_is_never_used_again(store: FullStore) -> None:
    places: list[int] = []
    for number in range(3):
        await store.publish([event(number=number)])
        (out,) = (await store.outgoing("kafka", 0, 10, 10)).events
        places.append(out.place)
        await store.sent("kafka", [out.place])
    assert places == sorted(set(places))
