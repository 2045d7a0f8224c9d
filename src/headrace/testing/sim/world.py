"""One simulated world: built from a seed, troubled, healed, drained, judged.

Invariant: a seed has one history. Everything random comes from generators named after the seed, and
nothing iterates over what has no order.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from headrace.core.model import JobId, WorkerId
from headrace.ports.store import StoreSettings
from headrace.runtime.worker import Worker
from headrace.testing.sim import events as e
from headrace.testing.sim.bells import Bell, Network
from headrace.testing.sim.book import Book
from headrace.testing.sim.checkers import CHECKERS, Checker
from headrace.testing.sim.clients import Api, Person, Reader
from headrace.testing.sim.faults import Faults
from headrace.testing.sim.live import Live
from headrace.testing.sim.node import Machine, Node
from headrace.testing.sim.remote import RemoteStore
from headrace.testing.sim.scenario import FaultKind, Scenario, draw
from headrace.testing.sim.server import StoreServer
from headrace.testing.sim.services import Outside
from headrace.testing.sim.timeline import Livelock, Timeline
from headrace.testing.sim.trees import Tree

LOOK_S = 5.0  # of a world whose pace is 1
QUIET_LOOKS, QUIET_LOOKS_HANGING = 2, 10  # where calls hang, what was asked for long ago may still arrive
END_LOOKS = 12
OTHERS = "jobs wait only for what they need"


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept: its name, and what was seen when."""

    name: str
    detail: str
    at: float


@dataclass(slots=True)
class Report:
    """How one world went."""

    seed: int
    violation: Violation | None
    simulated_s: float
    worker_s: float  # workers times the time that each was up
    events: int
    counts: Counter[str] = field(default_factory=Counter[str])


class World:
    """The fleet and everything around it."""

    def __init__(
        self,
        seed: int,
        watch: Callable[[float, e.Event], None] | None = None,
        *,
        upstreams: bool | None = None,
        strained: bool | None = None,
    ) -> None:
        """`watch` sees every event with its instant, as it happens; the others as in `scenario.draw`."""
        self.scenario: Scenario = draw(seed, upstreams=upstreams, strained=strained)
        self.timeline = Timeline()
        self.book = Book()
        self.violation: Violation | None = None
        self.counts: Counter[str] = Counter()
        self.workers: dict[WorkerId, Node] = {}
        self.running: dict[str, Worker] = {}
        self.trees: list[Tree] = []
        self.readers: list[Reader] = []
        self.troubled = True
        self.closing = False
        self.keeps_open = True  # a breaker, where a person does, although everything is well
        self.to_enqueue = self.scenario.jobs
        self._watch = watch
        self._numbers: Counter[str] = Counter()
        self._bells: dict[str, Bell] = {}
        self._worker_s = 0.0
        self._checkers: list[Checker] = [make(self) for make in CHECKERS]
        self.network = Network(self.rng("hints"))
        kept_s = self.scenario.retention_s
        settings = StoreSettings(
            lease_s=self.scenario.lease_s, crash_backoff_s=self.scenario.pace_s,
            retention_s=kept_s, result_retention_s=kept_s / 2, key_retention_s=kept_s / 4,
        )  # fmt: skip
        self.server = StoreServer(self.timeline, settings, self.tell, self.rng("store"))
        self.server.latency_s = self.rng("latency").choice((0.0005, 0.005, 0.05))
        self.server.rings.append(self._ring)
        self.machines = [Machine(f"machine-{at + 1}", self.timeline) for at in range(self.scenario.machines)]
        self._people()

    def _people(self) -> None:
        scenario, machines = self.scenario, self.machines
        self.live = Live(self)
        self.outside = None if scenario.outages is None else Outside(self, scenario.outages)
        self.faults = Faults(self)
        deploying = scenario.has(FaultKind.DEPLOY)
        for at in range(scenario.trees):
            self.plant(machines[at % len(machines)], 1 + at % 2 if deploying else 2)
        self.apis = [Api(self, machines[at % len(machines)]) for at in range(scenario.apis)]
        self.person = Person(self, machines[0])
        if self.outside is not None:
            self.person.node.spawn(self.outside.operate(self.person.node))

    # -- making ---------------------------------------------------------------------------------

    def rng(self, name: str) -> random.Random:
        """A generator of its own, so that one part's draws don't move another's."""
        return random.Random(f"{self.scenario.seed} {name}")  # noqa: S311 - to be repeatable

    def number(self, kind: str) -> int:
        """1, 2, 3 … of each kind."""
        self._numbers[kind] += 1
        return self._numbers[kind]

    def node(self, name: str, machine: Machine) -> Node:
        """A process."""
        born = self.timeline.now
        node = Node(name, machine, self.tell, self._unhandled)
        node.on_death.append(lambda code: self._died(node, code, born))
        self.tell(e.Up(name))
        return node

    def store(self, node: Node) -> RemoteStore:
        """The store as this process reaches it."""
        return RemoteStore(node, self.server)

    def bell(self, node: Node) -> Bell:
        """The notifier of this process."""
        made = self._bells[node.name] = Bell(node, self.network, self._ring)
        return made

    def plant(self, machine: Machine, version: int) -> Tree:
        """One more supervisor with its children."""
        tree = Tree(self, machine, version)
        self.trees.append(tree)
        return tree

    def follow(self, job: JobId) -> None:
        """One more reader, or a browser that follows it too."""
        if self.live.takes():
            self.live.follow(job)
            return
        self.readers.append(Reader(self, f"reader-{self.number('reader')}", job))

    def power(self, machine: Machine, *, on: bool) -> None:
        """Cut the power of a machine, or give it back."""
        machine.off = not on
        if not on:
            for node in tuple(machine.nodes):
                if node is not self.person.node:
                    node.kill()
            return
        served: list[Tree | Api] = [*self.trees, *self.apis]
        for each in served:
            if each.machine is machine and each.node.dead and not self.closing:
                each.start()

    # -- seeing ---------------------------------------------------------------------------------

    def tell(self, event: e.Event) -> None:
        """Something happened: judge it, then remember it."""
        if self.violation is not None:
            return
        self.counts[type(event).__name__] += 1
        if self._watch is not None:
            self._watch(self.timeline.now, event)
        for checker in self._checkers:
            checker.see(event)
        self.book.note(event, self.server.wall())

    def fail(self, name: str, detail: str) -> None:
        """A promise was not kept; the first one counts, and ends the world."""
        if self.violation is None:
            self.violation = Violation(name, detail, self.timeline.now)
            self.timeline.stop()

    def ended(self, node: str, worker: Worker, code: int) -> None:
        """A worker's run is over, in order or not."""
        self.running.pop(node, None)
        for checker in self._checkers:
            checker.ended(node, worker, code)

    def _ring(self, hints: frozenset[str]) -> None:
        ordered = frozenset(hints)
        for bell in tuple(self._bells.values()):
            bell.hear(ordered)

    def _died(self, node: Node, code: int, born: float) -> None:
        self._bells.pop(node.name, None)
        self.running.pop(node.name, None)
        if node.worker is not None:
            self._worker_s += self.timeline.now - born
        self.tell(e.Died(node.name, node.worker, code))

    def _unhandled(self, node: Node, context: dict[str, Any]) -> None:
        self.fail("no surprises", f"{node}: {context.get('message')}: {context.get('exception')!r}")

    # -- running ----------------------------------------------------------------------------------

    def run(self) -> Report:
        """Let the world live to its end."""
        scenario = self.scenario
        try:
            self.timeline.run(scenario.load_s)
            self._heal()
            self._drain()
            self._close()
        except Livelock as endless:
            self.fail("time passes", str(endless))
        except Exception as error:  # noqa: BLE001 - a broken store can break the judges' own sums
            self.fail("no surprises", f"the world broke: {error!r}")
        finally:
            self._clear()
        return Report(
            scenario.seed, self.violation, self.timeline.now, self._worker_s,
            self.timeline.events, self.counts,
        )  # fmt: skip

    def _heal(self) -> None:
        if self.timeline.stopped:
            return
        self.troubled = False
        self.tell(e.Fault("everything is well from now on"))
        self.faults.heal()
        if self.outside is not None:
            self.outside.heal()
        versions = {tree.version for tree in self.trees}
        if self.scenario.has(FaultKind.DEPLOY):
            for version in sorted({1, 2} - versions):
                self.plant(self.machines[0], version)

    @property
    def patience_s(self) -> float:
        """How long after the last fault every job must have ended, and every reader seen its end."""
        scenario = self.scenario
        steps_back = max(0.0, -self.server.step_s)
        held_s = 0.0 if self.outside is None else self.outside.settles_s
        return 900.0 * scenario.pace_s + scenario.work_s + steps_back + held_s

    def _drain(self) -> None:
        """See everything end; what needs no upstream that a person keeps open, before that is let go."""
        kept = None if self.outside is None else self.outside.plan.kept_open
        if self.outside is not None and kept is not None:
            others = self._run_until(partial(self.outside.others_are_done, kept), 1)
            if not others and not self.timeline.stopped:
                self.fail(OTHERS, f"while {kept} is held open, jobs that don't need it have not ended")
        self.keeps_open = False
        self._run_until(self._drained, QUIET_LOOKS_HANGING if self.scenario.has(FaultKind.HANGING) else QUIET_LOOKS)
        if not self.timeline.stopped:
            for checker in self._checkers:
                checker.drained()

    def _run_until(self, done: Callable[[], bool], enough: int) -> bool:
        """Live until so many looks in a row find it so, or patience is over; whether they did."""
        end = self.timeline.now + self.patience_s
        step_s = LOOK_S * self.scenario.pace_s
        quiet = 0  # looks in a row that found nothing left
        while not self.timeline.stopped and self.timeline.now < end and quiet < enough:
            self.timeline.run(min(end, self.timeline.now + step_s))
            quiet = quiet + 1 if done() else 0
        return quiet >= enough

    def _drained(self) -> bool:
        if self.to_enqueue > 0 or not self.live.done or not all(reader.done for reader in self.readers):
            return False
        if any(api.door.callers for api in self.apis):
            return False
        rows = self.server.backend._board.rows  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return all(row.state.terminal for row in rows.values())

    def _close(self) -> None:
        if self.timeline.stopped:
            return
        self.closing = True
        self.tell(e.Fault("everything is told to end"))
        for tree in self.trees:
            tree.stop()
        for _ in range(END_LOOKS):
            ended = all(tree.node.dead for tree in self.trees)
            self.timeline.run(self.timeline.now + LOOK_S * self.scenario.pace_s)
            if ended:
                break
        if not self.timeline.stopped:
            for checker in self._checkers:
                checker.closed()

    def _clear(self) -> None:
        """Leave nothing of the world behind in this process."""
        self.closing = True
        for machine in self.machines:
            for node in tuple(machine.nodes):
                node.kill()


def run(seed: int, watch: Callable[[float, e.Event], None] | None = None) -> Report:
    """Run the world of a seed; `watch` sees every event."""
    return World(seed, watch).run()
