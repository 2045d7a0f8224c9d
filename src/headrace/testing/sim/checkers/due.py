"""Nothing runs before it is due."""

from typing import TYPE_CHECKING

from headrace.core.model import JobId, Retried, SettleResult, Snoozed, Suspicion
from headrace.core.outcomes import CRASH_DELAY_MAX_S
from headrace.core.states import JobState
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.testing.sim.world import World

ROUNDING_S = 1e-6


class NothingIsEarly(Checker):
    """A job that waits for its time is claimed only after the store's clock has shown that time."""

    name = "nothing runs before it is due"

    def __init__(self, world: "World") -> None:
        """Nothing waits."""
        super().__init__(world)
        self._due: dict[JobId, tuple[float, int]] = {}  # when, and how many peaks there were when that was said
        self._peaks: list[float] = []  # what the store's clock showed before it may have been stepped back

    def hears(self) -> Hearing:
        """What makes a job wait, and claims."""
        return {
            e.Added: self._added,
            e.Settled: self._settled,
            e.Reaped: self._reaped,
            e.RetryApplied: self._retried,
            e.Fault: self._fault,
            e.Claimed: self._claimed,
        }

    def _wait(self, job: JobId, at: float) -> None:
        self._due[job] = (at, len(self._peaks))

    def _added(self, event: e.Added) -> None:
        new = event.job
        if event.answer.created:
            now = self.world.server.wall()
            at = new.run_at if new.run_at is not None else now + new.delay_s
            self._wait(new.id, at)
            if (event.answer.state is JobState.SCHEDULED) is not (at > now):
                self.fail_of(new.id, f"it is due in {at - now:.3f} s and was added as {event.answer.state.value}")

    def _settled(self, event: e.Settled) -> None:
        if event.result is SettleResult.SETTLED:
            outcome = event.settle.outcome
            delay_s = outcome.delay_s if isinstance(outcome, Retried | Snoozed) else 0.0
            self._wait(event.settle.id, self.world.server.wall() + delay_s)

    def _reaped(self, event: e.Reaped) -> None:
        """A suspect that crashed alone comes back after a while, twice as long each time."""
        for job, _ in event.freed:
            facts = self.book.jobs[job]
            first_s = self.world.server.settings.crash_backoff_s
            delay_s = min(CRASH_DELAY_MAX_S, first_s * 2.0**facts.crashes) if facts.suspect is Suspicion.ALONE else 0.0
            self._wait(job, self.world.server.wall() + delay_s)

    def _retried(self, event: e.RetryApplied) -> None:
        if event.state is JobState.READY:
            self._due.pop(event.job, None)

    def _fault(self, _: e.Fault) -> None:
        """It is told before it strikes: if it steps the store's clock, this is what that showed last."""
        self._peaks.append(self.world.server.wall())

    def _claimed(self, event: e.Claimed) -> None:
        due = self._due.pop(event.job.id, None)
        if due is None:
            return
        at, peaks = due
        latest = max(self.world.server.wall(), *self._peaks[peaks:], 0.0)
        if latest < at - ROUNDING_S:
            self.fail_of(event.job.id, f"it was claimed {at - latest:.3f} s before it was due")
