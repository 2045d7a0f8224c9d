"""The programs of the chaos tests: a supervisor and its child, on a store, without the user's surface.

python farm.py supervise URL [PROCESSES]
python farm.py child URL
"""

import asyncio
import logging
import os
import random
import socket
import sys
from functools import partial

import farm_tasks

from headrace.app.adapters import KeepingStore, adapters
from headrace.core.model import WorkerRecord
from headrace.core.worker_events import PoolSettings, WorkerSettings
from headrace.ports.notifier import Notifier
from headrace.runtime.bodies import Bodies
from headrace.runtime.child import Seat, take_seat
from headrace.runtime.clock import SystemClock
from headrace.runtime.cpu import CpuPool
from headrace.runtime.exec_child import ExecChild
from headrace.runtime.registry import Kind
from headrace.runtime.supervisor import Supervisor
from headrace.runtime.worker import Worker
from headrace.settings import Settings

LEASE_S = float(os.environ.get("FARM_LEASE", "10"))
AHEAD_S = float(os.environ.get("FARM_AHEAD", "0"))


class MachineClock(SystemClock):
    """The clock of a machine that may be wrong by minutes."""

    def wall(self) -> float:
        return super().wall() + AHEAD_S


def store_on(url: str) -> tuple[KeepingStore, Notifier]:
    return adapters(Settings(store=url, crash_backoff_s=0.2), MachineClock(), moved=False)


async def supervise(url: str, processes: int) -> int:
    store, notifier = store_on(url)
    await store.open()
    argv = (sys.executable, __file__, "child", url)
    try:
        return await Supervisor(
            store, notifier, MachineClock(), launch=partial(ExecChild, argv), version="1",
            processes=processes, lease_s=LEASE_S, grace_s=float(os.environ.get("FARM_GRACE", "5")), kill_grace_s=1.0,
        ).run()  # fmt: skip
    finally:
        await notifier.stop()
        await store.close()


async def serve(seat: Seat, url: str) -> int:
    store, notifier = store_on(url)
    clock, registry, rng = MachineClock(), farm_tasks.registry, random.Random()
    cpu = CpuPool(2, ["farm_tasks"], rng)

    async def build(seat: Seat) -> Worker:
        await store.open()
        await notifier.start()
        seat.adopt(store)
        await cpu.warm()
        bodies = Bodies(registry, clock, rng, threads=4, cpu=cpu, overrides=dict)
        suspects = seat.role == "suspects"
        kinds = {kind.value: frozenset(task.name for task in registry if task.kind is kind) for kind in Kind}
        pools = {kind: PoolSettings(tasks, 20, prefetch_max=0 if suspects else 20) for kind, tasks in kinds.items()}
        record = WorkerRecord(
            seat.worker_id, socket.gethostname(), os.getpid(), seat.role, "1", None,
            {task.name: task.signature for task in registry}, 20, clock.wall(), seat.supervisor_pid,
        )  # fmt: skip
        return Worker(
            store, seat.hush(notifier), clock, bodies, record=record, lease_s=LEASE_S, beat=seat.beat,
            settings=WorkerSettings(pools, suspects=suspects, kill_grace_s=1.0), on_idle=seat.idle,
        )  # fmt: skip

    try:
        return await seat.serve(build, lambda: [(task.name, task.fn) for task in registry], clock)
    finally:
        await cpu.close()
        await notifier.stop()
        await store.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(process)d %(asctime)s %(name)s %(message)s")
    if sys.argv[1] == "supervise":
        sys.exit(asyncio.run(supervise(sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)))
    own_seat = take_seat()
    own_seat.leave(asyncio.run(serve(own_seat, sys.argv[2])))
