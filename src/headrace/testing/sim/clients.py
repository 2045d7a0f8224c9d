"""Who uses the fleet: producers that enqueue, people who cancel and retry, readers that follow feeds."""

import asyncio
import json
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from headrace.core.errors import Conflict, HeadraceError, StoreUnavailable, UnknownJob
from headrace.core.feed import Position
from headrace.core.ids import IdMaker
from headrace.core.model import JobId, NewJob, UpdateKind
from headrace.runtime.reader import FeedReader, Subscribed
from headrace.testing.sim import events as e
from headrace.testing.sim.bodies import RETRY, UNSTORABLE, Step, registry
from headrace.testing.sim.door import Door
from headrace.testing.sim.node import Machine, Node
from headrace.testing.sim.pressure import WatchedPressure
from headrace.testing.sim.scenario import FaultKind, Scenario

if TYPE_CHECKING:
    from headrace.testing.sim.world import World

QUEUES = ("default", "default", "mail")
KEYS = 5


class Api:
    """One API process: it enqueues, and serves readers. It is started again when it dies."""

    def __init__(self, world: "World", machine: Machine) -> None:
        """Started at once."""
        self._world = world
        self.machine = machine
        self._ids = IdMaker()
        self.start()

    def start(self) -> None:
        """Begin, or begin again."""
        world = self._world
        self.node = node = world.node(f"api-{world.number('api')}", self.machine)
        node.on_death.append(lambda _: self._again())
        self.rng = world.rng(f"api {node.name}")
        self.store = world.store(node)
        bell = world.bell(node)
        self.reader = FeedReader(self.store, bell, node.clock, poll_s=world.scenario.pace_s)
        if world.outside is not None:
            calls = world.outside.join(node, bell, 2)
            node.spawn(calls.live(world.outside.plan.callers))
        self.door = Door(node, world.server, world.rng(f"door {node.name}"), world.scenario.strain, self._is_held)
        if world.scenario.strain is not None:
            self.reader.pressure = WatchedPressure(node)
        node.spawn(self._produce())

    def _is_held(self, task: str) -> bool:
        """As `Headrace` answers its gate."""
        calls, known = self.node.calls, registry(2, self._world.scenario.outages)
        return calls is not None and task in known and calls.upstreams.hold(known.get(task).needs)

    def _again(self) -> None:
        if not self._world.closing and not self.machine.off:
            self.machine.timeline.after(self._world.scenario.pace_s, self._start_again)

    def _start_again(self) -> None:
        if self.node.dead and not self.machine.off:
            self.start()

    # -- producing ----------------------------------------------------------------------------

    async def _produce(self) -> None:
        world, rng = self._world, self.rng
        gap_s = world.scenario.load_s * world.scenario.apis / world.scenario.jobs
        while world.to_enqueue > 0:
            await asyncio.sleep(rng.expovariate(1 / gap_s) * self.door.gap())
            count = min(world.to_enqueue, rng.choice((1, 1, 1, 2, 5)))
            world.to_enqueue -= count
            jobs = [draw_job(world.scenario, rng, self._ids.make(self.node.clock.wall(), rng.randbytes(8)))
                    for _ in range(count)]  # fmt: skip
            if world.outside is not None:
                jobs = [world.outside.needy(job, registry(2, world.scenario.outages)) for job in jobs]
            self.node.spawn(self._enqueue(jobs))

    async def _enqueue(self, jobs: list[NewJob]) -> None:
        world = self._world
        for job in jobs:
            world.tell(e.Attempted(job))
            if world.live.hurries():
                world.live.follow(job.id)
        tries = self.rng.choice((1, 3, 10))  # how often this caller asks again
        for _ in range(tries):
            if not await self.door.let_in(jobs, again=tries > 1):
                return
            try:
                answers = await self.store.enqueue(jobs)
            except Conflict:
                return
            except StoreUnavailable:
                await asyncio.sleep(self.rng.uniform(0, 5) * world.scenario.pace_s)
            else:
                for job, answer in zip(jobs, answers, strict=True):
                    world.tell(e.Acknowledged(job, answer))
                    if self.rng.random() < FOLLOWED:
                        world.follow(answer.id)
                return


def draw_job(scenario: Scenario, rng: random.Random, job_id: JobId) -> NewJob:
    """A job, and in its arguments all that its body will do."""
    pace_s = scenario.pace_s
    task = rng.choice(("both", "both", "both", "old", "new")) if scenario.has(FaultKind.DEPLOY) else "both"
    key = f"key {rng.randrange(KEYS)}" if rng.random() < SELDOM else None
    steps = draw_steps(scenario, rng)
    timeout_s = rng.choice((5.0, 30.0, 120.0)) * pace_s
    version = 1 if task == "old" else 2
    return NewJob(
        id=job_id,
        task=task,
        queue=rng.choice(QUEUES),
        args=registry(version).get(task).encode_args((), {"steps": json.dumps(steps)}),
        priority=rng.choice((0, 0, 0, 5, -5)),
        delay_s=rng.choice((0.0, 0.0, 0.0, rng.uniform(0, 30) * pace_s)),
        timeout_s=timeout_s,
        deadline_s=rng.uniform(1, 300) * pace_s if rng.random() < RARELY else None,
        max_attempts=RETRY.max_attempts,
        key=key,
        key_digest="one" if key is not None and rng.random() < OFTEN else "other" if key is not None else "",
        lane_key=rng.choice(("", "", "a", "b")),
        signature=registry(version).get(task).signature,
    )


def draw_steps(scenario: Scenario, rng: random.Random) -> list[Step]:
    """What a body does."""
    pace_s = scenario.pace_s
    steps: list[Step] = []
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        kind = rng.choice(("work", "work", "work", "emit", "emit", "log", "progress"))
        steps.append({"do": kind, "s": rng.expovariate(1.0) * pace_s, "keyed": rng.random() < OFTEN})
    if rng.random() < SELDOM:
        trouble = rng.choice(("fail", "fail", "snooze", "retry", "abandon", "deaf"))
        step: Step = {"do": trouble, "s": rng.uniform(0, 10) * pace_s}
        if trouble in {"snooze", "retry"} or rng.random() < OFTEN:
            step["until"] = rng.choice((1, 2))
        steps.insert(rng.randrange(len(steps) + 1), step)
    if rng.random() < scenario.faults.get(FaultKind.BLOCKED, 0.0) * SELDOM:
        steps.append({"do": "block", "s": rng.uniform(0, 25) * pace_s, "until": 1})
    if rng.random() < scenario.faults.get(FaultKind.POISON, 0.0) * SELDOM:
        steps.append({"do": "die"} if rng.random() < OFTEN else {"do": "die", "until": 1})
    if rng.random() < scenario.faults.get(FaultKind.REFUSALS, 0.0) * SELDOM:
        steps.append({"do": UNSTORABLE})
    end = rng.choice(("", "", "succeed", "join"))
    if end:
        steps.append({"do": end})
        if rng.random() < SELDOM:
            steps.append({"do": "work", "s": rng.uniform(0, 3) * pace_s})
    return steps


class Reader:
    """Somebody who follows one job to its end, and comes back with their position whenever they are cut off."""

    def __init__(self, world: "World", name: str, job: JobId) -> None:
        """Through any API process."""
        self._world = world
        self.name = name
        self.job = job
        self.position: Position | None = None
        self.done = False
        self._connection = 0  # its number, while there is one
        self._connections = 0
        self._rng = world.rng(f"reader {name}")
        self._connect()

    def _connect(self) -> None:
        if self.done or self._world.closing:
            return
        apis = [api for api in self._world.apis if not api.node.dead]
        if not apis:
            self._later()
            return
        api = self._rng.choice(apis)
        self._connections += 1
        number = self._connection = self._connections
        self._cancel = api.node.spawn(self._read(api, number))
        api.node.on_death.append(lambda _: self._cut(number))

    def _cut(self, connection: int) -> None:
        if self._connection == connection:
            self._connection = 0
            self._later()

    def _later(self) -> None:
        self._world.timeline.after(self._rng.uniform(0.1, 3) * self._world.scenario.pace_s, self._connect)

    def disconnect(self) -> str:
        """The network between the reader and the API breaks; in words."""
        if self._connection and not self.done:
            self._cancel()
            self._cut(self._connection)  # a task that had not begun tells nobody of its end
        return "is disconnected"

    async def _read(self, api: Api, connection: int) -> None:
        node = api.node
        try:
            async for told in api.reader.updates(self.job, self.position, pending_s=PENDING_S):
                if isinstance(told, Subscribed):
                    self.position = told.position
                    node.tell(e.Stood(self.name, self.job, told.position, told.recovered))
                    self.done = told.ended
                    continue
                if told.kind is not UpdateKind.PROGRESS and self.position is not None:
                    self.position = Position(self.position.epoch, told.offset)
                self.done = told.kind is UpdateKind.END
                node.tell(e.Saw(self.name, self.job, told))
        except UnknownJob:
            self.done = True
        except (HeadraceError, asyncio.CancelledError):
            pass
        self._cut(connection)


class Person:
    """Somebody with a console: cancels jobs, retries ended ones, holds queues and lets them go."""

    def __init__(self, world: "World", machine: Machine) -> None:
        """On a machine of the fleet, without a process that could die."""
        self._world = world
        self._rng = world.rng("person")
        self.node: Node = world.node("console", machine)
        self._store = world.store(self.node)
        self.node.spawn(self._act())

    async def _act(self) -> None:
        scenario, rng = self._world.scenario, self._rng
        wishes = [kind for kind in (FaultKind.CANCELS, FaultKind.REVIVALS, FaultKind.HOLDS) if scenario.has(kind)]
        while wishes and self._world.troubled:
            kind = rng.choice(wishes)
            await asyncio.sleep(rng.expovariate(1 / ((11 - 10 * scenario.faults[kind]) * scenario.pace_s)))
            try:
                await self._do(kind)
            except StoreUnavailable:
                continue
        # A hold that was asked for before may be applied late, long after it was let go.
        while wishes and not self._world.closing:
            for queue in sorted(set(QUEUES)):
                with suppress(StoreUnavailable):
                    await self._store.pause(queue, paused=False)
            await asyncio.sleep(30 * scenario.pace_s)

    async def _do(self, kind: FaultKind) -> None:
        rng, store = self._rng, self._store
        jobs = list(self._world.book.jobs)
        if kind is FaultKind.HOLDS:
            queue = rng.choice(QUEUES)
            await store.pause(queue, paused=True)
            await asyncio.sleep(rng.uniform(0, 20) * self._world.scenario.pace_s)
            while True:
                try:
                    await store.pause(queue, paused=False)
                except StoreUnavailable:
                    await asyncio.sleep(self._world.scenario.pace_s)
                else:
                    return
        if not jobs:
            return
        chosen = rng.sample(jobs, min(len(jobs), rng.choice((1, 1, 2, 10))))
        if kind is FaultKind.CANCELS:
            await store.cancel(chosen[-3:] if rng.random() < OFTEN else chosen)
        else:
            await store.retry(chosen)


FOLLOWED = 0.4
PENDING_S = 3.0
RARELY, SELDOM, OFTEN = 0.05, 0.2, 0.6
