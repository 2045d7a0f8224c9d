"""No worker runs more than it has slots for."""

from typing import TYPE_CHECKING

from headrace.core.model import Suspicion
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.core.model import JobId
    from headrace.testing.sim.world import World


class Slots(Checker):
    """The bodies of a process never exceed its slots, and nothing runs beside one that runs alone."""

    name = "bodies fit their worker's slots"

    def __init__(self, world: "World") -> None:
        """Nothing runs."""
        super().__init__(world)
        self._running: dict[str, set[tuple[JobId, int]]] = {}

    def hears(self) -> Hearing:
        """When bodies start and end, and processes end with theirs."""
        return {e.Started: self._started, e.Returned: self._returned, e.Died: self._died}

    def _started(self, event: e.Started) -> None:
        running = self._running.setdefault(event.node, set())
        running.add((event.job, event.fence))
        alone = any(self.book.jobs[job].fences[fence].job.suspect is Suspicion.ALONE for job, fence in running)
        slots = 1 if alone else self.world.scenario.slots
        if len(running) > slots:
            self.fail_of(event.job, f"{len(running)} bodies run in {event.node}, which has room for {slots}")

    def _returned(self, event: e.Returned) -> None:
        self._running.get(event.node, set()).discard((event.job, event.fence))

    def _died(self, event: e.Died) -> None:
        self._running.pop(event.node, None)
