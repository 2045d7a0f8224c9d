"""Events while the processes that send them are killed: none is lost, each key stays in order, a job speaks once."""

import asyncio
import os
import signal
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

import pytest

from headrace import Headrace, kafka
from headrace.settings import Settings
from tests.e2e.kit import Program

pytestmark = pytest.mark.timeout(120)
HERE = Path(__file__).parent
EVENTS, JOBS, KEYS = 600, 30, 20
KILL_EVERY = 150


def lines(path: Path) -> list[tuple[str, str, int, int]]:
    """Ids, keys, numbers and senders, as they arrived."""
    rows = [row.split() for row in path.read_text().splitlines()] if path.exists() else []
    return [(row[0], row[1], int(row[2]), int(row[3])) for row in rows]


async def kill_who_sends(arrivals: Path) -> None:
    """Whoever has sent the last of so many, again and again."""
    killed_at = 0
    while True:
        await asyncio.sleep(0.05)
        arrived = lines(arrivals)
        if len(arrived) >= killed_at + KILL_EVERY:
            killed_at = len(arrived)
            with suppress(ProcessLookupError):
                os.kill(arrived[-1][3], signal.SIGKILL)


async def emptied(hr: Headrace) -> None:
    async with asyncio.timeout(60):
        while any(record.waiting for record in await hr.post.sinks()):  # noqa: ASYNC110 - other processes send
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("where", ["sqlite_url", "postgres_url"], ids=["sqlite", "postgres"])
async def test_nothing_is_lost_and_keys_keep_their_order(
    where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url: str = request.getfixturevalue(where)
    hr = Headrace(settings=Settings(store=url))

    @hr.task()
    async def sell(order: int) -> None:
        """Another body, in the workers."""

    await hr.open()
    env = {"HEADRACE_STORE": url, "SINK_FILE": str(tmp_path / "broker"), "HEADRACE_GRACE_S": "1"}
    argv = ("worker", "sinks_app:hr", "--app-dir", str(HERE), "--processes", "2")
    with Program(*argv, cwd=tmp_path, env=env):
        killing = asyncio.ensure_future(kill_who_sends(tmp_path / "broker"))
        published: list[str] = []
        for first in range(0, EVENTS, KEYS):  # of each key one
            numbers = range(first, first + KEYS)
            ids = [hr.publish(kafka("orders"), number, key=f"k{number % KEYS}") for number in numbers]
            published += [made.hex for made in await asyncio.gather(*ids)]
        jobs = await hr.enqueue_many([sell.call(order) for order in range(JOBS)])
        for job in jobs:
            await job.result(timeout=60)
        await emptied(hr)
        killing.cancel()
    arrived = lines(tmp_path / "broker")
    await hr.close()
    assert set(published) <= {row[0] for row in arrived}
    first: dict[str, dict[int, None]] = defaultdict(dict)
    for _, key, number, _ in (row for row in arrived if row[1].startswith("k")):
        first[key].setdefault(number)
    for key, numbers in first.items():
        assert list(numbers) == sorted(numbers), key
    of_jobs = {(key, number): event for event, key, number, _ in arrived if key.startswith("of-jobs")}
    assert len(of_jobs) == JOBS == len({row[0] for row in arrived}) - EVENTS  # whatever ran twice spoke once
    assert len({row[3] for row in arrived}) > 1  # it was taken over
    doubled = sum(count - 1 for count in Counter(row[0] for row in arrived).values())
    assert doubled < EVENTS / 2
