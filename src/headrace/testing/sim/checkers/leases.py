"""A valid lease is never lost, and an ended one never lives again."""

from headrace.core.model import Lease
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing


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
