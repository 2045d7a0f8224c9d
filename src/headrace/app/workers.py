"""Workers as this app configures them: supervised children and embedded ones."""

import asyncio
import os
import random
import secrets
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from headrace.core.errors import UsageError
from headrace.core.model import WorkerId, WorkerRecord
from headrace.core.worker_events import PoolSettings, WorkerSettings
from headrace.ports.notifier import Notifier
from headrace.runtime.beat import Beat
from headrace.runtime.bodies import Bodies
from headrace.runtime.cpu import CpuPool
from headrace.runtime.keeper import LeaseKeeper
from headrace.runtime.registry import Kind
from headrace.runtime.worker import Worker

if TYPE_CHECKING:
    from headrace.app.headrace import Headrace

EMBEDDED = "embedded"
SUSPECTS = "suspects"  # claims what others died of, one at a time
PREFETCH_FACTOR = 10  # jobs that may wait behind a slot, if they are short enough
WORKERS_MAX = 64


def worker_id() -> WorkerId:
    """A name for a worker that nothing else has or had."""
    return f"w_{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"


def build(
    hr: "Headrace",
    name: WorkerId,
    role: str,
    *,
    queues: frozenset[str] | None = None,
    beat: Beat | None = None,
    notifier: Notifier | None = None,
    on_idle: Callable[[], None] | None = None,
    supervisor_pid: int | None = None,
    concurrency: int | None = None,
    threads: int | None = None,
    cpu_processes: int | None = None,
    bodies: Callable[..., Bodies] = Bodies,
    lease_s: float | None = None,
) -> Worker:
    """A worker on the open store. `role` is worker, suspects or embedded; an embedded one runs suspects too."""
    settings = hr.settings
    slots = {
        Kind.ASYNC: concurrency or settings.concurrency,
        Kind.THREAD: threads or settings.threads,
        Kind.CPU: cpu_processes or settings.cpu_processes,
    }
    tasks = {kind: frozenset(task.name for task in hr.registry if task.kind is kind) for kind in Kind}
    pools = {
        kind.value: PoolSettings(tasks[kind], slots[kind], 0 if kind is Kind.CPU else slots[kind] * PREFETCH_FACTOR)
        for kind in Kind
        if tasks[kind]
    }
    if role == SUSPECTS:
        # A cpu body runs in a process of its own and cannot take the worker along, so several are fine.
        pools = {
            "alone": PoolSettings(tasks[Kind.ASYNC] | tasks[Kind.THREAD], 1),
            "cpu": PoolSettings(tasks[Kind.CPU], slots[Kind.CPU]),
        }
    rng = random.Random()  # noqa: S311 - jitter
    cpu = None
    if tasks[Kind.CPU]:
        cpu = CpuPool(slots[Kind.CPU], {task.module for task in hr.registry if task.kind is Kind.CPU}, rng)
    record = WorkerRecord(
        id=name,
        host=socket.gethostname(),
        pid=os.getpid(),
        role=role,
        version=version("headrace"),
        queues=None if queues is None else tuple(sorted(queues)),
        tasks={task.name: task.signature for task in hr.registry},
        concurrency=sum(pool.slots for pool in pools.values()),
        started_at=hr.clock.wall(),
        supervisor_pid=supervisor_pid,
    )
    return Worker(
        hr.store,
        hr.notifier if notifier is None else notifier,
        hr.clock,
        bodies(hr.registry, hr.clock, rng, threads=slots[Kind.THREAD], cpu=cpu, overrides=hr.overrides),
        record=record,
        settings=WorkerSettings(
            pools=pools,
            queues=queues,
            suspects=None if role == EMBEDDED else role == SUSPECTS,
            one_pool_at_a_time=role == SUSPECTS,
            poll_s=settings.poll_s,
            kill_grace_s=settings.kill_grace_s,
        ),
        lease_s=lease_s or (settings.embedded_lease_s if role == EMBEDDED else settings.lease_s),
        beat=beat,
        on_idle=on_idle,
    )


@asynccontextmanager
async def embedded(hr: "Headrace", count: int) -> AsyncGenerator[None]:
    """Run workers on this loop; at the end they are drained for the grace of the settings."""
    if not 0 <= count <= WORKERS_MAX:
        raise UsageError(f"workers is between 0 and {WORKERS_MAX}, not {count}")
    await hr.open()
    workers = [build(hr, worker_id(), EMBEDDED) for _ in range(count)]
    if not workers:
        yield
        return
    lease_s = hr.settings.embedded_lease_s
    for worker in workers:
        await hr.store.register(worker.record, lease_s)  # before the keeper looks for them
    keeper = LeaseKeeper(hr.store, hr.clock, workers, lease_s=lease_s, rng=random.Random())  # noqa: S311 - jitter
    loop = asyncio.get_running_loop()
    running = [loop.create_task(worker.run()) for worker in workers]
    keeper.start()
    try:
        yield
    finally:
        for worker, task in zip(workers, running, strict=True):
            if not task.done():
                await worker.drain(hr.settings.grace_s)
        await asyncio.gather(*running, return_exceptions=True)
        await keeper.stop()
