"""What a simulated worker's upstreams allow it: the production class, which tells the world what it knew."""

from typing import TYPE_CHECKING, Any

from headrace.runtime.guard import AttemptKey
from headrace.runtime.needs import Needs
from headrace.testing.sim import call_events as c

if TYPE_CHECKING:
    from headrace.testing.sim.services import Calls


class WatchedNeeds(Needs):
    """Tells the world what a worker knew when it let a job start."""

    def __init__(self, calls: "Calls", guards: dict[str, Any], slots: int, *, suspects: bool) -> None:
        """Of the worker of this process."""
        node = calls.node
        rng = calls.outside.world.rng(f"needs {node.name}")
        super().__init__(calls.upstreams, guards, slots, rng, others_first=suspects)
        self.node = node
        self.guards = guards

    def may_start(self, attempt: AttemptKey, task: str) -> bool:
        """Whether it may."""
        may = super().may_start(attempt, task)
        if may and task in self.guards:
            known = tuple((it.name, it.core.state, attempt in it._probes) for it in self.guards[task])  # noqa: SLF001
            self.node.tell(c.Allowed(attempt[0], task, self.node.name, known))
        return may
