"""A valid lease is never lost, an ended one never lives again, and nothing begins without one."""

from typing import TYPE_CHECKING

from headrace.core.model import Lease, WorkerId
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.testing.sim.world import World


class LeasesHold(Checker):
    """Whoever renews in time keeps its lease and hears of every cancel; whoever is late has lost it."""

    name = "leases last as long as they were given"

    def hears(self) -> Hearing:
        """Renewals."""
        return {e.Renewed: self._renewed}

    def _renewed(self, event: e.Renewed) -> None:
        worker = self.book.workers.get(event.worker)
        if worker is None or worker.gone is not None:
            if not event.lost:
                self.fail(f"{event.worker} is not registered, and its lease was renewed")
            return
        left_s = worker.lease_ends_at - self.world.server.wall()
        if event.lost is (left_s > 0):
            how = "lost" if event.lost else "renewed"
            self.fail(f"the lease of {event.worker} was {how} when {left_s:.3f} s of it were left")
        if not event.lost:
            asked = {Lease(job, it.job.fence) for job, it in worker.holds.items() if self.book.jobs[job].cancel_asked}
            if set(event.cancels) != asked:
                self.fail(f"{event.worker} was told of {len(event.cancels)} cancels, {len(asked)} were asked for")


class BeginsWithinLease(Checker):
    """A process that was held up begins nothing before its lease is renewed: by then it may be somebody else's."""

    name = "nothing begins past its lease"

    def __init__(self, world: "World") -> None:
        """No lease was given yet."""
        super().__init__(world)
        self._given: dict[WorkerId, tuple[float, float]] = {}

    def hears(self) -> Hearing:
        """What gives a lease, and what it is needed for."""
        return {e.Registered: self._registered, e.Renewed: self._renewed, e.Started: self._started}

    def _registered(self, event: e.Registered) -> None:
        self._given[event.worker.id] = (self.world.timeline.now, event.lease_s)

    def _renewed(self, event: e.Renewed) -> None:
        if not event.lost:
            self._given[event.worker] = (self.world.timeline.now, event.lease_s)

    def _started(self, event: e.Started) -> None:
        at, lease_s = self._given[event.worker]
        over_s = (self.world.timeline.now - at) * self.world.workers[event.worker].machine.rate - lease_s
        if over_s > 0:
            self.fail_of(event.job, f"{event.worker} began it {over_s:.3f} s after its lease had ended")
