"""What the dead were lent of upstreams."""

from typing import TYPE_CHECKING

from headrace.core.fleet import Fleet
from headrace.core.model import WorkerId
from headrace.testing.sim import call_events as c
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing
from headrace.testing.sim.checkers.held import UNREACHED

if TYPE_CHECKING:
    from headrace.testing.sim.node import Node
    from headrace.testing.sim.world import World

BURIED_S = 2.0  # after a death, of a supervisor that is awake and reaches the store


class TheDeadHoldNothing(Checker):
    """What a process was lent is free soon after its supervisor has seen it end, and never while it lives.

    How soon, is judged in worlds in which the store can be reached, of supervisors that live and are awake.
    """

    name = "the dead hold nothing of an upstream"

    def __init__(self, world: "World") -> None:
        """Everybody lives."""
        super().__init__(world)
        self._died_at: dict[WorkerId, float] = {}
        self._prompt = not any(world.scenario.has(kind) for kind in UNREACHED)

    def hears(self) -> Hearing:
        """Deaths, and what becomes of documents."""
        return {e.Died: self._died, c.Amended: self._amended}

    def _died(self, event: e.Died) -> None:
        if event.worker is not None:
            self._died_at[event.worker] = self.world.timeline.now

    def _amended(self, event: c.Amended) -> None:
        if event.forgot is not None and self._lives(self.world.workers.get(event.forgot)):
            self.fail(f"{event.forgot} lives, and {event.upstream} takes back what it was lent")
        after = Fleet.read(event.after)
        members = [name for name, member in after.members.items() if member.until_at > 0]
        lent = {*members, *(permit.split("/")[0] for permit in (*after.permits, *after.late))}
        for worker in lent & self._died_at.keys():
            if self._prompt and self.world.timeline.now > self._buried_by(worker):
                self.fail(f"{worker} has been dead for long, and holds something of {event.upstream}")

    def _lives(self, node: "Node | None") -> bool:
        return node is not None and not node.dead

    def _buried_by(self, worker: WorkerId) -> float:
        """When its supervisor should have had it forgotten, at the latest."""
        parent = self.world.workers[worker].parent
        if parent is None or parent.dead:
            return float("inf")
        known_at = max(self._died_at[worker], parent.paused_until, self.world.server.frozen_until)
        return known_at + BURIED_S + 20 * self.world.server.latency_s
