"""The ends of jobs as events, on real stores: however a job ends, and by whomever it is told."""

import asyncio
import json
from collections import Counter

import pytest

from headrace import Headrace, Retry, kafka
from headrace.core.event import Head
from headrace.settings import Settings
from headrace.testing import MemoryBroker


@pytest.mark.parametrize("where", ["sqlite_url", "postgres_url"], ids=["sqlite", "postgres"])
async def test_each_end_is_told_once(where: str, request: pytest.FixtureRequest) -> None:
    hr, broker = Headrace(settings=Settings(store=request.getfixturevalue(where), poll_s=0.1)), MemoryBroker()
    broker.topic("jobs")
    hr.broker("kafka", broker)
    hr.outcomes(kafka("jobs"), data="result")

    @hr.task(retry=Retry(max_attempts=2, initial=0.05))
    async def divide(a: int, b: int) -> float:
        return a / b

    def told() -> list[tuple[str, str]]:
        return [(record.headers["ce_subject"], record.headers["ce_type"]) for record in broker.topics["jobs"][0]]

    dropped = await divide.options(delay=3600).enqueue(1, 1)
    await dropped.cancel()  # while no worker is there: the sweep tells it
    async with hr.embedded(2):
        good = await hr.enqueue_many([divide.call(n, 2) for n in range(40)])
        bad = await divide.enqueue(1, 0)
        async with asyncio.timeout(30):
            while len(told()) < 42:  # noqa: ASYNC110 - relays bring it about
                await asyncio.sleep(0.05)
            while (await hr.post.promised(None, 100)).ended:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    await hr.close()
    expected = {str(job.id): "headrace.job.succeeded" for job in good}
    expected |= {str(bad.id): "headrace.job.failed", str(dropped.id): "headrace.job.cancelled"}
    assert Counter(told()) == Counter(expected.items())
    by_job = {record.headers["ce_subject"]: json.loads(record.body) for record in broker.topics["jobs"][0]}
    assert by_job[str(good[7].id)]["result"] == 3.5
    assert by_job[str(bad.id)]["attempts"] == 2
    assert Head(broker.topics["jobs"][0][0].headers).headers["ce_source"] == "headrace"
