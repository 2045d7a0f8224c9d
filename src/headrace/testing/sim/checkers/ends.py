"""Every acknowledged job ends."""

from headrace.testing.sim.checkers.base import Checker


class AcknowledgedEnds(Checker):
    """A job whose enqueue was acknowledged ends, within a bound after the last fault."""

    name = "acknowledged jobs end"

    def drained(self) -> None:
        """By now each must have ended."""
        for job_id, facts in self.book.jobs.items():
            state = self.world.server.state(job_id)
            if facts.acknowledged and (state is None or not state.terminal):
                self.fail(f"job {job_id.hex()} was acknowledged and is {state.value if state else 'gone'}")
