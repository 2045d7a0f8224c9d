"""Only the dead, and those whose lease has ended, lose their jobs."""

from headrace.core.model import JobId, WorkerId
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing


class OnlyTheDeadAreReaped(Checker):
    """A worker is reaped when its process has ended or its lease has, and exactly what it held is freed.

    One that ends in order leaves no body behind that still runs.
    """

    name = "only the dead lose their jobs"

    def hears(self) -> Hearing:
        """Whatever takes jobs from a worker that does not bring them back itself."""
        return {e.Reaped: self._reaped, e.Unregistered: self._unregistered}

    def _reaped(self, event: e.Reaped) -> None:
        held: set[JobId] = set()
        for worker in event.workers:
            facts = self.book.workers.get(worker)
            if facts is None or facts.gone is not None:
                self.fail(f"{worker} was reaped and is not registered")
                return
            held.update(facts.holds)
            left_s = facts.lease_ends_at - self.world.server.wall()
            if left_s > 0 and worker not in event.named:
                self.fail(f"{worker} was reaped {left_s:.3f} s before its lease ended")
            elif left_s > 0 and self._lives(worker):
                self.fail(f"{worker} was named dead and lives, with {left_s:.3f} s of its lease left")
        freed = {job for job, _ in event.freed}
        if freed != held or len(event.freed) != len(held):
            self.fail(f"{len(freed)} jobs were freed of {', '.join(event.workers)}, which held {len(held)}")

    def _unregistered(self, event: e.Unregistered) -> None:
        facts = self.book.workers.get(event.worker)
        if facts is None or not self._lives(event.worker):
            return
        for job, claim in facts.holds.items():
            if claim.started and not claim.returned:
                self.fail_of(job, f"its body runs in {event.worker}, which was unregistered")

    def _lives(self, worker: WorkerId) -> bool:
        node = self.world.workers.get(worker)
        return node is not None and not node.dead
