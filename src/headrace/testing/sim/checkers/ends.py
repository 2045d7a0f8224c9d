"""Every acknowledged job ends."""

from headrace.testing.sim.book import JobFacts
from headrace.testing.sim.checkers.base import Checker


class AcknowledgedEnds(Checker):
    """A job whose enqueue was acknowledged ends, within a bound after the last fault."""

    name = "acknowledged jobs end"

    def drained(self) -> None:
        """By now each must have ended."""
        for job_id, facts in self.book.jobs.items():
            state = self.world.server.state(job_id)
            if state is None and self.may_be_pruned(job_id):
                continue
            if facts.acknowledged and (state is None or not state.terminal):
                self.fail_of(job_id, f"it was acknowledged and is {state.value if state else 'gone'}{self._why(facts)}")

    def _why(self, facts: JobFacts) -> str:
        """What can be seen of why it did not end."""
        claim = facts.claim
        if claim is None:
            return f", after {len(facts.claims)} claims, held by nobody{', a suspect' if facts.suspect else ''}"
        node = self.world.workers.get(claim.worker)
        how = "unknown" if node is None else "dead" if node.dead else "paused" if node.paused else "alive"
        body = "its body ended" if claim.returned else "its body runs" if claim.started else "no body started"
        return f"; fence {claim.job.fence} is held by {claim.worker} ({node}, {how}), {body}"
