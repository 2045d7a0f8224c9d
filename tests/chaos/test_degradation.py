"""The table of docs/explanation/degradation.md: a row is broken for real, and what the page says is what happens.

A test is named after its row, or begins with its name; `test_degradation_http.py` has the rows that are about HTTP.
"""

import ast
import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from degradation_kit import Port, Site, is_of, site_on, until, way_to

from headrace import JobState
from headrace.core.fleet import BreakerState
from headrace.core.model import AttemptOutcome, Cause, Suspicion
from servers.postgres import Postgres
from servers.server import HOST
from tests.integration.calling.flaky import Flaky, Say

pytestmark = pytest.mark.timeout(120)
HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "explanation" / "degradation.md"
POLL_S = 1.0
HINT_S = 0.5  # a pick-up that is quicker was not a poll's


def rows(page: str) -> list[str]:
    """The first cell of each row of the page's table, as the name of a test."""
    cells = re.findall(r"^\| (.+?) +\|", page, re.MULTILINE)[1:]
    return ["test_" + re.sub(r"\W+", "_", cell.lower()).strip("_") for cell in cells]


def written() -> list[str]:
    """What the tests of the table are called."""
    modules = [ast.parse(path.read_text("utf-8")) for path in sorted(HERE.glob("test_degradation*.py"))]
    names = [node.name for module in modules for node in module.body if hasattr(node, "name")]
    return [name for name in names if name.startswith("test_") and not name.startswith("test_the_page")]


def test_the_page_has_a_test_for_each_row_and_no_test_is_without_one() -> None:
    wanted, found = rows(PAGE.read_text("utf-8")), written()
    assert len(wanted) == 9
    assert set(wanted) - set(found) == set()
    assert [name for name in found if not name.startswith(tuple(wanted))] == []


def test_the_page_is_read_by_its_rows() -> None:
    page = "# A\n\n| what fails | then |\n|---|---|\n| store down, enqueue | a |\n| a slow browser | b |\n"
    assert rows(page) == ["test_store_down_enqueue", "test_a_slow_browser"]


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[Postgres]:
    """A server of its own, which the tests stop; the session's says whether there is one at all."""
    del postgres
    with Postgres() as server:
        yield server


@pytest.fixture
async def site(postgres_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with site_on(postgres_url, tmp_path) as site:
        yield site


# --- the notifier ----------------------------------------------------------------------------


async def picked_up_after(site: Site) -> float:
    """How long a job waits for an idle worker, which has just begun to wait for its next poll."""
    await asyncio.sleep(0.2)
    number, began = len(site.lines("quick")), time.monotonic()
    job = await site.tasks.quick.enqueue(number)
    assert await job.result(timeout=10) == number
    return site.lines("quick")[-1].at - began


async def hints_work(site: Site) -> bool:
    """Whether one of three jobs is picked up sooner than by a poll."""
    for _ in range(3):
        if site.hr.notifier.working and await picked_up_after(site) < HINT_S:
            return True
    return False


async def test_notifier_down(postgres_url: str, tmp_path: Path) -> None:
    async with (
        way_to(postgres_url) as way,
        site_on(postgres_url, tmp_path, listen_url=way.url, poll_s=POLL_S) as site,
    ):
        worker = await site.worker(HEADRACE_LISTEN_URL=way.url, HEADRACE_POLL_S=str(POLL_S))
        await until(lambda: site.hr.notifier.working)
        assert await hints_work(site)
        await way.close()
        await until(lambda: "there is no connection for hints" in worker.err)
        await until(lambda: not site.hr.notifier.working)
        waits = [await picked_up_after(site) for _ in range(2)]
        assert max(waits) < POLL_S + 2, "they are found by polling, and in time"
        assert not site.hr.notifier.working
        await way.open()
        await until(lambda: "hints of other processes are heard again" in worker.err and site.hr.notifier.working)
        assert await hints_work(site)


# --- the store, under a worker ---------------------------------------------------------------


async def test_store_down_worker(server: Postgres, tmp_path: Path) -> None:
    async with site_on(server.create_database(), tmp_path) as site:
        await site.worker(HEADRACE_LEASE_S="4")
        jobs = [await site.tasks.waits.enqueue(4.0) for _ in range(10)]
        await site.wrote("waits", 10)
        await asyncio.to_thread(server.down)
        try:
            assert not site.lines("waited"), "all of them run when it goes away"
            await site.wrote("waited", 10)
            await asyncio.sleep(0.5)  # it has been away for longer than a lease
        finally:
            await asyncio.to_thread(server.start)
        records = await site.ended(*jobs)
        assert {(each.state, each.result, each.attempt, each.crashes) for each in records} == {
            (JobState.SUCCEEDED, "1", 1, 0)
        }
        assert len(site.lines("waits")) == len(site.lines("waited")) == 10, "each of them once"


async def test_store_down_worker_that_is_told_to_end(server: Postgres, tmp_path: Path) -> None:
    """It ends in order, and what it leaves to its supervisor is no crash."""
    async with site_on(server.create_database(), tmp_path) as site:
        worker = await site.worker()
        job = await site.tasks.waits.enqueue(60.0)
        await site.wrote("waits")
        await asyncio.to_thread(server.down)
        try:
            worker.process.terminate()
            await until(lambda: "ending, and the store has not heard of it" in worker.err)
        finally:
            await asyncio.to_thread(server.start)
        await until(lambda: worker.process.poll() is not None)
        (record,) = await site.records([job])
        assert (record.state, record.failures, record.suspect) == (JobState.READY, 0, Suspicion.NONE)
        assert (worker.process.returncode, "died" in worker.err) == (0, False)


async def test_store_down_worker_whose_job_runs_elsewhere_meanwhile(postgres_url: str, tmp_path: Path) -> None:
    """Only its own way there is cut: its attempt goes on and ends, and its late outcome is refused by the fence."""
    async with way_to(postgres_url) as one, way_to(postgres_url) as other, site_on(postgres_url, tmp_path) as site:
        ways = {await site.worker(HEADRACE_STORE=way.url, HEADRACE_LEASE_S="1"): way for way in (one, other)}
        job = await site.tasks.waits.enqueue(2.5)
        (first,) = await site.wrote("waits")
        (cut_off,) = (worker for worker in ways if is_of(worker, first))
        await ways[cut_off].close()
        _, second = await site.wrote("waits", 2)
        assert not is_of(cut_off, second)
        await until(lambda: any(line.pid == first.pid for line in site.lines("waited")))
        await ways[cut_off].open()
        (record,) = await site.ended(job)
        assert (record.state, record.result, record.attempt) == (JobState.SUCCEEDED, "2", 2)
        await until(lambda: "lost its lease" in cut_off.err)
        (again,) = await site.records([job])
        assert (again.result, again.fence, again.offset) == (record.result, record.fence, record.offset)


# --- a service that is called ----------------------------------------------------------------


async def stands(site: Site, state: BreakerState) -> bool:
    """Whether the fleet knows the bank to be so."""
    return [each.state for each in await site.hr.upstreams() if each.name == "bank"] == [state]


async def test_upstream_down(site: Site) -> None:
    bank = Flaky(default=Say(delay_s=0.2))
    async with Port(bank.answer) as port:  # closed
        await site.worker(BANK=f"http://{HOST}:{port.number}")
        charges = await site.hr.enqueue_many([site.tasks.charge.call(number) for number in range(60)])
        await until(lambda: stands(site, BreakerState.OPEN))
        charges += await site.hr.enqueue_many([site.tasks.charge.call(number) for number in range(60, 80)])
        others = await site.hr.enqueue_many([site.tasks.quick.call(number) for number in range(200)])
        began = time.monotonic()
        await site.ended(*others)
        assert time.monotonic() - began < 5, "they are not slower for it"
        await asyncio.sleep(1.5)
        held = await site.records(charges)
        assert {each.state for each in held} <= {JobState.READY, JobState.SCHEDULED, JobState.RUNNING}
        assert sum(each.state is JobState.READY and each.attempt == 0 for each in held) > 10, "held, and not tried"
        await port.open()
        await until(lambda: len(bank.heard) > 2)
        assert bank.peak <= 4, "two probes, and then a few at a time"
        records = await site.ended(*charges)
    assert {(each.state, each.failures) for each in records} == {(JobState.SUCCEEDED, 0)}
    assert len(bank.heard) == 80, "one charge each"
    assert bank.peak < 80, "and not all of them at once"
    attempts = [one for job in charges for one in await site.hr.store.attempts(job.id.bytes)]
    snoozed = [one for one in attempts if one.outcome is AttemptOutcome.SNOOZED]
    assert {one.failure.cause for one in snoozed if one.failure} == {Cause.UPSTREAM}
    await until(lambda: stands(site, BreakerState.CLOSED))


async def test_upstream_down_whose_only_place_a_dead_worker_held(site: Site) -> None:
    await site.worker()
    job = await site.tasks.pay.enqueue(600.0)
    (line,) = await site.wrote("pays")
    os.kill(line.pid, signal.SIGKILL)
    began = time.monotonic()
    assert await job.result(timeout=20) == 2
    assert time.monotonic() - began < 10, "and not when its lease ends: that is 90 s"


# --- a careless task -------------------------------------------------------------------------


async def test_event_loop_blocked_by_a_task(site: Site) -> None:
    workers = [await site.worker(HEADRACE_LEASE_S="1") for _ in range(2)]
    job = await site.tasks.blocks.enqueue(3.0)
    (line,) = await site.wrote("blocks")
    (blocked,) = (each for each in workers if is_of(each, line))
    (record,) = await site.ended(job)
    assert (record.state, record.result, record.attempt, record.crashes) == (JobState.SUCCEEDED, "1", 1, 0)
    assert len(site.lines("blocks")) == 1, "nobody else has started it"
    assert "task blocks has blocked the event loop for" in blocked.err
    assert "time.sleep(seconds)" in blocked.err
    assert not any("lost its lease" in each.err for each in workers)
