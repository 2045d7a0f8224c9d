"""Several trees, or several processes of one: who runs what, and whose clock counts."""

import os
import time
from collections import Counter

import farm_tasks
import pytest
from kit import Farm

from headrace.core.states import JobState

pytestmark = pytest.mark.timeout(120)
on_postgres = pytest.mark.parametrize("farm", ["postgres_url"], ids=["postgres"], indirect=True)
AHEAD_S = 300.0
SLOTS = 20  # of a process in these tests


async def all_ended(farm: Farm, jobs: list[bytes]) -> None:
    for job in jobs:
        record = await farm.ended(job)
        assert (record.state, record.attempt) == (JobState.SUCCEEDED, 1)


async def test_processes_of_one_tree_and_of_another_share_the_load(farm: Farm) -> None:
    await farm.tree(2)
    await farm.tree(1)
    count = 3 * 4 * SLOTS  # four rounds of everybody's slots
    await all_ended(farm, [await farm.enqueue(farm_tasks.waits, seconds=0.3) for _ in range(count)])
    shares = Counter(line.pid for line in farm.lines("waits"))
    assert len(shares) == 3
    assert min(shares.values()) > count / 10, shares


@on_postgres
async def test_clocks_of_machines_that_are_minutes_apart_change_nothing(farm: Farm) -> None:
    await farm.tree(FARM_AHEAD=str(AHEAD_S), FARM_LEASE="3")
    await farm.tree(FARM_AHEAD=str(-AHEAD_S), FARM_LEASE="3")
    began = time.monotonic()
    later = [await farm.enqueue(farm_tasks.quick, number=number, delay_s=1.5) for number in range(20)]
    long = [await farm.enqueue(farm_tasks.waits, seconds=5.0) for _ in range(20)]  # longer than a lease
    await all_ended(farm, later)
    assert all(line.at - began >= 1.5 for line in farm.lines("quick"))
    assert max(line.at for line in farm.lines("quick")) - began < AHEAD_S / 10
    await all_ended(farm, long)
    held = await farm.enqueue(farm_tasks.once_slow)
    (first,) = await farm.wrote("once_slow")
    farm.end_tree(next(n for n, tree in enumerate(farm.trees) if os.getsid(first.pid) == tree.pid))
    _, second = await farm.wrote("once_slow", 2)
    assert second.pid != first.pid
    assert (await farm.ended(held)).attempt == 2
