"""What the memory store does beyond the contract: hints, and refusing work while it is closed."""

from collections.abc import Iterable

import pytest

from headrace.core.errors import StoreUnavailable, UsageError
from headrace.core.model import FeedWrite, Settle, Succeeded, UpdateKind
from headrace.stores.memory import MemoryStore
from headrace.testing.clock import ManualClock
from headrace.testing.conformance.store_base import claim, claim_one, new_job, register, settle


class Bell:
    def __init__(self) -> None:
        self.rung: list[set[str]] = []
        self.wanted = True

    def notify(self, hints: Iterable[str]) -> None:
        self.rung.append(set(hints))

    def wants(self, prefix: str) -> bool:
        assert prefix == "job:"
        return self.wanted

    def take(self) -> list[set[str]]:
        rung, self.rung = self.rung, []
        return rung


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
async def store(bell: Bell) -> MemoryStore:
    store = MemoryStore(wall=ManualClock().wall, notify=bell.notify, wants=bell.wants)
    await store.open()
    await register(store)
    return store


async def test_ready_work_rings_for_its_queue_once(store: MemoryStore, bell: Bell) -> None:
    await store.enqueue([new_job(), new_job(), new_job(queue="mail"), new_job(queue="later", delay_s=9)])
    assert bell.take() == [{"queue:billing", "queue:mail"}]


async def test_what_changes_nothing_rings_for_nothing(store: MemoryStore, bell: Bell) -> None:
    job = new_job()
    await store.enqueue([job])
    bell.take()
    await store.enqueue([job])
    await store.get([job.id])
    await store.prune(10)
    assert bell.take() == []


async def test_a_feed_that_grows_rings(store: MemoryStore, bell: Bell) -> None:
    await store.enqueue([new_job()])
    bell.take()
    job = await claim_one(store)
    await store.append([FeedWrite(job.id, job.fence, UpdateKind.ITEM, "1")])
    await settle(store, job, Succeeded())
    assert bell.take() == [{f"job:{job.id.hex()}"}] * 3


async def test_nobody_listens_nobody_is_rung_for(store: MemoryStore, bell: Bell) -> None:
    await store.enqueue([new_job()])
    bell.take()
    bell.wanted = False
    await claim_one(store)
    assert bell.take() == []


async def test_many_feeds_ring_as_one(store: MemoryStore, bell: Bell) -> None:
    await store.enqueue([new_job() for _ in range(101)])
    jobs = await claim(store, 1000)
    bell.take()
    await store.exchange("worker-1", [Settle(job.id, job.fence, Succeeded()) for job in jobs], None)
    assert bell.take() == [{"job:*"}]


async def test_a_cancel_of_a_running_job_rings(store: MemoryStore, bell: Bell) -> None:
    await store.enqueue([new_job()])
    job = await claim_one(store)
    bell.take()
    await store.cancel([job.id])
    assert bell.take() == [{"cancel"}]


async def test_a_released_queue_rings(store: MemoryStore, bell: Bell) -> None:
    await store.pause("billing", paused=True)
    await store.pause("billing", paused=False)
    assert bell.take() == [{"queue:billing"}]


async def test_a_closed_store_refuses_and_keeps_what_it_had(store: MemoryStore) -> None:
    job = new_job()
    await store.enqueue([job])
    await store.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.get([job.id])
    await store.open()
    assert (await store.get([job.id]))[0] is not None


def test_using_is_refused_with_the_remedy(store: MemoryStore) -> None:
    with pytest.raises(UsageError, match=r"using=object: .* sqlite:///"):
        store.join(object())
