"""Attempts and what ended them are counted right."""

from headrace.core.model import AttemptOutcome, GivenBack, Outcome, Retried, SettleResult, Snoozed, Succeeded
from headrace.core.model import Cancelled as CancelledOutcome
from headrace.runtime.context import run_now
from headrace.testing.sim import events as e
from headrace.testing.sim.book import Claim
from headrace.testing.sim.checkers.base import Checker, Hearing


class AttemptsCount(Checker):
    """A claim names the next attempt and what ended those before; one whose body began is never unmade.

    An attempt's number is used again only when its claim was given back before a body began. Failures,
    crashes and snoozes count since a person last retried the job.
    """

    name = "attempts are counted right"

    def hears(self) -> Hearing:
        """Claims, and what gives them back."""
        return {e.Claimed: self._claimed, e.Settled: self._settled, e.Reconciled: self._reconciled}

    def _claimed(self, event: e.Claimed) -> None:
        job = event.job
        facts = self.book.jobs[job.id]
        told = (job.attempt, job.failures, job.crashes, job.snoozes)
        lawful = (facts.attempts + 1, facts.failures, facts.crashes, facts.snoozes)
        if told != lawful:
            self.fail_of(job.id, f"attempt, failures, crashes and snoozes are {lawful}, and were claimed as {told}")

    def _settled(self, event: e.Settled) -> None:
        settle = event.settle
        if event.result is SettleResult.SETTLED and settle.outcome == GivenBack(started=False):
            claim = self.book.jobs[settle.id].fences[settle.fence]
            if claim.started:
                self.fail_of(settle.id, f"fence {settle.fence} is given back as unstarted, and its body had started")

    def _reconciled(self, event: e.Reconciled) -> None:
        worker = self.book.workers.get(event.worker)
        lost = {} if worker is None else worker.unknown(event.held)
        if len(lost) != event.count:
            self.fail(f"{event.worker} did not know of {len(lost)} of its claims, {event.count} were given back")
        for job, claim in lost.items():
            if claim.started:
                self.fail_of(job, f"{event.worker} started fence {claim.job.fence} and lost it as unknown to it")

    def drained(self) -> None:
        """The list of attempts tells each as it ended."""
        for job, facts in self.book.jobs.items():
            told = [
                (one.attempt, one.fence, one.worker, one.outcome)
                for one in run_now(self.world.server.backend.attempts(job))
            ]
            lawful = [
                (claim.job.attempt, claim.job.fence, claim.worker, how(claim))
                for claim in facts.claims
                if not claim.unstarted
            ]
            if told != lawful and self.world.server.state(job) is not None:
                self.fail_of(job, f"its attempts are {lawful}, and are listed as {told}")


def how(claim: Claim) -> AttemptOutcome:
    """How the attempt of a claim ended."""
    match claim.ended:
        case None:
            return AttemptOutcome.RUNNING
        case "reaped":
            return AttemptOutcome.CRASHED
        case "settled" | "joined" if claim.outcome is not None:
            return _settled_as(claim.outcome)
        case _:
            return AttemptOutcome.GIVEN_BACK


def _settled_as(outcome: Outcome) -> AttemptOutcome:
    match outcome:
        case Succeeded():
            return AttemptOutcome.SUCCEEDED
        case Retried():
            return AttemptOutcome.RETRY
        case Snoozed():
            return AttemptOutcome.SNOOZED
        case CancelledOutcome():
            return AttemptOutcome.CANCELLED
        case GivenBack():
            return AttemptOutcome.GIVEN_BACK
        case _:
            return AttemptOutcome.FAILED
