"""Effects land exactly once, with their success."""

from collections import Counter

from headrace.core.states import JobState
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing


class EffectsOnce(Checker):
    """A committed transaction leaves one effect and one success of the same fence; a success that was told is final."""

    name = "effects land exactly once"

    def hears(self) -> Hearing:
        """What bodies were told."""
        return {e.Succeeded: self._succeeded}

    def _succeeded(self, event: e.Succeeded) -> None:
        facts = self.book.jobs[event.job]
        if facts.end is not JobState.SUCCEEDED or facts.settled_fence != event.fence:
            self.fail_of(
                event.job,
                f"fence {event.fence} was told of its success; the job is {facts.end} by fence {facts.settled_fence}",
            )

    def drained(self) -> None:
        """The user's table has one row per job that succeeded by a transaction, and no others."""
        rows = Counter(self.world.server.effects)
        joined = {
            (job, claim.job.fence)
            for job, facts in self.book.jobs.items()
            for claim in facts.claims
            if claim.ended == "joined"
        }
        for job, fence in sorted(rows.keys() | joined):
            count = rows[job, fence]
            if count != ((job, fence) in joined):
                self.fail_of(job, f"{count} effects of fence {fence}, joined: {(job, fence) in joined}")
            elif self.world.server.state(job) not in {JobState.SUCCEEDED, None}:
                self.fail_of(job, f"fence {fence} has an effect and the job is not succeeded")
        twice = [job for job, count in Counter(job for job, _ in rows).items() if count > 1]
        for job in twice:
            self.fail_of(job, "more than one of its attempts left an effect")
