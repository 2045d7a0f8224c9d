"""What stands before the enqueues of a simulated process: the production gate, which tells the world what it said."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from headrace.app.gate import Gate
from headrace.core.admission import Reason
from headrace.core.errors import Rejected
from headrace.core.load import LoadAsked, QueueLoad
from headrace.core.model import JobId, NewJob
from headrace.ports.observer import Silent
from headrace.testing.sim import strain_events as s
from headrace.testing.sim.remote import RemoteStore
from headrace.testing.sim.strain import Strain

if TYPE_CHECKING:
    import random

    from headrace.testing.sim.node import Node
    from headrace.testing.sim.server import StoreServer

IsHeld: TypeAlias = Callable[[str], bool]

EARLY, SOON_S, SELDOM_S, LATEST_S = 0.3, 0.2, 7.0, 20.0
GAPS = (0.02, 0.02, 0.02, 3.0)  # most come in rushes


class Door(Silent):
    """Of one process. Those who are refused come again when they were told to, or a little earlier or later."""

    def __init__(
        self, node: "Node", server: "StoreServer", rng: "random.Random", strain: Strain | None, is_held: IsHeld
    ) -> None:
        """Without a strain no queue is declared."""
        self.callers: dict[JobId, None] = {}  # who were refused and will come again: the first job of each
        self._node = node
        self._rng = rng
        store = WatchedLoads(node, server)
        self._strain = strain
        self._gate = Gate(lambda: store, node.clock, lambda: self)
        self._gate.is_held = is_held
        self._why: tuple[str, Reason] | None = None
        if strain is not None:
            for queue, policy in strain.policies.items():
                self._gate.declare(queue, policy)

    def gap(self) -> float:
        """How long until the next caller comes, times what is usual."""
        return self._rng.choice(GAPS) if self._strain is not None and self._strain.rush else 1.0

    def shed(self, queue: str, reason: str, jobs: int) -> None:
        """What the gate tells of a refusal, before it raises."""
        del jobs
        self._why = queue, Reason(reason)

    async def let_in(self, jobs: Sequence[NewJob], *, again: bool) -> bool:
        """Whether they may be enqueued now: at once, or after coming `again` and again."""
        strain, batch = self._strain, tuple(jobs)
        if strain is None or not batch:
            return True
        nested, again = self._rng.random() < strain.nested, again and strain.fits(batch)
        while True:
            try:
                await self._gate.admit(batch, nested=nested)
            except Rejected as refused:
                assert self._why is not None
                queue, reason = self._why
                self._node.tell(s.Refused(self._node.name, batch, nested, queue, reason, refused.retry_in))
                if not again:
                    return False
                self.callers[batch[0].id] = None
                await asyncio.sleep(self._pause_s(refused.retry_in or 0.0))
            else:
                self.callers.pop(batch[0].id, None)
                self._node.tell(s.Admitted(self._node.name, batch, nested))
                return True

    def _pause_s(self, told_s: float) -> float:
        """Most do as they were told."""
        fate = self._rng.random()
        if fate < EARLY:
            return SOON_S
        return min(told_s, LATEST_S) + (SELDOM_S if fate > 1 - EARLY else 0.0)


class WatchedLoads(RemoteStore):
    """The store of a process, which tells the world how much it says that waits."""

    async def loads(self, asked: Sequence[LoadAsked]) -> list[QueueLoad]:
        """As `Store.loads`."""
        node, began = self._node, self._node.machine.timeline.now
        told: tuple[QueueLoad, ...] | None = None
        try:
            loads = await super().loads(asked)
            told = tuple(loads)
        finally:
            node.tell(s.Looked(node.name, began, told))
        return loads
