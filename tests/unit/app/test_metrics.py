"""Counting begins when somebody may ask, and asking costs the store little, whoever and however often."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from headrace import BreakerOpen, Headrace, JobContext, StoreUnavailable
from headrace.app import metrics as metrics_module
from headrace.app.metrics import FRESH_S, Metrics, installed
from headrace.core.model import QueueRecord, WorkerRecord
from headrace.core.states import JobState
from headrace.observers.tally import LABELS_MAX
from headrace.ports.observer import SILENT, Moment
from headrace.settings import Settings
from headrace.testing.clock import ManualClock


class Dear:
    """A store whose queues take `cost_s` to count, on a clock that is moved by hand."""

    def __init__(self, clock: ManualClock, queues: int = 1) -> None:
        self.clock = clock
        self.cost_s = 0.0
        self.looks = 0
        self.away = False
        self._queues = [QueueRecord(f"q{n:05}", False, {JobState.READY: 1}, 1.0) for n in range(queues)]

    async def queues(self) -> list[QueueRecord]:
        self.looks += 1
        if self.away:
            raise StoreUnavailable("away")
        await asyncio.sleep(0)
        self.clock.advance(self.cost_s)
        return self._queues

    async def workers(self) -> list[WorkerRecord]:
        return []

    async def upstreams(self) -> tuple[float, dict[str, str]]:
        return 0.0, {}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Dear:
    return Dear(clock)


@pytest.fixture
def metrics(store: Dear, clock: ManualClock) -> Metrics:
    return Metrics(store, clock, {})  # type: ignore[arg-type]


async def told(metrics: Metrics) -> dict[str, Metric]:
    text = (await metrics.text(Moment())).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


async def test_who_asks_at_once_shares_one_look(metrics: Metrics, store: Dear, clock: ManualClock) -> None:
    await asyncio.gather(*(metrics.text(Moment()) for _ in range(20)))
    assert store.looks == 1
    clock.advance(FRESH_S)
    await metrics.text(Moment())
    assert store.looks == 2


async def test_a_dear_look_is_not_taken_again_soon(metrics: Metrics, store: Dear, clock: ManualClock) -> None:
    store.cost_s = 2.0
    await metrics.text(Moment())
    clock.advance(39.0)
    await metrics.text(Moment())
    assert store.looks == 1
    clock.advance(1.0)
    store.cost_s = 100.0
    await metrics.text(Moment())
    clock.advance(60.0)  # and never older than this
    await metrics.text(Moment())
    assert store.looks == 3


async def test_a_store_that_is_away_is_told_and_asked_again(metrics: Metrics, store: Dear, clock: ManualClock) -> None:
    store.away = True
    for _ in range(3):
        families = await told(metrics)
        assert families["headrace_store_up"].samples[0].value == 0
    assert store.looks == 1
    store.away = False
    clock.advance(FRESH_S)
    assert (await told(metrics))["headrace_store_up"].samples[0].value == 1


async def test_a_store_that_hangs_is_not_waited_for(
    metrics: Metrics, store: Dear, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs() -> list[QueueRecord]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(store, "queues", hangs)
    monkeypatch.setattr(metrics_module, "LOOK_S", 0.01)
    assert (await told(metrics))["headrace_store_up"].samples[0].value == 0


async def test_ten_thousand_queues(clock: ManualClock) -> None:
    families = await told(Metrics(Dear(clock, 10_000), clock, {}))  # type: ignore[arg-type]
    jobs = families["headrace_jobs"].samples
    assert len(jobs) == (LABELS_MAX + 1) * len(JobState)
    assert sum(sample.value for sample in jobs) == 10_000
    assert sum(len(family.samples) for family in families.values()) < 2_000


# -- with a whole Headrace ---------------------------------------------------------------------------


@pytest.fixture
async def hr() -> AsyncIterator[Headrace]:
    made = Headrace(settings=Settings(store="memory://", poll_s=0.05, grace_s=0.1))
    yield made
    await made.close()


async def test_nothing_is_counted_until_somebody_may_ask(hr: Headrace) -> None:
    assert hr.services.metrics.observer is SILENT
    tally = hr.services.metrics.begin()
    assert hr.services.metrics.observer is tally is hr.services.metrics.begin()


async def test_embedded_workers_and_enqueues_are_counted(hr: Headrace) -> None:
    @hr.task(queue="sums")
    async def add(ctx: JobContext, one: int, two: int) -> int:
        return one + two

    @hr.task()
    async def settles(ctx: JobContext) -> None:
        await ctx.succeed(None)

    hr.services.metrics.begin()
    async with hr.embedded():
        for _ in range(3):
            await (await add.enqueue(1, 2)).result(timeout=30)
        await (await settles.options(key="one").enqueue()).result(timeout=30)
        await settles.options(key="one").enqueue()  # finds the first
        families = await told(hr.services.metrics)
    attempts = {tuple(sample.labels.values()): sample.value for sample in families["headrace_attempts"].samples}
    assert {key: value for key, value in attempts.items() if value} == {
        ("succeeded", "add"): 3,
        ("succeeded", "settles"): 1,
    }
    enqueued = {sample.labels["task"]: sample.value for sample in families["headrace_enqueued"].samples}
    assert enqueued == {"add": 3, "settles": 1}
    waits = [each for each in families["headrace_wait_seconds"].samples if each.name.endswith("_count")]
    assert {sample.labels["queue"]: sample.value for sample in waits} == {"sums": 3, "default": 1}


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed()
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert not installed()


async def test_calls_of_upstreams_are_counted_by_their_outcome_and_handed_on_once(hr: Headrace) -> None:
    bank = hr.upstream("bank")
    async with bank:
        pass
    with pytest.raises(RuntimeError):
        async with bank:
            raise RuntimeError("down")
    with pytest.raises(asyncio.CancelledError):
        async with bank:
            raise asyncio.CancelledError
    await hr.force_upstream("bank", "open")
    await hr.services.upstreams.say(hr.services.upstreams.guards["bank"])
    with pytest.raises(BreakerOpen):
        await bank.__aenter__()
    taken = hr.services.metrics.take()
    assert taken is not None
    assert taken["totals"] == {
        "headrace_upstream_calls": [
            ["bank", "succeeded", 1],
            ["bank", "failed", 1],
            ["bank", "ignored", 1],
            ["bank", "refused", 1],
        ]
    }
    ((name, buckets, total_s),) = taken["spreads"]["headrace_upstream_call_seconds"]
    assert (name, sum(buckets)) == ("bank", 3)
    assert total_s > 0
    assert hr.services.metrics.take() is None
