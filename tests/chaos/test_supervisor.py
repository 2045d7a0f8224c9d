"""The supervisor and its children as processes: who is started, who is killed, what is freed."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headrace.core.errors import StoreUnavailable
from headrace.core.model import ClaimRequest, NewJob, Pool, Reaped, Suspicion
from headrace.core.states import JobState
from headrace.notifiers.local import LocalNotifier
from headrace.observers.tally import ATTEMPTS, CRASHES, Tally
from headrace.runtime.clock import SystemClock
from headrace.runtime.exec_child import ExecChild
from headrace.runtime.restarts import Restarts
from headrace.runtime.supervisor import Supervisor
from headrace.runtime.ward import Ward
from headrace.stores.memory.store import MemoryStore

PUPPET = (sys.executable, str(Path(__file__).with_name("puppet.py")))
TASK = ClaimRequest((Pool(frozenset({"t"}), 10),))


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - other processes bring it about
            await asyncio.sleep(0.005)


class House:
    """A supervisor under test, with its store."""

    def __init__(self, log: Path) -> None:
        self.clock = SystemClock()
        self.notifier = LocalNotifier(None)
        self.store = MemoryStore(wall=self.clock.wall, notify=self.notifier.publish, wants=self.notifier.wants)
        self.log = log
        self.task: asyncio.Task[int] | None = None

    async def start(self, processes: int = 1, **options: Any) -> Supervisor:
        await self.store.open()
        self.supervisor = Supervisor(
            self.store,
            self.notifier,
            self.clock,
            launch=partial(ExecChild, PUPPET),
            version="1",
            processes=processes,
            **options,
        )
        self.task = asyncio.get_running_loop().create_task(self.supervisor.run())
        return self.supervisor

    async def up(self, count: int = 2) -> None:
        await until(lambda: len(self.supervisor.wards) == count and all(ward.ready for ward in self.supervisor.wards))

    def ward(self, role: str = "worker") -> Ward:
        return next(ward for ward in self.supervisor.wards if ward.role == role)

    def heard(self, role: str) -> list[str]:
        if not self.log.exists():
            return []
        lines = [line.partition(" ") for line in self.log.read_text().splitlines()]
        return [json.loads(text)["op"] for who, _, text in lines if who == role]

    async def claimed(self, count: int) -> list[bytes]:
        jobs = [NewJob(os.urandom(16), "t", "default", "{}") for _ in range(count)]
        await self.store.enqueue(jobs)
        answer = await self.store.exchange(self.ward().worker_id, (), TASK)
        assert len(answer.claimed) == count
        return [job.id for job in jobs]

    async def ended(self) -> int:
        assert self.task is not None
        return await asyncio.wait_for(asyncio.shield(self.task), 30)


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    made = House(tmp_path / "log")
    monkeypatch.setenv("PUPPET_LOG", str(made.log))
    yield made
    if made.task is not None and not made.task.done():
        made.supervisor.stop()
        await asyncio.wait([made.task], timeout=20)
        assert made.task.done()


async def test_one_worker_and_one_for_suspects_known_to_the_store(house: House) -> None:
    await house.start(processes=2)
    await house.up(3)
    records = await house.store.workers()
    assert sorted(record.role for record in records) == ["suspects", "worker", "worker"]
    assert all(record.supervisor_pid == os.getpid() and record.alive for record in records)
    assert all(len(record.id) == 18 and record.id.startswith("w_") for record in records)


async def test_a_killed_child_frees_its_jobs_at_once_and_is_replaced(house: House) -> None:
    await house.start(look_every_s=60.0)
    await house.up()
    jobs = await house.claimed(3)
    old = house.ward()
    os.kill(old.process.pid, signal.SIGKILL)
    await until(lambda: "wake" in house.heard("suspects"))
    assert [(record.state, record.suspect) for record in await house.store.get(jobs) if record] == [
        (JobState.READY, Suspicion.SHARED)
    ] * 3
    await house.up()
    assert house.ward().worker_id != old.worker_id
    assert house.ward("suspects").process.alive


async def test_drain_reaches_every_child_and_leaves_no_worker_behind(house: House) -> None:
    await house.start(processes=2)
    await house.up(3)
    pids = [ward.process.pid for ward in house.supervisor.wards]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await house.ended() == 0
    assert house.heard("worker") == ["drain", "drain"]
    assert house.heard("suspects") == ["drain"]
    assert await house.store.workers() == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_child_that_will_not_drain_is_killed_and_its_jobs_are_given_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUPPET", "deaf")
    await house.start(grace_s=0.2, kill_grace_s=-1.9)
    await house.up()
    (job,) = await house.claimed(1)
    house.supervisor.stop()
    assert await house.ended() == 0
    (record,) = await house.store.get([job])
    assert record is not None
    assert (record.state, record.suspect, record.failures, record.crashes) == (JobState.READY, Suspicion.NONE, 0, 0)


async def test_a_second_signal_leaves_no_grace(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUPPET", "deaf")
    await house.start(grace_s=60.0, kill_grace_s=-1.9)
    await house.up()
    house.supervisor.stop()
    house.supervisor.stop()
    assert await house.ended() == 0


@pytest.mark.parametrize("looks", [{}, {"look_every_s": 60.0}], ids=["whoever sees it", "before any reap"])
async def test_a_stopped_child_loses_its_lease_and_is_replaced(
    house: House, caplog: pytest.LogCaptureFixture, looks: dict[str, float]
) -> None:
    await house.start(lease_s=1.0, **looks)
    await house.up()
    (job,) = await house.claimed(1)
    old = house.ward()
    os.kill(old.process.pid, signal.SIGSTOP)
    await until(lambda: not old.process.alive)
    await house.up()
    (record,) = await house.store.get([job])
    assert record is not None
    assert (record.state, record.suspect) == (JobState.READY, Suspicion.SHARED)
    assert "lost its lease" in caplog.text
    assert house.ward().worker_id != old.worker_id


async def test_a_child_stopped_for_less_than_its_lease_keeps_it(house: House, caplog: pytest.LogCaptureFixture) -> None:
    await house.start(lease_s=5.0)
    await house.up()
    (job,) = await house.claimed(1)
    old = house.ward()
    os.kill(old.process.pid, signal.SIGSTOP)
    await until(lambda: old.stopped)
    assert "its lease is not renewed" in caplog.text
    held_until = old.beat.held_until  # what the child reads
    assert held_until <= house.clock.now() + 5.0
    os.kill(old.process.pid, signal.SIGCONT)
    await until(lambda: not old.stopped)
    await until(lambda: old.beat.held_until > held_until)
    (record,) = await house.store.get([job])
    assert record is not None
    assert (record.state, record.worker) == (JobState.RUNNING, old.worker_id)
    assert house.ward() is old


async def test_an_attempt_that_outlives_its_end_costs_the_process(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PUPPET", "overdue")
    await house.start()
    await until(lambda: "outlived its timeout" in caplog.text)
    assert "task sleepy" in caplog.text


async def test_a_held_interpreter_is_named_and_keeps_its_lease(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PUPPET", "held")
    await house.start(lease_s=1.0)
    await house.up()
    old = house.ward()
    await until(lambda: "interpreter has been held" in caplog.text)
    assert "by task held" in caplog.text
    assert "hold_the_interpreter" in caplog.text
    await until(lambda: old.beat.beat_at == 0.0, 30)
    assert house.ward() is old
    assert not (await house.store.renew(old.worker_id, 1.0)).lost


async def test_a_hint_brings_cancels_to_the_child_at_once(house: House) -> None:
    await house.start(lease_s=600.0, renew_every_s=60.0)
    await house.up()
    await house.store.cancel(await house.claimed(1))
    await until(lambda: "cancel" in house.heard("worker"))


async def test_without_hints_the_heartbeat_brings_them(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.notifier, "subscribe", lambda *_: lambda: None)
    await house.start()
    await house.up()
    house.ward().beat.running = 1  # as a child writes it that runs something
    await house.store.cancel(await house.claimed(1))
    await until(lambda: "cancel" in house.heard("worker"))


async def test_a_first_start_that_fails_ends_with_the_message(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PUPPET", "stillborn")
    await house.start()
    assert await house.ended() == 1
    assert "no module named spam" in caplog.text


async def test_children_that_cannot_come_up_any_more_end_it_after_five(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Restarts, "delay_s", lambda *_: 0.0)
    await house.start()
    await house.up()
    monkeypatch.setenv("PUPPET", "stillborn")  # as if a deploy had broken the module
    os.kill(house.ward().process.pid, signal.SIGKILL)
    assert await house.ended() == 1
    assert caplog.text.count("no module named spam") == 5


async def test_a_store_that_is_away_when_a_child_dies_is_asked_until_it_is_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.start()
    await house.up()
    jobs = await house.claimed(2)
    away = True
    reap = house.store.reap

    async def reap_when_there(dead: Sequence[str] = ()) -> Reaped:
        if away:
            raise StoreUnavailable("the disk is full")
        return await reap(dead)

    monkeypatch.setattr(house.store, "reap", reap_when_there)
    other = house.ward("suspects")
    os.kill(house.ward().process.pid, signal.SIGKILL)
    await until(lambda: len(house.supervisor.wards) == 1)
    renewed_at = other.renewed_at
    await until(lambda: other.renewed_at > renewed_at)  # the others' leases live on meanwhile
    away = False
    await until(lambda: "wake" in house.heard("suspects"))
    assert [record.state for record in await house.store.get(jobs) if record] == [JobState.READY] * 2
    await house.up()


async def test_more_children_help_with_many_suspects_and_go_again(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PUPPET", "busy")
    await house.start(suspects_max=3)
    await house.up()
    await house.claimed(5)
    os.kill(house.ward().process.pid, signal.SIGKILL)
    await until(lambda: sum(ward.role == "suspects" for ward in house.supervisor.wards) == 3)
    await house.up(4)
    for ward in house.supervisor.wards:
        ward.wake()
    await until(lambda: sum(ward.role == "suspects" for ward in house.supervisor.wards) == 1)
    assert not any(ward.extra for ward in house.supervisor.wards)


async def test_what_children_count_and_their_deaths_reach_the_observer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUPPET", "counts")
    tally = Tally(house.clock.now)
    await house.start(observer=tally)
    await house.up()
    await until(lambda: tally.totals(ATTEMPTS) == {("t", "succeeded"): 3})
    os.kill(house.ward().process.pid, signal.SIGKILL)
    await until(lambda: tally.totals(ATTEMPTS) == {("t", "succeeded"): 6})  # what the next one says
    assert tally.totals(CRASHES) == {("worker",): 1}
    house.supervisor.stop()
    assert await house.ended() == 0
    assert tally.totals(CRASHES) == {("worker",): 1}
