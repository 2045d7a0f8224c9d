"""Work that was done is not thrown away."""

from typing import TYPE_CHECKING

from headrace.core.model import JobId, Lease, Outcome, SettleResult, Succeeded, WorkerId
from headrace.core.worker_events import NOT_STORED
from headrace.testing.sim import events as e
from headrace.testing.sim.bodies import UNSTORABLE
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.testing.sim.world import World


class WorkIsKept(Checker):
    """What a body came to is what its fence is settled with, as long as its process lives and kept its lease.

    One word may be quicker: a body's own success, which was under way when the body was stopped. What the
    store refuses fails.
    """

    name = "work is not wasted"

    def __init__(self, world: "World") -> None:
        """Nothing has ended."""
        super().__init__(world)
        self._ended: dict[WorkerId, dict[tuple[JobId, int], Outcome]] = {}

    def hears(self) -> Hearing:
        """Bodies' ends, and all that can become of what they held."""
        return {
            e.Returned: self._returned,
            e.Settled: self._settled,
            e.Joined: self._joined,
            e.Reconciled: self._reconciled,
            e.Unregistered: self._unregistered,
            e.Reaped: self._reaped,
            e.Died: self._died,
        }

    def _returned(self, event: e.Returned) -> None:
        claim = self.book.jobs[event.job].claim
        if event.outcome is None or event.lease_lost or claim is None or claim.job.fence != event.fence:
            return
        self._ended.setdefault(event.worker, {})[event.job, event.fence] = event.outcome

    def _settled(self, event: e.Settled) -> None:
        settle = event.settle
        if event.result is not SettleResult.SETTLED:
            return
        claim = self.book.jobs[settle.id].claim
        worker = event.worker if claim is None else claim.worker
        outcome = self._ended.get(worker, {}).pop((settle.id, settle.fence), None)
        lawful = (outcome, NOT_STORED) if UNSTORABLE in str(outcome) else (outcome,)
        if outcome is not None and settle.outcome not in lawful and not isinstance(settle.outcome, Succeeded):
            self.fail_of(
                settle.id, f"its body came to {outcome}, and fence {settle.fence} was settled {settle.outcome}"
            )

    def _joined(self, event: e.Joined) -> None:
        claim = self.book.jobs[event.job].claim
        if event.result is SettleResult.SETTLED and claim is not None:
            self._ended.get(claim.worker, {}).pop((event.job, event.fence), None)

    def _reconciled(self, event: e.Reconciled) -> None:
        for job, fence in self._ended.get(event.worker, {}):
            if Lease(job, fence) not in event.held:
                self.fail_of(job, f"the body of fence {fence} had ended, and {event.worker} did not know of it")

    def _unregistered(self, event: e.Unregistered) -> None:
        for (job, fence), outcome in self._ended.pop(event.worker, {}).items():
            self.fail_of(job, f"{event.worker} ended in order without settling {outcome} of fence {fence}")

    def _reaped(self, event: e.Reaped) -> None:
        for worker in event.workers:
            self._ended.pop(worker, None)

    def _died(self, event: e.Died) -> None:
        if event.worker is not None:
            self._ended.pop(event.worker, None)

    def drained(self) -> None:
        """Everything has been settled by now."""
        for worker, ended in self._ended.items():
            for (job, fence), outcome in ended.items():
                self.fail_of(job, f"{worker} never settled {outcome} of fence {fence}")
