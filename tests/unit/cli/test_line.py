"""A job's place in line, as `jobs show` tells it."""

from types import SimpleNamespace
from typing import Any

from headrace.cli.jobs import shown
from headrace.core.model import NewJob, WorkerRecord
from headrace.stores.memory.store import MemoryStore


async def test_older_and_more_urgent_jobs_come_first() -> None:
    times = iter(range(1, 1000))
    store = MemoryStore(wall=lambda: float(next(times)))
    hr: Any = SimpleNamespace(store=store, clock=SimpleNamespace(wall=lambda: 0.0), registry={})
    await store.open()
    await store.register(WorkerRecord("w_1", "here", 1, "worker", "1", None, {"t": "0"}, 1, 0.0), 99.0)
    for number, priority in ((1, 0), (2, 0), (3, 5), (4, 0)):
        await store.enqueue([NewJob(id=bytes([number] * 16), task="t", queue="q", args="{}", priority=priority)])
    await store.enqueue([NewJob(id=bytes([9] * 16), task="t", queue="other", args="{}")])
    (third,) = await store.get([bytes([2] * 16)])
    (first,) = await store.get([bytes([3] * 16)])
    assert third is not None
    assert first is not None
    assert (await shown(hr, [third], around=True))[0]["why"].startswith("it is ready: 2 jobs are ahead of it")
    assert (await shown(hr, [first], around=True))[0]["why"].startswith("it is ready: it is first in line")
