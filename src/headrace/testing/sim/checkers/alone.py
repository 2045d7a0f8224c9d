"""One attempt at a time."""

from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing


class OneAttempt(Checker):
    """A job is given to one worker at a time, under a fence that rises; its body starts once per fence."""

    name = "one attempt at a time"

    def hears(self) -> Hearing:
        """Claims, and the bodies that start under them."""
        return {e.Claimed: self._claimed, e.Started: self._started}

    def _claimed(self, event: e.Claimed) -> None:
        job = event.job
        facts = self.book.jobs.get(job.id)
        if facts is None:
            self.fail_of(job.id, "it was claimed, and nobody had enqueued it")
            return
        if facts.claim is not None:
            self.fail_of(job.id, f"it was claimed by {event.worker} while {facts.claim.worker} holds it")
        if facts.claims and job.fence <= facts.claims[-1].job.fence:
            self.fail_of(job.id, f"a claim has fence {job.fence}, the one before had {facts.claims[-1].job.fence}")
        worker = self.book.workers.get(event.worker)
        if worker is None or worker.gone is not None:
            how = "was never registered" if worker is None else f"is {worker.gone}"
            self.fail_of(job.id, f"it was given to {event.worker}, which {how}")

    def _started(self, event: e.Started) -> None:
        facts = self.book.jobs.get(event.job)
        claim = None if facts is None else facts.fences.get(event.fence)
        if claim is None:
            self.fail_of(event.job, f"a body started under fence {event.fence}, which no claim has")
        elif claim.worker != event.worker:
            self.fail_of(event.job, f"{event.worker} started fence {event.fence}, which {claim.worker} was given")
        elif claim.started:
            self.fail_of(event.job, f"a second body started under fence {event.fence}")
        elif claim.job.attempt != event.attempt:
            self.fail_of(event.job, f"attempt {claim.job.attempt} was claimed, its body knows {event.attempt}")
