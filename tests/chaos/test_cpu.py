"""Child processes for cpu tasks: what they run, what they may touch, how they are killed."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace.core.errors import Full, LeaseLost
from headrace.core.event import Event, stable_id
from headrace.core.model import (
    Cause,
    ClaimedJob,
    Failed,
    GivenBack,
    Json,
    Outcome,
    Retried,
    Snoozed,
    Succeeded,
    UpdateKind,
)
from headrace.runtime.cpu import CpuPool
from headrace.runtime.registry import TaskDef

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import cpu_tasks  # noqa: E402


class Ear:
    """A channel that keeps what it is told."""

    cancelled = False
    lease_lost = False

    def __init__(self) -> None:
        self.progressed: list[object] = []
        self.emitted: list[tuple[str, object, str | None]] = []
        self.results: list[object] = []
        self.published: list[Event] = []
        self.error: Exception | None = None

    def progress(self, data: Json) -> None:
        self.progressed.append(json.loads(data))

    async def emit(self, kind: UpdateKind, data: Json, key: str | None) -> int:
        if self.error is not None:
            raise self.error
        self.emitted.append((kind.value, json.loads(data), key))
        return len(self.emitted)

    async def check(self) -> None:
        if self.error is not None:
            raise self.error

    async def publish(self, event: Event, using: object | None) -> None:
        assert using is None
        if self.error is not None:
            raise self.error
        self.published.append(event)

    async def succeed(self, result: object, using: object | None) -> None:
        assert using is None
        self.results.append(result)


def job(args: object, **fields: object) -> ClaimedJob:
    given = {"attempt": 1, "failures": 0, "deadline_in_s": None, "emitted": frozenset[str]()} | fields
    return ClaimedJob(
        id=bytes(range(16)), fence=1, task="t", queue="default", args=json.dumps(args), crashes=0, snoozes=0,
        max_attempts=3, timeout_s=60, tags=("a",), signature="", offset=1, **given,
    )  # type: ignore[arg-type]  # fmt: skip


@pytest.fixture
async def pool() -> AsyncIterator[CpuPool]:
    made = CpuPool(2, ["cpu_tasks"], random.Random(1))
    yield made
    pids = made.pids
    await made.close()
    assert [pid for pid in pids if _runs(pid)] == []


async def run(pool: CpuPool, holder: cpu_tasks.Holder, args: object = None, **fields: object) -> Outcome | None:
    return await pool.run(holder.definition, job(args or {}, **fields), Ear())


async def until_written(file: Path) -> list[int]:
    async with asyncio.timeout(20):
        while not (pids := _written(file)):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    return pids


def _written(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()] if file.exists() else []


async def until_gone(*pids: int) -> None:
    async with asyncio.timeout(30):
        while any(_runs(pid) for pid in pids):  # noqa: ASYNC110 - other processes end
            await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_body_runs_in_a_child_that_is_used_again(pool: CpuPool) -> None:
    await pool.warm()
    (warm,) = pool.pids
    assert await run(pool, cpu_tasks.square, {"number": 12}) == Succeeded("144")
    assert await run(pool, cpu_tasks.pid) == Succeeded(str(warm))
    assert await run(pool, cpu_tasks.pid) == Succeeded(str(warm))


async def test_as_many_at_once_as_the_pool_is_large(pool: CpuPool) -> None:
    outcomes = await asyncio.gather(*(run(pool, cpu_tasks.square, {"number": n}) for n in range(20)))
    assert outcomes == [Succeeded(str(n * n)) for n in range(20)]
    assert len(pool.pids) == 2


async def test_a_child_gets_its_own_socket_and_no_other_descriptor(pool: CpuPool, tmp_path: Path) -> None:
    with (tmp_path / "slot").open("w") as slot:
        os.set_inheritable(slot.fileno(), True)
        outcome = await run(pool, cpu_tasks.descriptors)
    assert isinstance(outcome, Succeeded)
    found = json.loads(outcome.result)
    # Its socket, and what its event loop made: an epoll and a socket pair to wake it.
    assert sum(name.startswith("socket:") for name in found) == 3
    assert [name for name in found if not name.startswith(("socket:", "anon_inode:", "/proc/", "/dev/"))] == []


async def test_progress_items_and_logs_come_through(pool: CpuPool) -> None:
    ear = Ear()
    outcome = await pool.run(
        cpu_tasks.develop.definition, job({"steps": 3}, attempt=2, emitted=frozenset({"old", "s1"})), ear
    )
    assert outcome == Succeeded('"0001 2 True"')
    assert ear.emitted == [
        ("item", {"key": "s0", "data": {"step": 0}}, "s0"),
        ("item", {"key": "s2", "data": {"step": 2}}, "s2"),
        ("log", {"level": "info", "message": "done"}, None),
    ]
    assert ear.progressed[-1] == {"done": 2, "total": 3, "message": "step 2"}


async def test_a_child_publishes_through_its_worker(pool: CpuPool) -> None:
    ear = Ear()
    definition = cpu_tasks.tell.definition
    assert await pool.run(definition, job({"body": "a\u00fc"}), ear) == Succeeded("2")
    first, second = ear.published
    assert (first.sink, first.target, first.key, first.body) == ("kafka", "orders", "k", '"a\u00fc"'.encode())
    assert first.id == stable_id(bytes(range(16)), "#0")
    assert (second.id, second.body) == (stable_id(bytes(range(16)), "=raw"), b"\x00\xff")


async def test_a_child_that_posts_elsewhere_asks_its_worker_whether_it_may(pool: CpuPool) -> None:
    ear = Ear()
    assert await pool.run(cpu_tasks.post.definition, job({}), ear) == Succeeded('"sent"')
    ear.error = LeaseLost("it was lost")
    assert await pool.run(cpu_tasks.post.definition, job({}), ear) == Succeeded('"refused"')


async def test_a_flood_of_progress_is_thinned_out_and_ends_with_the_last(pool: CpuPool) -> None:
    ear = Ear()
    await pool.run(cpu_tasks.chatter.definition, job({"count": 20_000}), ear)
    assert len(ear.progressed) < 2_000
    assert ear.progressed[-1] == {"done": 19_999, "total": 20_000, "message": None}


async def test_what_the_feed_refuses_is_raised_in_the_body(pool: CpuPool) -> None:
    ear = Ear()
    ear.error = Full("the feed is full")
    outcome = await pool.run(cpu_tasks.develop.definition, job({"steps": 1}), ear)
    assert isinstance(outcome, Retried)
    assert (outcome.failure.type, outcome.failure.message) == ("headrace.core.errors.Full", "the feed is full")


async def test_success_is_final_whatever_comes_after(pool: CpuPool) -> None:
    ear = Ear()
    assert await pool.run(cpu_tasks.early.definition, job({}), ear) is None
    assert ear.results == [7]


async def test_using_has_no_place_in_a_child(pool: CpuPool) -> None:
    outcome = await run(pool, cpu_tasks.joined)
    assert isinstance(outcome, Failed)
    assert "using=" in outcome.failure.message


async def test_errors_follow_the_task_s_own_retry(pool: CpuPool) -> None:
    first = await run(pool, cpu_tasks.fails, {"kind": "value"})
    assert isinstance(first, Retried)
    assert (first.failure.type, first.failure.message, first.delay_s) == ("ValueError", "bad photo", 5)
    assert 'raise ValueError("bad photo")' in first.failure.traceback
    assert isinstance(await run(pool, cpu_tasks.fails, {"kind": "value"}, failures=2), Failed)
    assert isinstance(await run(pool, cpu_tasks.fails, {"kind": "key"}), Failed)
    assert await run(pool, cpu_tasks.fails, {"kind": "lost"}) == GivenBack(started=True)
    exited = await run(pool, cpu_tasks.fails, {"kind": "exit"})
    assert isinstance(exited, Retried)
    assert exited.failure.type == "SystemExit"
    unwritable = await run(pool, cpu_tasks.unwritable)
    assert isinstance(unwritable, Failed)
    assert unwritable.failure.type.endswith("NotEncodable")


async def test_steering_comes_through(pool: CpuPool) -> None:
    assert await run(pool, cpu_tasks.steers, {"how": "snooze"}) == Snoozed(60, "later")
    retried = await run(pool, cpu_tasks.steers, {"how": "retry"})
    assert isinstance(retried, Retried)
    assert retried.delay_s == 9
    abandoned = await run(pool, cpu_tasks.steers, {"how": "abandon"})
    assert isinstance(abandoned, Failed)
    assert (abandoned.failure.cause, abandoned.failure.message) == (Cause.ABANDONED, "no such photo")


async def test_cancelling_kills_the_child_and_what_it_started(pool: CpuPool, tmp_path: Path) -> None:
    body = asyncio.get_running_loop().create_task(run(pool, cpu_tasks.spins, {"file": str(tmp_path / "pids")}))
    pids = await until_written(tmp_path / "pids")
    body.cancel()
    with pytest.raises(asyncio.CancelledError):
        await body
    await until_gone(*pids)
    assert await run(pool, cpu_tasks.square, {"number": 3}) == Succeeded("9")
    assert pids[0] not in pool.pids


async def test_a_child_that_dies_is_a_failure_and_is_replaced(pool: CpuPool) -> None:
    outcome = await run(pool, cpu_tasks.dies, {"number": int(signal.SIGSEGV)})
    assert isinstance(outcome, Retried)
    assert (outcome.failure.type, outcome.failure.cause) == ("headrace.WorkerChildDied", Cause.CRASHED)
    assert "SIGSEGV" in outcome.failure.message
    again = await run(pool, cpu_tasks.dies, {"number": int(signal.SIGKILL)}, failures=1)
    assert isinstance(again, Failed)
    assert "out of memory?" in again.failure.message
    assert await run(pool, cpu_tasks.square, {"number": 4}) == Succeeded("16")


async def test_an_idle_child_that_was_killed_costs_no_job(pool: CpuPool) -> None:
    await pool.warm()
    (warm,) = pool.pids
    os.kill(warm, signal.SIGKILL)
    await until_gone(warm)
    assert await run(pool, cpu_tasks.square, {"number": 5}) == Succeeded("25")


async def test_a_child_that_died_before_the_pool_could_know_costs_no_job(pool: CpuPool) -> None:
    await pool.warm()
    (warm,) = pool.pids
    os.kill(warm, signal.SIGKILL)
    os.waitid(os.P_PID, warm, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - the loop is to have no turn to see it
    assert pool.pids == [warm]
    assert await run(pool, cpu_tasks.square, {"number": 5}) == Succeeded("25")


async def test_the_memory_limit_is_what_a_body_may_add(pool: CpuPool) -> None:
    assert await run(pool, cpu_tasks.eats, {"mebibytes": 50}) == Succeeded(str(50 << 20))
    outcome = await run(pool, cpu_tasks.eats, {"mebibytes": 300})
    assert isinstance(outcome, Retried)
    assert outcome.failure.type == "MemoryError"
    assert "memory limit of 209715200 bytes" in outcome.failure.message
    assert await run(pool, cpu_tasks.eats, {"mebibytes": 50}) == Succeeded(str(50 << 20))


async def test_modules_that_cannot_be_imported_fail_the_attempt_with_their_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = CpuPool(1, ["no_such_module"], random.Random(1))
    await pool.warm()
    assert "no_such_module" in caplog.text
    outcome = await run(pool, cpu_tasks.square, {"number": 5})
    assert isinstance(outcome, Retried)
    assert "No module named 'no_such_module'" in outcome.failure.message
    await pool.close()


SCRIPT = """
import asyncio, json, os, random, sys
from headrace.runtime.cpu import CpuPool
from headrace.runtime.registry import Policies, TaskDef

class Holder:
    def __init__(self, definition): self.definition = definition

def _square(number: int) -> int:
    return number * number

_square.__qualname__ = "square"
square = Holder(TaskDef("square", _square, Policies(cpu=True)))

async def main():
    pool = CpuPool(1, ["__main__"], random.Random(1))
    job = test_job({"number": 9})
    print(await pool.run(square.definition, job, None), *pool.pids, flush=True)
    if "wait" in sys.argv:
        await asyncio.Event().wait()
    await pool.close()

def test_job(args):
    from headrace.core.model import ClaimedJob
    return ClaimedJob(b"0" * 16, 1, "square", "q", json.dumps(args), 1, 0, 0, 0, 3, 60, None, (), "", 1)

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_tasks_of_the_script_that_was_run_and_death_with_the_worker(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    process = await asyncio.create_subprocess_exec(sys.executable, script, "wait", stdout=subprocess.PIPE)
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
    assert line.startswith("Succeeded(result='81')")
    child = int(line.split()[-1])
    assert _runs(child)
    process.kill()
    await process.wait()
    await until_gone(child)


def test_a_definition_is_what_the_tests_think_it_is() -> None:
    assert isinstance(cpu_tasks.square.definition, TaskDef)
