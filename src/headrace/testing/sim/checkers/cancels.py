"""What was cancelled stays cancelled."""

from headrace.core.states import JobState
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing


class CancelledStays(Checker):
    """An ended job is given to nobody, unless a person retried it; one asked to cancel never waits again.

    What a person is told of a job is the state that it is in.
    """

    name = "cancelled stays cancelled"

    def hears(self) -> Hearing:
        """People's wishes, and what would go against them."""
        return {
            e.CancelApplied: self._cancelled,
            e.RetryApplied: self._retried,
            e.Claimed: self._claimed,
            e.Reaped: self._reaped,
        }

    def _cancelled(self, event: e.CancelApplied) -> None:
        facts = self.book.jobs.get(event.job)
        lawful = None if facts is None else facts.end or (JobState.RUNNING if facts.claim else JobState.CANCELLED)
        if event.state is not lawful and not (event.state is None and self.may_be_pruned(event.job)):
            self.fail_of(event.job, f"asked to cancel it is {event.state}, not {lawful}")

    def _retried(self, event: e.RetryApplied) -> None:
        facts = self.book.jobs.get(event.job)
        if facts is None:
            return
        before = event.before
        if before is None and self.may_be_pruned(event.job):
            return
        if before is None or (before if before.terminal else None) is not facts.end:
            self.fail_of(event.job, f"it ended as {facts.end}, and was {before} when a person retried it")
        elif before in {JobState.FAILED, JobState.CANCELLED} and event.state is not JobState.READY:
            self.fail_of(event.job, f"it was {before.value}, was retried, and is {event.state}")
        elif before not in {JobState.FAILED, JobState.CANCELLED} and event.state is not before:
            self.fail_of(event.job, f"it was {before.value}, a retry means nothing, and it is {event.state}")

    def _claimed(self, event: e.Claimed) -> None:
        facts = self.book.jobs[event.job.id]
        if facts.end is not None:
            self.fail_of(event.job.id, f"it had ended as {facts.end.value}, and {event.worker} was given it")
        elif facts.cancel_asked:
            self.fail_of(event.job.id, f"it was to be cancelled while it ran, and {event.worker} was given it again")

    def _reaped(self, event: e.Reaped) -> None:
        for job, state in event.freed:
            if self.book.jobs[job].cancel_asked and state is not JobState.CANCELLED:
                self.fail_of(job, f"it was to be cancelled, its worker died, and it is {state.value}")
