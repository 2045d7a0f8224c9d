"""What stands before an enqueue: declared queues only, at a bounded cost, whatever the store does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from headrace import Full, Headrace, InvalidConfig, JobContext, Rejected, Shed, StoreUnavailable
from headrace.core.load import LoadAsked, QueueLoad
from headrace.runtime.context import current_attempt
from headrace.settings import Settings
from headrace.stores.memory import MemoryStore
from headrace.testing import context
from headrace.testing.clock import ManualClock


class Watched(MemoryStore):
    """Counts looks."""

    looks = 0
    away = False

    async def loads(self, asked: Sequence[LoadAsked]) -> list[QueueLoad]:
        self.looks += 1
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("away")
        return await super().loads(asked)


class App:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hr = Headrace(settings=Settings(store="memory://"), clock=self.clock)
        self.store = Watched(wall=self.clock.wall)
        self.hr.services.store = self.store  # type: ignore[assignment]

        @self.hr.task(queue="billing")
        async def charge(ctx: JobContext, n: int) -> int:
            return n

        self.charge = charge

    async def late(self, seconds: float) -> None:
        """The oldest job gets so old while others go on enqueueing."""
        for _ in range(round(seconds)):
            self.clock.advance(1)
            with contextlib.suppress(Rejected):
                await self.charge.options(priority=9).enqueue(1)


@pytest.fixture
async def app() -> AsyncIterator[App]:
    app = App()
    yield app
    await app.hr.close()


async def test_without_a_declared_queue_the_store_is_not_looked_at(app: App) -> None:
    await app.charge.enqueue(1)
    app.hr.queue("mail", depth_max=1)
    await app.charge.enqueue(1)
    assert app.store.looks == 0


async def test_looks_are_a_second_apart_however_many_enqueue(app: App) -> None:
    app.hr.queue("billing", age_target=30)
    await asyncio.gather(*(app.charge.enqueue(n) for n in range(50)))
    assert app.store.looks == 1
    app.clock.advance(1.5)
    await app.charge.enqueue(1)
    assert app.store.looks == 2


async def test_a_full_queue_refuses_and_says_when_to_come_again(app: App) -> None:
    app.hr.queue("billing", depth_max=3)
    await app.hr.enqueue_many([app.charge.call(n) for n in range(3)])
    with pytest.raises(Full, match="queue 'billing' is full: at most 3 jobs") as caught:
        await app.charge.enqueue(4)
    assert caught.value.retry_in is not None
    assert 1 <= caught.value.retry_in < 2
    with pytest.raises(Full):
        await app.charge.options(delay=3600).enqueue(4)
    await app.charge.options(queue="mail").enqueue(4)


async def test_what_ended_meanwhile_makes_room_at_once(app: App) -> None:
    app.hr.queue("billing", depth_max=3)
    jobs = await app.hr.enqueue_many([app.charge.call(n) for n in range(3)])
    app.clock.advance(0.2)
    with pytest.raises(Full):
        await app.charge.enqueue(4)
    app.clock.advance(0.2)
    await jobs[0].cancel()
    assert (await app.charge.enqueue(4)).created


async def test_while_one_counts_the_others_are_not_refused_by_an_old_count(app: App) -> None:
    app.hr.queue("billing", depth_max=3)
    jobs = await app.hr.enqueue_many([app.charge.call(n) for n in range(3)])
    for job in jobs:
        await job.cancel()
    app.clock.advance(2)
    landed = await asyncio.gather(*(app.charge.enqueue(n) for n in range(3)))
    assert all(job.created for job in landed)
    assert app.store.looks == 2
    with pytest.raises(Full):
        await app.charge.enqueue(4)


async def test_room_in_one_queue_is_not_given_twice_while_another_is_counted(app: App) -> None:
    app.hr.queue("billing", depth_max=3)
    app.hr.queue("mail", depth_max=3)
    both = [app.charge.call(1), app.charge.options(queue="mail").call(1)]
    await app.hr.enqueue_many([both[0], both[0]])
    mails = await app.hr.enqueue_many([both[1]] * 3)
    for mail in mails:
        await mail.cancel()
    app.clock.advance(0.5)
    landed = await asyncio.gather(*(app.hr.enqueue_many(both) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in landed] == [list, Full]
    assert len(await app.hr.jobs(queue="billing")) == 3


async def test_who_waited_for_a_count_that_was_cancelled_counts_again(app: App) -> None:
    app.hr.queue("billing", depth_max=3)
    await app.hr.enqueue_many([app.charge.call(n) for n in range(3)])
    app.clock.advance(2)
    first, *others = (asyncio.ensure_future(app.charge.enqueue(n)) for n in range(3))
    await asyncio.sleep(0)
    first.cancel()
    for other in others:
        with pytest.raises(Full):
            await other
    assert app.store.looks == 3


async def test_a_count_that_cannot_be_made_afresh_refuses_nobody(app: App) -> None:
    app.hr.queue("billing", depth_max=3)
    await app.hr.enqueue_many([app.charge.call(n) for n in range(3)])
    app.clock.advance(2)
    app.store.away = True
    assert (await app.charge.enqueue(4)).created


async def test_an_overload_that_was_seen_long_ago_refuses_nobody(app: App) -> None:
    app.hr.queue("billing", age_target=10, interval=2)
    await app.charge.enqueue(1)
    await app.late(30)
    with pytest.raises(Shed):
        await app.charge.enqueue(1)
    app.store.away = True
    app.clock.advance(50)
    with pytest.raises(Shed):
        await app.charge.enqueue(1)
    app.clock.advance(15)
    assert (await app.charge.enqueue(1)).created


async def test_a_batch_is_refused_whole(app: App) -> None:
    app.hr.queue("billing", depth_max=3)
    with pytest.raises(Full):
        await app.hr.enqueue_many([app.charge.call(n) for n in range(4)])
    assert await app.hr.jobs() == []
    await app.hr.enqueue_many([app.charge.call(n) for n in range(3)])


async def test_an_old_queue_refuses_low_priority_first(app: App) -> None:
    app.hr.queue("billing", age_target=10, interval=2)
    await app.charge.enqueue(1)
    await app.late(25)
    with contextlib.suppress(Shed):
        await app.charge.enqueue(1)
    await app.late(3)
    with pytest.raises(Shed, match="queue 'billing' is overloaded: a job of priority 0"):
        await app.charge.enqueue(1)
    assert (await app.charge.options(delay=60).enqueue(1)).created  # due when this is over
    token = current_attempt.set(context())
    try:
        assert (await app.charge.enqueue(1)).created  # work that was let in before
    finally:
        current_attempt.reset(token)


async def test_a_task_that_is_held_fills_its_queue_and_does_not_age_it(app: App) -> None:
    app.hr.queue("billing", age_target=10, interval=2)
    app.hr.gate.is_held = lambda task: task == "charge"
    await app.charge.enqueue(1)
    await app.late(30)
    assert (await app.charge.enqueue(1)).created


async def test_a_store_that_cannot_be_looked_at_stops_nobody(app: App) -> None:
    app.hr.queue("billing", depth_max=1)
    app.store.away = True
    await app.charge.enqueue(1)
    assert app.store.looks == 1


async def test_how_much_a_queue_takes_now_is_counted_afresh(app: App) -> None:
    hr = app.hr
    assert (await hr.gate.left("billing", 0))[0] >= 1_000, "a queue that is not declared takes all"
    assert app.store.looks == 0
    hr.queue("billing", depth_max=3)
    await hr.open()
    assert await hr.gate.left("billing", 0) == (3, 0.0)
    await app.charge.enqueue(1)
    assert (await hr.gate.left("billing", 0))[0] == 2
    await hr.enqueue_many([app.charge.call(2), app.charge.call(3)])
    left, retry_in_s = await hr.gate.left("billing", 0)
    assert left == 0
    assert retry_in_s > 0
    await app.store.cancel([job.id.bytes for job in await hr.jobs(limit=1)])
    assert (await hr.gate.left("billing", 0))[0] == 1, "no answer is an old one"
    app.store.away = True
    app.clock.advance(5)
    assert (await hr.gate.left("billing", 0))[0] >= 1, "a store that does not count holds nobody up"


async def test_what_is_refused_is_counted(app: App) -> None:
    tally = app.hr.services.metrics.begin()
    app.hr.queue("billing", depth_max=1)
    await app.charge.enqueue(1)
    with pytest.raises(Full):
        await app.hr.enqueue_many([app.charge.call(n) for n in range(2)])
    taken = tally.take()
    assert taken is not None
    assert taken["totals"]["headrace_shed"] == [["billing", "depth", 2]]  # type: ignore[index]


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({}, "bounds nothing: give it depth_max= or age_target="),
        ({"depth_max": 0}, "depth_max is between 1 and 100,000, not 0"),
        ({"depth_max": True}, "depth_max is between 1 and 100,000, not True"),
        ({"depth_max": 100_001}, "not 100001"),
        ({"age_target": 0.5}, "age_target is between 1 and 604800 seconds, not 0.5"),
        ({"age_target": timedelta(days=-1)}, "age_target is between"),
        ({"age_target": 5, "interval": 6}, "interval is between 0.1 and 5 seconds"),
        ({"depth_max": 5, "interval": 6}, "interval belongs to age_target"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(app: App, bounds: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidConfig, match=r"hr\.queue\('billing'\)") as caught:
        app.hr.queue("billing", **bounds)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_two_policies_of_one_queue_are_refused(app: App) -> None:
    app.hr.queue("billing", depth_max=10, age_target=30)
    app.hr.queue("billing", depth_max=10, age_target=timedelta(seconds=30), interval=3)
    with pytest.raises(InvalidConfig, match=r"queue 'billing' was declared .* before; declare it once"):
        app.hr.queue("billing", depth_max=11, age_target=30)
    with pytest.raises(InvalidConfig, match="a queue's name has 1 to"):
        app.hr.queue("", depth_max=1)


def test_blocking_words_are_refused_too() -> None:
    hr = Headrace("memory://")

    @hr.task(queue="billing")
    def charge(n: int) -> int:
        return n

    hr.queue("billing", depth_max=1)
    charge.enqueue_sync(1)
    with pytest.raises(Full):
        charge.enqueue_sync(2)
    hr.close_sync()
