"""Simulated supervisors and their children: the production classes, on processes that are not real."""

import asyncio
import random
import signal
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headrace.core.errors import HeadraceError
from headrace.core.model import WorkerId, WorkerRecord
from headrace.core.worker_events import PoolSettings, WorkerSettings
from headrace.ports.clock import Clock
from headrace.runtime.beat import Beat
from headrace.runtime.orders import Deaf, Orders
from headrace.runtime.pipe import Message
from headrace.runtime.supervisor import SUSPECTS, Supervisor
from headrace.runtime.worker import Worker
from headrace.testing.sim import events as e
from headrace.testing.sim.bodies import WatchedBodies, registry
from headrace.testing.sim.node import Machine, Node

if TYPE_CHECKING:
    from headrace.testing.sim.world import World

NOTICE_S = 0.001  # until a supervisor sees that a child has ended
PIPE_S = 0.0002


class ChildProcess:
    """A child as the operating system shows it to its supervisor: `ward.Child`."""

    def __init__(self, node: Node, parent: Node) -> None:
        """The process of a child, seen from its parent."""
        self._node = node
        self.pid = 0
        self.ended: asyncio.Future[int] = parent.loop.create_future()
        node.on_death.append(self._on_death)
        self._parent = parent

    def _on_death(self, code: int) -> None:
        if not self._parent.dead:
            self._node.machine.timeline.after(NOTICE_S, lambda: self._notice(code))

    def _notice(self, code: int) -> None:
        if not self._parent.dead and not self.ended.done():
            self.ended.set_result(code)

    @property
    def alive(self) -> bool:
        """Whether its end has not been seen."""
        return not self.ended.done()

    @property
    def stopped(self) -> bool:
        """Whether a signal holds it."""
        return self._node.paused and self._node.stopped

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Only the one signal that nothing withstands has an effect here."""
        if number == signal.SIGKILL:
            self._node.kill(-number)

    async def wait(self) -> int:
        """Its exit code."""
        return await asyncio.shield(self.ended)


class Line:
    """One direction of the pipe between a supervisor and its child: `ward.Words` for who reads it."""

    def __init__(self, reader: Node) -> None:
        """What is sent arrives in the loop of `reader`."""
        self._reader = reader
        self._messages: deque[Message] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._closed = False

    def put(self, message: Message) -> None:
        """Send; it arrives a moment later."""
        self._reader.machine.timeline.after(PIPE_S, lambda: self._arrive(message))

    def _arrive(self, message: Message) -> None:
        self._messages.append(message)
        self._ring()

    def _ring(self) -> None:
        if self._waiting is not None and not self._waiting.done() and not self._reader.dead:
            self._waiting.set_result(None)

    def end(self) -> None:
        """The other side is gone."""
        self._closed = True
        self._ring()

    async def get(self) -> Message | None:
        """The next message; None: the other side is gone."""
        while not self._messages:
            if self._closed:
                return None
            self._waiting = self._reader.loop.create_future()
            await self._waiting
        return self._messages.popleft()


class Channel:
    """A supervisor's end of the pipe."""

    def __init__(self, out: Line, into: Line) -> None:
        """`out` to the child, `into` from it."""
        self._out, self._into = out, into

    def send(self, message: Message) -> None:
        """To the child."""
        self._out.put(message)

    async def receive(self) -> Message | None:
        """From the child."""
        return await self._into.get()

    def close(self) -> None:
        """Nothing more is read."""


class ChildLink:
    """A `ward.Link` to a simulated process."""

    def __init__(self, world: "World", parent: Node, worker_id: WorkerId, role: str, version: int) -> None:
        """Start it."""
        self.node = world.node(f"{role}-{world.number(role)}", parent.machine)
        self.node.worker, self.node.parent = worker_id, parent
        self.beat = Beat.private()
        self.process = ChildProcess(self.node, parent)
        self.orders = Line(self.node)
        self.words = Line(parent)
        self.node.on_death.append(lambda _: self.words.end())
        world.workers[worker_id] = self.node
        self.node.spawn(_live(world, self, parent, role, version))

    async def open(self) -> Channel:
        """The pipe."""
        return Channel(self.orders, self.words)

    async def stacks(self, clock: Clock) -> str:
        """There are none to show."""
        del clock
        return ""

    def close(self) -> None:
        """Nothing is held."""


async def _live(world: "World", link: ChildLink, parent: Node, role: str, version: int) -> None:
    """What a child's process does, from its start to its end."""
    node = link.node
    rng = world.rng(f"child {node.name}")
    await asyncio.sleep(rng.uniform(0.05, 1.5) * world.scenario.pace_s)  # importing the user's module
    orders = Orders(node.worker or "", link.words.put)
    worker = build(world, node, role=role, version=version, beat=link.beat, idle=orders.idle, rng=rng)
    world.running[node.name] = worker
    working = asyncio.get_running_loop().create_task(worker.run())
    listening = asyncio.get_running_loop().create_task(_listen(link, orders, worker, parent))
    link.words.put({"op": "ready", "places": []})
    code = 0
    try:
        await working
    except HeadraceError:
        code = 1
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a defect
        node.surprise(error)
    listening.cancel()
    if node.calls is not None:
        await node.calls.upstreams.stop()
    world.ended(node.name, worker, code)
    node.kill(code)


async def _listen(link: ChildLink, orders: Orders, worker: Worker, parent: Node) -> None:
    while (message := await link.orders.get()) is not None:
        try:
            await orders.obey(message, worker)
        except HeadraceError:
            continue
    if parent.dead:
        link.node.kill()


def build(
    world: "World", node: Node, *, role: str, version: int, beat: Beat, idle: Callable[[], None], rng: random.Random
) -> Worker:
    """A production worker on a simulated process."""
    scenario = world.scenario
    known = registry(version, scenario.outages)
    suspects = role == SUSPECTS
    tasks = frozenset(known.names())
    pool = PoolSettings(tasks, scenario.slots, 0 if suspects else scenario.prefetch_max)
    bell = world.bell(node)
    calls = None if world.outside is None else world.outside.join(node, bell, version)
    guards = {} if calls is None else calls.upstreams.guards
    bodies = WatchedBodies(
        known, node.clock, rng, threads=1, cpu=None, overrides=dict[Any, Any],
        snoozes_max={name: guard.policy.snoozes_max for name, guard in guards.items()},
    )  # fmt: skip
    bodies.node, bodies.worker = node, node.worker or ""
    record = WorkerRecord(
        id=node.worker or "",
        host=node.machine.name,
        pid=1,
        role=role,
        version=str(version),
        queues=None,
        tasks={task.name: task.signature for task in known},
        concurrency=pool.slots,
        started_at=node.clock.wall(),
        supervisor_pid=1,
    )
    return Worker(
        world.store(node),
        Deaf(bell) if suspects else bell,
        node.clock,
        bodies,
        record=record,
        settings=WorkerSettings(
            {"async": pool},
            limits=scenario.limits,
            suspects=suspects,
            poll_s=scenario.pace_s,
            poll_max_s=30.0 * scenario.pace_s,
            answer_s=30.0 * scenario.pace_s,
            lease_look_s=0.25 * scenario.pace_s,
            backoff_s=0.1 * scenario.pace_s,
            backoff_max_s=5.0 * scenario.pace_s,
            reconcile_s=60.0 * scenario.pace_s,
            needy=frozenset(task.name for task in known if task.needs),
            kill_grace_s=10.0 * scenario.pace_s,
        ),
        needs=None if calls is None else calls.needs(known, pool.slots, suspects=suspects),
        lease_s=scenario.lease_s,
        beat=beat,
        beat_every_s=0.25 * scenario.pace_s,
        on_idle=idle,
    )


class Tree:
    """One supervisor's process on a machine; whoever runs it starts it again when it dies."""

    def __init__(self, world: "World", machine: Machine, version: int) -> None:
        """Started at once."""
        self._world = world
        self.machine = machine
        self.version = version
        self.children: list[Node] = []
        self.wanted = True
        self.start()

    def start(self) -> None:
        """Begin, or begin again."""
        world, scenario = self._world, self._world.scenario
        self.node = node = world.node(f"supervisor-{world.number('supervisor')}", self.machine)
        node.on_death.append(self._on_death)
        rng = world.rng(f"supervisor {node.name}")
        self.children = []
        pace_s = scenario.pace_s

        def launch(worker_id: WorkerId, role: str, slot_fd: int | None) -> ChildLink:
            del slot_fd
            link = ChildLink(world, node, worker_id, role, self.version)
            self.children.append(link.node)
            return link

        self.supervisor = Supervisor(
            world.store(node), world.bell(node), node.clock,
            launch=launch, version=str(self.version), processes=scenario.processes, lease_s=scenario.lease_s,
            grace_s=10.0 * pace_s, kill_grace_s=10.0 * pace_s, blocked_s=1e12, suspects_max=scenario.suspects_max,
            renew_every_s=0.5 * pace_s, look_every_s=0.2 * pace_s, rng=rng,
        )  # fmt: skip
        node.spawn(self._run())

    async def _run(self) -> None:
        try:
            code = await self.supervisor.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a defect
            self.node.surprise(error)
            return
        self._world.tell(e.Fault(f"{self.node} has ended, with status {code}"))
        self.node.kill(code)

    def _on_death(self, _: int) -> None:
        for child in self.children:  # they die with it, as the kernel sees to
            child.kill()
        if self.wanted and not self.machine.off:
            self.machine.timeline.after(2 * self._world.scenario.pace_s, self._again)

    def _again(self) -> None:
        if self.wanted and self.node.dead and not self.machine.off:
            self.start()

    def stop(self) -> None:
        """SIGTERM: it drains, and is not started again."""
        self.wanted = False
        handler = self.node.loop.signals.get(signal.SIGTERM)
        if handler is not None and not self.node.dead:
            self.node.loop.call_soon(handler)
        else:
            self.node.kill()
