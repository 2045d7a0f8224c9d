"""Event loops of simulated API processes that are late, and what their live feeds make of it."""

from typing import TYPE_CHECKING

from headrace.runtime.pressure import Pressure
from headrace.testing.sim import events as e
from headrace.testing.sim import strain_events as s

if TYPE_CHECKING:
    from headrace.testing.sim.node import Node
    from headrace.testing.sim.world import World

BETWEEN_S = 6.0  # two spells, on average
FREE_S = (0.01, 0.2)  # between two blocks of one spell


class WatchedPressure(Pressure):
    """The production class, which tells the world of each look."""

    def __init__(self, node: "Node") -> None:
        """Of this process."""
        super().__init__(node.clock)
        self._node = node

    def _look(self, now: float, late_s: float) -> None:
        super()._look(now, late_s)
        self._node.tell(s.Pressed(self._node.name, late_s, self.level))


class Spells:
    """Times in which the loop of an API process is blocked again and again."""

    def __init__(self, world: "World", block_s: float, spell_s: float) -> None:
        """The first comes soon."""
        self._world = world
        self._rng = world.rng("spells")
        self._block_s = block_s
        self._spell_s = spell_s
        self._later(0.0)

    def _later(self, seconds: float) -> None:
        self._world.timeline.after(seconds + self._rng.expovariate(1 / BETWEEN_S), self._begin)

    def _begin(self) -> None:
        world, rng = self._world, self._rng
        if not world.troubled:
            return
        node = rng.choice(world.apis).node
        block_s, seconds = rng.uniform(0.5, 1.0) * self._block_s, rng.uniform(1.0, self._spell_s)
        world.tell(e.Fault(f"the loop of {node} is blocked for up to {block_s:.2f} s again and again, {seconds:.1f} s"))
        self._block(node, block_s, world.timeline.now + seconds)
        self._later(seconds)

    def _block(self, node: "Node", block_s: float, until: float) -> None:
        world, rng = self._world, self._rng
        if world.troubled and world.timeline.now < until and not node.dead:
            seconds = rng.uniform(0.8, 1.0) * block_s
            node.pause(seconds, by_signal=node.stopped)
            world.timeline.after(seconds + rng.uniform(*FREE_S), lambda: self._block(node, block_s, until))
