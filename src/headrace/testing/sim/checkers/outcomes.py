"""An outcome is written once, by the holder of the lease."""

import json

from headrace.core.model import JobId, SettleResult
from headrace.core.states import JobState
from headrace.runtime.context import run_now
from headrace.testing.sim import events as e
from headrace.testing.sim.book import JobFacts
from headrace.testing.sim.checkers.base import Checker, Hearing


class OutcomeOnce(Checker):
    """A settle lands only under the fence that holds the job, once, and is answered by what became of that fence."""

    name = "an outcome is written once, by who holds the job"

    def hears(self) -> Hearing:
        """Whatever settles."""
        return {e.Settled: self._settled, e.Joined: self._joined}

    def _settled(self, event: e.Settled) -> None:
        settle = event.settle
        self._judge(settle.id, settle.fence, event.result)
        claim = self._facts(settle.id).claim
        if event.result is SettleResult.SETTLED and claim is not None and claim.worker != event.worker:
            self.fail_of(settle.id, f"{event.worker} settled fence {settle.fence}, which {claim.worker} holds")

    def _joined(self, event: e.Joined) -> None:
        self._judge(event.job, event.fence, event.result)

    def _judge(self, job: JobId, fence: int, result: SettleResult) -> None:
        facts = self._facts(job)
        claim = facts.claim
        if claim is not None and claim.job.fence == fence:
            lawful = SettleResult.SETTLED
        elif facts.settled_fence == fence:
            lawful = SettleResult.REPEATED
        else:
            lawful = SettleResult.LOST
        if result is SettleResult.LOST and self.may_be_pruned(job):
            return
        if result is not lawful:
            held = "nobody" if claim is None else f"fence {claim.job.fence}"
            self.fail_of(
                job, f"a settle of fence {fence} was answered {result.value}, not {lawful.value}; it is held by {held}"
            )

    def _facts(self, job: JobId) -> JobFacts:
        return self.book.jobs[job]

    def drained(self) -> None:
        """What the store tells in the end is what was written."""
        records = run_now(self.world.server.backend.get(list(self.book.jobs)))
        for (job_id, facts), record in zip(self.book.jobs.items(), records, strict=True):
            if record is None:
                continue  # past its retention
            end = record.state if record.state.terminal else None
            if end is not facts.end:
                self.fail_of(job_id, f"it ended as {facts.end} and is {record.state.value}")
            succeeded = facts.end is JobState.SUCCEEDED
            wanted = {"fence": facts.settled_fence} if succeeded else None
            result = None if record.result is None else json.loads(record.result)
            if result != wanted and not record.result_expired:
                self.fail_of(job_id, f"its result is {record.result}, not {wanted}")
