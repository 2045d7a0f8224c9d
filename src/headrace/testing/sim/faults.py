"""What goes wrong, and when: each kind of fault strikes at random moments until the world heals."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from headrace.testing.sim import events as e
from headrace.testing.sim.pressure import Spells
from headrace.testing.sim.scenario import FaultKind

if TYPE_CHECKING:
    from headrace.testing.sim.browsers import Browser
    from headrace.testing.sim.clients import Reader
    from headrace.testing.sim.node import Node
    from headrace.testing.sim.world import World


class Faults:
    """Strikes, and heals."""

    def __init__(self, world: "World") -> None:
        """The steady faults begin now, the others strike from now on."""
        self._world = world
        self._scenario = world.scenario
        self._rng = world.rng("faults")
        self._undo: list[Callable[[], None]] = []
        self._steady()
        strikes: dict[FaultKind, Callable[[], None]] = {
            FaultKind.WORKER_CRASH: self._crash_worker,
            FaultKind.TREE_CRASH: self._crash_tree,
            FaultKind.POWER_CUT: self._cut_power,
            FaultKind.PAUSE: lambda: self._pause(0.1, 8.0),
            FaultKind.LONG_PAUSE: lambda: self._pause(11.0, 60.0),
            FaultKind.FREEZE: self._freeze,
            FaultKind.STORE_DOWN: self._store_down,
            FaultKind.STORE_SLOW: self._store_slow,
            FaultKind.PARTITION: self._cut_off,
            FaultKind.CLOCK_STEP: self._step_clock,
            FaultKind.STORE_CLOCK_STEP: self._step_store_clock,
            FaultKind.DEPLOY: self._deploy,
            FaultKind.DISCONNECTS: self._disconnect,
        }
        strain = world.scenario.strain
        if strain is not None and strain.block_s is not None:
            Spells(world, strain.block_s, strain.spell_s)
        for kind, strike in strikes.items():
            if self._scenario.has(kind):
                self._again(kind, strike)

    def heal(self) -> None:
        """Let everything be well from now on."""
        world = self._world
        for undo in self._undo:
            undo()
        server, network = world.server, world.network
        server.down = False
        server.frozen_until = 0.0
        server.request_lost = server.answer_lost = server.hangs = 0.0
        network.dropped = min(network.dropped, 0.999)  # hints stay what they are: nothing may depend on them
        for machine in world.machines:
            machine.cut_off = False
            if machine.off:
                world.power(machine, on=True)
            for node in tuple(machine.nodes):
                node.resume()

    def _again(self, kind: FaultKind, strike: Callable[[], None]) -> None:
        """Strike at random, more often the higher the intensity."""
        mean_s = (3 + 40 * (1 - self._scenario.faults[kind])) * self._scenario.pace_s

        def act() -> None:
            if self._world.troubled:
                strike()
                self._world.timeline.after(self._rng.expovariate(1 / mean_s), act)

        self._world.timeline.after(self._rng.expovariate(1 / mean_s), act)

    def _tell(self, text: str) -> None:
        self._world.tell(e.Fault(text))

    def _for(self, seconds: float, text: str, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._tell(f"{text} for {seconds:.1f} s")
        begin()
        self._world.timeline.after(seconds, end)

    def _seconds(self, low: float, high: float) -> float:
        return self._rng.uniform(low, high) * self._scenario.pace_s

    # -- from the start ---------------------------------------------------------------------------

    def _steady(self) -> None:
        world, faults = self._world, self._scenario.faults
        server, network = world.server, world.network
        server.request_lost = 0.1 * faults.get(FaultKind.REQUEST_LOST, 0.0)
        server.answer_lost = 0.2 * faults.get(FaultKind.ANSWER_LOST, 0.0)
        server.hangs = 0.05 * faults.get(FaultKind.HANGING, 0.0)
        server.gives_up_s = 5.0 * self._scenario.pace_s
        if FaultKind.HINTS_DROPPED in faults:
            network.dropped = self._rng.choice((0.5, 1.0))
        if FaultKind.HINTS_REPEATED in faults:
            network.repeated = 0.5
            network.delay_s = self._seconds(0.01, 2.0)
        if FaultKind.DRIFT in faults:
            for machine in world.machines:
                machine.rate = self._rng.uniform(0.97, 1.03)

    # -- strikes ----------------------------------------------------------------------------------

    def _children(self) -> "list[Node]":
        return [child for tree in self._world.trees for child in tree.children if not child.dead]

    def _crash_worker(self) -> None:
        children = self._children()
        if children:
            node = self._rng.choice(children)
            self._tell(f"SIGKILL to {node}")
            node.kill()

    def _crash_tree(self) -> None:
        nodes = [tree.node for tree in self._world.trees] + [api.node for api in self._world.apis]
        nodes = [node for node in nodes if not node.dead]
        if nodes:
            node = self._rng.choice(nodes)
            self._tell(f"SIGKILL to {node}")
            node.kill()

    def _cut_power(self) -> None:
        machine = self._rng.choice(self._world.machines)
        if not machine.off:
            self._for(
                self._seconds(1, 40), f"no power on {machine.name}",
                lambda: self._world.power(machine, on=False), lambda: self._world.power(machine, on=True),
            )  # fmt: skip

    def _pause(self, low: float, high: float) -> None:
        nodes = [node for machine in self._world.machines for node in machine.nodes if node.name != "console"]
        if nodes:
            node, seconds = self._rng.choice(nodes), self._seconds(low, high)
            self._tell(f"{node} is stopped for {seconds:.1f} s")
            node.pause(seconds, by_signal=self._rng.random() < HALF)

    def _freeze(self) -> None:
        machine, seconds = self._rng.choice(self._world.machines), self._seconds(1, 40)
        self._tell(f"{machine.name} is frozen for {seconds:.1f} s")
        for node in machine.nodes:
            node.pause(seconds)

    def _store_down(self) -> None:
        server = self._world.server

        def set_down(down: bool) -> None:
            server.down = down

        self._for(self._seconds(0.1, 40), "the store is down", lambda: set_down(True), lambda: set_down(False))

    def _store_slow(self) -> None:
        seconds = self._seconds(0.1, 15)
        self._tell(f"the store stands still for {seconds:.1f} s")
        self._world.server.frozen_until = self._world.timeline.now + seconds

    def _cut_off(self) -> None:
        machine = self._rng.choice(self._world.machines)

        def cut(off: bool) -> None:
            machine.cut_off = off

        self._for(
            self._seconds(0.5, 40), f"{machine.name} is cut off from the store", lambda: cut(True), lambda: cut(False)
        )

    def _step_clock(self) -> None:
        machine, step_s = self._rng.choice(self._world.machines), self._seconds(-600, 600)
        self._tell(f"the clock of {machine.name} is stepped by {step_s:+.1f} s")
        machine.skew_s += step_s

    def _step_store_clock(self) -> None:
        step_s = self._seconds(-15, 15)
        self._tell(f"the store's clock is stepped by {step_s:+.1f} s")
        self._world.server.step_s += step_s

    def _deploy(self) -> None:
        """One tree is drained, another with the other version of the code takes its place."""
        tree = self._rng.choice(self._world.trees)
        version = self._rng.choice((1, 2))
        self._tell(f"deploy: {tree.node} (version {tree.version}) makes room for version {version}")
        tree.stop()
        self._world.trees.remove(tree)
        self._world.plant(tree.machine, version)

    def _disconnect(self) -> None:
        followers: list[Reader | Browser] = [*self._world.readers, *self._world.live.browsers]
        if followers:
            follower = self._rng.choice(followers)
            self._tell(f"{follower.name} {follower.disconnect()}")


HALF = 0.5
