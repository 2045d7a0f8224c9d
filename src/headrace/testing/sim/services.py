"""The services outside of a simulated world, and how its processes call them: through production guards.

Invariant: a service counts its own calls. It is done with one when it has answered or was hung up on,
whether or not whoever called it lives to hear of that.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.app.upstream import force
from headrace.core.errors import HeadraceError, Rejected
from headrace.core.fleet import BreakerState, Fleet, Force
from headrace.core.model import NewJob
from headrace.ports.notifier import Notifier
from headrace.ports.upstream import Permit
from headrace.runtime.guard import CallPermit
from headrace.runtime.upstreams import Upstreams
from headrace.testing.sim import call_events as c
from headrace.testing.sim import events as e
from headrace.testing.sim.needs import WatchedNeeds
from headrace.testing.sim.outages import Mood, Outages, Plan

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from headrace.runtime.registry import Registry
    from headrace.testing.sim.node import Node
    from headrace.testing.sim.world import World

NO_GUARD_TIMEOUT_S = 5.0
HEALED_S = 0.2  # a call takes at most, once everything is well: shorter than any timeout
CROWD = 20
SELDOM, HALF = 0.1, 0.5


class ServiceFailed(Exception):
    """A service did not do what it is for."""


class CallFailed(Exception):
    """What a body makes of that."""


class Service:
    """One service outside, in its moods."""

    def __init__(self, world: "World", plan: Plan) -> None:
        """It is well, to begin with."""
        self.plan = plan
        self.mood = Mood.WELL
        self.world = world
        self.rng = world.rng(f"service {plan.name}")
        self._later()

    def _later(self) -> None:
        self.world.timeline.after(self.rng.expovariate(1 / self.plan.well_s), self._turn)

    def _turn(self) -> None:
        """Fall into a mood, and come out of it."""
        if not self.world.troubled:
            return
        if self.mood is Mood.WELL:
            self.mood = self.rng.choice(self.plan.moods)
            self.world.timeline.after(self.rng.uniform(0.5, 20), self._turn)
        else:
            self.mood = Mood.WELL
            self._later()
        self.world.tell(e.Fault(f"{self.plan.name}: {self.mood.value}"))

    def answers(self) -> tuple[float | None, bool]:
        """After how long a call that begins now is answered (None: never), and whether well."""
        rng = self.rng
        takes_s = rng.expovariate(1 / self.plan.call_s) if self.world.troubled else rng.uniform(0, HEALED_S)
        match self.mood:
            case Mood.DOWN:
                return 0.001, False
            case Mood.HANGS:
                return None, False
            case Mood.SLOW:
                return takes_s + rng.uniform(0.5, 6), True
            case Mood.ERRS:
                return takes_s, rng.random() < HALF
            case _:
                return takes_s, True


class Call:
    """One call at a service."""

    def __init__(self, service: Service, node: "Node", timeout_s: float) -> None:
        """It arrives at once."""
        self.number = service.world.number("call")
        self.answer: asyncio.Future[None] = node.loop.create_future()
        self._world = service.world
        self._node = node
        self._name = service.plan.name
        self._served = False
        after_s, well = service.answers()
        if after_s is not None:
            self._world.timeline.after(after_s, lambda: self._answer(well=well))
        self._ends_at = self._world.timeline.now + timeout_s

    def _answer(self, *, well: bool) -> None:
        self.serve()
        if self._node.dead or self.answer.done():
            return
        if well:
            self.answer.set_result(None)
        else:
            self.answer.set_exception(ServiceFailed(f"the upstream {self._name!r} failed"))

    def serve(self) -> None:
        """The service is done with it."""
        if not self._served:
            self._served = True
            self._world.tell(c.Served(self.number))

    def orphaned(self) -> None:
        """Its caller is dead: the service learns of that when the call's time is over."""
        self._world.timeline.at(self._ends_at, self.serve)


class Calls:
    """What one process has of the services: production guards of those that its code knows."""

    def __init__(self, outside: "Outside", node: "Node", notifier: Notifier, version: int) -> None:
        """`version` is of its code."""
        self.outside = outside
        self.node = node
        self.version = version
        self.upstreams = Upstreams(outside.world.store(node), notifier, node.clock, open_=self._open, wait=_no_threads)
        self.upstreams.known_as(node.worker or f"p_{node.name}")
        for plan in outside.plan.plans:
            if version in plan.policies:
                self.upstreams.add(plan.name, plan.policies[version])
        self.rng = outside.world.rng(f"calls {node.name}")
        self.retry_rng = outside.world.rng(f"retries {node.name}")
        self._under_way: dict[int, Call] = {}
        node.on_death.append(lambda _: self._died())

    async def _open(self) -> None:
        self.upstreams.start()

    def _died(self) -> None:
        for call in self._under_way.values():
            call.orphaned()

    def needs(self, known: "Registry", slots: int, *, suspects: bool) -> "WatchedNeeds | None":
        """For a worker of this process; None: no task of it needs one."""
        guards = {task.name: tuple(self.upstreams.guards[name] for name in task.needs) for task in known if task.needs}
        for name, guard in self.upstreams.guards.items():
            guard.tasks = tuple(sorted(task for task, its in guards.items() if any(it.name == name for it in its)))
        return WatchedNeeds(self, guards, slots, suspects=suspects) if guards else None

    async def call(self, name: str, *, not_ours: bool = False, retry_after_s: float | None = None) -> None:
        """Call a service, perhaps again and again inside its retry budget, as `bank.client()` does.

        Raises:
            Rejected, ServiceFailed, TimeoutError: its guard refused, or it failed.
        """
        guard = self.upstreams.guards.get(name)
        for _ in range(self.retry_rng.choice((0, 0, 2))):
            try:
                return await self._guarded(name, not_ours=not_ours, retry_after_s=retry_after_s)
            except (ServiceFailed, TimeoutError):
                if guard is None or not guard.retry_allowed():
                    raise
                self.node.tell(c.Retrying(name, self.version, self.upstreams.process, guard.now()))
        return await self._guarded(name, not_ours=not_ours, retry_after_s=retry_after_s)

    async def _guarded(self, name: str, *, not_ours: bool, retry_after_s: float | None) -> None:
        """Call it once, as `async with bank:` does."""
        guard = self.upstreams.guards.get(name)
        if guard is None:
            await self._call(name, None, not_ours=not_ours)
            return
        permit = await guard.acquire()
        try:
            await self._call(name, permit, not_ours=not_ours)
        except ServiceFailed as error:
            permit.failed(error, retry_after_s)
            raise
        except TimeoutError as error:
            late = TimeoutError(f"a call of {name!r} took longer than {guard.timeout_s} s")
            permit.failed(late)
            raise late from error
        except asyncio.CancelledError:
            permit.ignored()
            raise
        if not_ours:
            permit.ignored()
        else:
            permit.succeeded()

    async def _call(self, name: str, permit: Permit | None, *, not_ours: bool) -> None:
        guard = self.upstreams.guards.get(name)
        timeout_s = NO_GUARD_TIMEOUT_S if guard is None or guard.timeout_s is None else guard.timeout_s
        call = Call(self.outside.services[name], self.node, timeout_s)
        ticket = permit._ticket if isinstance(permit, CallPermit) else None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        self._under_way[call.number] = call
        if ticket is not None:
            process = self.upstreams.process
            self.node.tell(
                c.Called(
                    call.number,
                    name,
                    self.node.name,
                    self.version,
                    process,
                    ticket.generation,
                    ticket.permit,
                    ticket.began,
                )
            )
        failed: bool | None = True
        try:
            async with asyncio.timeout(timeout_s):
                await call.answer
            failed = None if not_ours else False
        except asyncio.CancelledError:
            failed = None
            raise
        finally:
            if not self.node.ending:
                del self._under_way[call.number]
                call.serve()
                self.node.tell(c.CallEnded(call.number, failed))

    async def live(self, callers: int) -> None:
        """Hear of the fleet; call without a job, while there is trouble."""
        self.upstreams.start()
        world, rng = self.outside.world, self.rng
        while callers and world.troubled:
            await asyncio.sleep(rng.expovariate(callers))
            crowd = CROWD if rng.random() < SELDOM * HALF else 1
            for _ in range(crowd):
                self.node.spawn(self._try_one(rng.choice(self.outside.plan.plans).name))

    async def _try_one(self, name: str) -> None:
        with suppress(Rejected, ServiceFailed, TimeoutError):
            await self.call(name, not_ours=self.rng.random() < SELDOM)


class Outside:
    """The services of one world, and the person who sets their breakers by hand."""

    def __init__(self, world: "World", plan: Outages) -> None:
        """Trouble begins now."""
        self.world = world
        self.plan = plan
        self.services = {each.name: Service(world, each) for each in plan.plans}
        self.calls: dict[str, Calls] = {}  # by process
        self.rng = world.rng("outside")
        self._jobs_rng = world.rng("needy jobs")

    # -- processes ------------------------------------------------------------------------------

    def join(self, node: "Node", notifier: Notifier, version: int) -> Calls:
        """A process begins."""
        made = node.calls = self.calls[node.name] = Calls(self, node, notifier, version)
        node.on_death.append(lambda _: self._left(node))
        return made

    def _left(self, node: "Node") -> None:
        self.calls.pop(node.name, None)

    def needy(self, job: NewJob, known: "Registry") -> NewJob:
        """Perhaps it is a job that calls services; else it stays as it is."""
        rng = self._jobs_rng
        if rng.random() >= self.plan.needy:
            return job
        task = rng.choice(tuple(self.plan.tasks))
        steps = json.loads(json.loads(job.args)["steps"])
        for _ in range(rng.choice((1, 1, 2, 4))):
            named = self.plan.tasks[task] if rng.random() > SELDOM else tuple(self.services)
            step: dict[str, Any] = {"do": "call", "on": rng.choice(named), "how": rng.choice(HOW)}
            if rng.random() < SELDOM:
                step["retry_after"] = rng.uniform(0, 10)
            steps.insert(rng.randrange(len(steps) + 1), step)
        made = known.get(task)
        return replace(
            job, task=task, args=made.encode_args((), {"steps": json.dumps(steps)}), signature=made.signature
        )

    # -- people ---------------------------------------------------------------------------------

    async def operate(self, node: "Node") -> None:
        """Set breakers by hand while there is trouble, and leave them to themselves in the end."""
        world, rng, store = self.world, self.rng, self.world.store(node)
        forced = [plan for plan in self.plan.plans if plan.forced_s is not None]
        while forced and world.troubled:
            plan = rng.choice(forced)
            await asyncio.sleep(rng.expovariate(1 / (plan.forced_s or 1.0)))
            to: Force = rng.choice(("open", "open", "close", "disable"))
            await self._force(node, plan.name, to)
            await asyncio.sleep(rng.uniform(0, 10))
            await self._force(node, plan.name, "close")
        while world.troubled:  # noqa: ASYNC110 - in virtual time
            await asyncio.sleep(1.0)
        if self.plan.kept_open is not None:
            while not await self._force(node, self.plan.kept_open, "open"):  # noqa: ASYNC110
                await asyncio.sleep(1.0)
        while not world.closing:
            at, documents = await _read(store)
            for name, text in documents.items():
                kept = name == self.plan.kept_open and world.keeps_open
                if Fleet.of(text, at).state in {BreakerState.FORCED_OPEN, BreakerState.DISABLED} and not kept:
                    await self._force(node, name, "close")
            await asyncio.sleep(1.0)

    async def _force(self, node: "Node", name: str, to: Force) -> bool:
        node.tell(e.Fault(f"a person sets the breaker of {name}: {to}"))
        with suppress(HeadraceError):
            await force(self.world.store(node), name, to, self.plan.names)
            return True
        return False

    def others_are_done(self, kept: str) -> bool:
        """Whether every job has ended whose task does not need this one."""
        needs = self.plan.tasks
        world = self.world
        return world.to_enqueue <= 0 and all(
            state is None or state.terminal
            for job, facts in world.book.jobs.items()
            if kept not in needs.get(facts.new.task, ())
            for state in (world.server.state(job),)
        )

    def heal(self) -> None:
        """Let every service be well."""
        for service in self.services.values():
            service.mood = Mood.WELL

    @property
    def settles_s(self) -> float:
        """How long after that breakers may hold jobs back: half-open again and again, and the ramp."""
        breakers = [
            policy.terms.breaker
            for plan in self.plan.plans
            for policy in plan.policies.values()
            if policy.terms.breaker
        ]
        return sum(4 * (it.open_s + it.half_open_s_max) + it.ramp_s for it in breakers)


HOW = ("raises", "raises", "raises", "wraps", "swallows", "not ours", "twice")


async def make_call(node: "Node", step: dict[str, Any]) -> None:
    """What the body of a job does about a service.

    Raises:
        Exception: as the service's trouble is passed on.
    """
    calls = node.calls
    assert calls is not None
    name, how = step["on"], step["how"]

    def once() -> "Coroutine[Any, Any, None]":
        return calls.call(name, not_ours=how == "not ours", retry_after_s=step.get("retry_after"))

    try:
        if how == "twice":
            await asyncio.gather(once(), once())
        else:
            await once()
    except (Rejected, ServiceFailed, TimeoutError) as error:
        if how == "swallows":
            return
        if how == "wraps":
            raise CallFailed(f"without the upstream {name!r} it cannot go on") from error
        raise


async def _read(store: Any) -> Any:
    try:
        return await store.upstreams()
    except HeadraceError:
        return 0.0, {}


def _no_threads(work: "Coroutine[Any, Any, None]", what: str) -> None:
    work.close()
    raise AssertionError(f"no simulated body runs in a thread: {what}")
