"""Workers as this app configures them: supervised children and embedded ones."""

import asyncio
import logging
import os
import random
import secrets
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from headrace.app.bridging import bridging, promises_of
from headrace.app.notifying import poll_max_s
from headrace.core.errors import HeadraceError, UsageError
from headrace.core.limits import TaskLimit
from headrace.core.model import WorkerId, WorkerRecord
from headrace.core.worker_events import PoolSettings, WorkerSettings
from headrace.ports.notifier import Notifier
from headrace.ports.post import Post
from headrace.runtime.beat import Beat
from headrace.runtime.bodies import Bodies
from headrace.runtime.chores import quietly
from headrace.runtime.cpu import CpuPool
from headrace.runtime.keeper import LeaseKeeper
from headrace.runtime.letters import Letters
from headrace.runtime.needs import Needs
from headrace.runtime.promises import Ends
from headrace.runtime.registry import Kind
from headrace.runtime.watchdog import Watchdog
from headrace.runtime.worker import Worker

if TYPE_CHECKING:
    from headrace.app.headrace import Headrace

logger = logging.getLogger(__name__)

EMBEDDED = "embedded"
SUSPECTS = "suspects"  # claims only what others died on
PREFETCH_FACTOR = 10  # jobs that may wait behind a slot, if they are short enough
WORKERS_MAX = 64
AGAIN_S = 0.5  # after an embedded worker failed, before another one is tried


def worker_id() -> WorkerId:
    """A name for a worker that nothing else has or had."""
    return f"w_{secrets.token_hex(8)}"


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
    suspects_too: bool = True,
    rates: bool = True,
) -> Worker:
    """A worker on the open store. `role` is worker, suspects or embedded. Without `rates` none of a task holds.

    An embedded one runs suspects beside other jobs, those that run alone one at a time, unless `suspects_too` is False:
    of several in one process only one may, or a crash would be blamed on several.
    """
    settings = hr.settings
    slots = {
        Kind.ASYNC: concurrency or settings.concurrency,
        Kind.THREAD: threads or settings.threads,
        Kind.CPU: cpu_processes or settings.cpu_processes,
    }
    pools = _pools(hr, slots, prefetch=role != SUSPECTS)
    rng = random.Random()  # noqa: S311 - jitter
    cpu = _cpu(hr, slots[Kind.CPU], rng)
    return Worker(
        hr.store,
        hr.notifier if notifier is None else notifier,
        hr.clock,
        bodies(
            hr.registry,
            hr.clock,
            rng,
            threads=slots[Kind.THREAD],
            cpu=cpu,
            overrides=hr.overrides,
            snoozes_max={name: guard.policy.snoozes_max for name, guard in hr.services.upstreams.guards.items()},
            letters=Letters(hr.store, hr.sources.decoders) if isinstance(hr.store, Post) else None,
        ),
        record=_record(hr, name, role, queues, pools, supervisor_pid),
        settings=WorkerSettings(
            pools=pools,
            queues=queues,
            limits=_limits(hr, rates=rates),
            suspects=None if role == EMBEDDED and suspects_too else role == SUSPECTS,
            poll_s=settings.poll_s,
            poll_max_s=poll_max_s(hr.notifier if notifier is None else notifier) * rng.uniform(0.75, 1.0),
            poll_growth=rng.uniform(1.5, 2.5),
            needy=frozenset(task.name for task in hr.registry if task.needs),
            kill_grace_s=settings.kill_grace_s,
        ),
        lease_s=lease_s or (settings.embedded_lease_s if role == EMBEDDED else settings.lease_s),
        beat=beat,
        on_idle=on_idle,
        observer=hr.services.metrics.observer,
        needs=_needs(hr, pools, role, rng),
        ends=_ends(hr),
    )


def _cpu(hr: "Headrace", slots: int, rng: random.Random) -> CpuPool | None:
    modules = {task.module for task in hr.registry if task.kind is Kind.CPU}
    return CpuPool(slots, modules, rng) if modules else None


def _ends(hr: "Headrace") -> Ends | None:
    tasks = hr.outlets.tasks(hr.registry.names())
    return Ends(tasks, promises_of(hr).tell) if tasks else None


def _needs(hr: "Headrace", pools: Mapping[str, PoolSettings], role: str, rng: random.Random) -> Needs | None:
    guards = hr.services.upstreams.guards
    needs = {task.name: tuple(guards[name] for name in task.needs) for task in hr.registry if task.needs}
    slots = sum(pool.slots for pool in pools.values())
    return Needs(hr.services.upstreams, needs, slots, rng, others_first=role == SUSPECTS) if needs else None


def _pools(hr: "Headrace", slots: Mapping[Kind, int], *, prefetch: bool) -> dict[str, PoolSettings]:
    tasks = {kind: frozenset(task.name for task in hr.registry if task.kind is kind) for kind in Kind}
    factor = {kind: PREFETCH_FACTOR if prefetch and kind is not Kind.CPU else 0 for kind in Kind}
    return {
        kind.value: PoolSettings(tasks[kind], slots[kind], slots[kind] * factor[kind]) for kind in Kind if tasks[kind]
    }


def _limits(hr: "Headrace", *, rates: bool) -> tuple[TaskLimit, ...]:
    limits = [task.limit for task in hr.registry if task.limit is not None]
    return tuple(
        each if rates else replace(each, rate=None)
        for each in limits
        if rates or each.concurrency is not None or each.ordered
    )


def _record(  # noqa: PLR0917 - private, called once
    hr: "Headrace",
    name: WorkerId,
    role: str,
    queues: frozenset[str] | None,
    pools: Mapping[str, PoolSettings],
    supervisor_pid: int | None,
) -> WorkerRecord:
    return WorkerRecord(
        id=name,
        host=socket.gethostname(),
        pid=os.getpid(),
        role=role,
        version=version("headrace"),
        queues=None if queues is None else tuple(sorted(queues)),
        tasks={task.name: task.signature for task in hr.registry},
        concurrency=sum(pool.slots for pool in pools.values() if pool.tasks),
        started_at=hr.clock.wall(),
        supervisor_pid=supervisor_pid,
    )


@asynccontextmanager
async def embedded(hr: "Headrace", count: int) -> AsyncGenerator[None]:
    """Run workers on this loop; at the end they are drained for the grace of the settings."""
    if not 0 <= count <= WORKERS_MAX:
        raise UsageError(f"workers is between 0 and {WORKERS_MAX}, not {count}")
    await hr.reach()
    if not count:
        yield
        return
    keeper = LeaseKeeper(hr.store, hr.clock, lease_s=hr.settings.embedded_lease_s, rng=random.Random())  # noqa: S311 - jitter
    loop = asyncio.get_running_loop()
    keeper.start()
    running = [loop.create_task(_stay(hr, keeper, suspects_too=at == 0)) for at in range(count)]
    try:
        async with bridging(hr, None):
            yield
    finally:
        await keeper.drain(hr.settings.grace_s)
        await asyncio.gather(*running, return_exceptions=True)
        await keeper.stop()


async def _stay(hr: "Headrace", keeper: LeaseKeeper, *, suspects_too: bool) -> None:
    """Run a worker, and a new one in the place of one that lost its lease or failed."""
    while not keeper.draining:
        name = worker_id()
        try:
            await hr.open()
            await _serve(hr, keeper, name, suspects_too=suspects_too)
        except Exception as error:
            unexpected = not isinstance(error, HeadraceError)
            logger.warning("an embedded worker failed (%s); another one takes its place", error, exc_info=unexpected)
            await quietly(partial(hr.store.unregister, name), "unregister")
            await keeper.draining_within(AGAIN_S)


async def _serve(hr: "Headrace", keeper: LeaseKeeper, name: WorkerId, *, suspects_too: bool) -> None:
    beat = Beat.private()
    worker = build(hr, name, EMBEDDED, beat=beat, suspects_too=suspects_too)
    tasks = [(task.name, task.fn) for task in hr.registry]
    watchdog = Watchdog(beat, hr.clock, tasks, hr.settings.blocked_loop_s)
    try:
        beat.held_until = hr.clock.now() + hr.settings.embedded_lease_s
        await hr.store.register(worker.record, hr.settings.embedded_lease_s)  # before the keeper looks for it
        if keeper.draining:  # it would not hear of it any more
            await hr.store.unregister(name)
            return
        watchdog.start()
        with keeper.keeping(worker):
            await worker.run()
    finally:
        watchdog.stop()
        beat.close()
