"""Effects land exactly once, with their success."""

from collections import Counter
from typing import TYPE_CHECKING

from headrace.core.model import JobId
from headrace.core.states import JobState
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.testing.sim.world import World


class EffectsOnce(Checker):
    """A committed transaction leaves one effect and one success of the same fence; a success that was told is final."""

    name = "effects land exactly once"

    def __init__(self, world: "World") -> None:
        """Nothing has an effect."""
        super().__init__(world)
        self._former: Counter[tuple[JobId, int]] = Counter()  # of jobs that were pruned, and added again

    def hears(self) -> Hearing:
        """What bodies were told."""
        return {e.Added: self._added, e.Succeeded: self._succeeded}

    def _added(self, event: e.Added) -> None:
        if self.again(event):
            self._former.update(row for row in self._rows() if row[0] == event.job.id)

    def _rows(self) -> Counter[tuple[JobId, int]]:
        """How often each fence has left an effect."""
        return Counter(self.world.server.effects) - self._former

    def _succeeded(self, event: e.Succeeded) -> None:
        facts = self.book.jobs[event.job]
        if facts.end is not JobState.SUCCEEDED or facts.settled_fence != event.fence:
            self.fail_of(
                event.job,
                f"fence {event.fence} was told of its success; the job is {facts.end} by fence {facts.settled_fence}",
            )

    def drained(self) -> None:
        """The user's table has one row per job that succeeded by a transaction, and no others."""
        rows = self._rows()
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
