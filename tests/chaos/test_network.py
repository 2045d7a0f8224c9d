"""What becomes of the jobs of a machine whose network went silent: no session ends, nothing is said, leases run out."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import farm_tasks
import pytest
from kit import Farm, farm_on

from headrace.core.states import JobState
from servers.machine import Machine
from servers.postgres import Postgres
from servers.server import HOST, MissingError

pytestmark = pytest.mark.timeout(180)
LEASE_S = 3.0
RENEWED_S = 2.5  # so long ago, at most, the lease was renewed when the cable was cut


@pytest.fixture
def machine() -> Iterator[Machine]:
    try:
        made = Machine()
    except MissingError as error:
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            raise
        pytest.skip(f"not here: {error}")
    with made:
        yield made


@pytest.fixture
def server(postgres: Postgres, machine: Machine) -> Iterator[Postgres]:
    """A server that both machines reach; the session's says whether there is one at all."""
    del postgres
    with Postgres(settings={"listen_addresses": f"{HOST},{machine.host}"}) as server:
        server.admit(machine.address)
        yield server


@pytest.fixture
async def farm(server: Postgres, tmp_path: Path) -> AsyncIterator[Farm]:
    async with farm_on(server.create_database(), tmp_path) as farm:
        yield farm


async def test_jobs_of_a_silent_machine_run_elsewhere_and_it_works_again_when_it_is_heard(
    farm: Farm, machine: Machine
) -> None:
    url = farm.url.replace(HOST, machine.host)
    await farm.tree(prefix=machine.prefix, url=url, FARM_LEASE=str(LEASE_S))
    job = await farm.enqueue(farm_tasks.once_slow)
    (first,) = await farm.wrote("once_slow")
    await farm.tree(FARM_LEASE=str(LEASE_S))
    machine.cut()
    cut_at = time.monotonic()
    _, second = await farm.wrote("once_slow", 2)
    assert second.pid != first.pid
    assert second.at - cut_at > LEASE_S - RENEWED_S  # its session is open all the while, and proves nothing
    record = await farm.ended(job)
    assert (record.state, record.attempt) == (JobState.SUCCEEDED, 2)
    machine.mend()
    async with asyncio.timeout(60):  # until one of its workers, a new one it may be, has run something
        while not any(is_of(farm.trees[0].pid, line.pid) for line in farm.lines("quick")):
            await farm.ended(await farm.enqueue(farm_tasks.quick, number=1))
    after = await farm.get(job)
    assert (after.attempt, after.fence, after.offset) == (record.attempt, record.fence, record.offset)


def is_of(tree: int, pid: int) -> bool:
    """Whether a process lives and belongs to this tree."""
    try:
        return os.getsid(pid) == tree
    except ProcessLookupError:
        return False
