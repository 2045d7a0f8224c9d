"""Of each key of an ordered task one job after the other, in the order in which they were enqueued."""

from itertools import count
from typing import TYPE_CHECKING

from headrace.core.states import JobState
from headrace.testing.sim import events as e
from headrace.testing.sim.book import JobFacts
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.core.model import JobId
    from headrace.testing.sim.world import World


class OrderIsKept(Checker):
    """Nobody is claimed beside a job of the same key that has begun and not ended, or before one that came earlier."""

    name = "ordered jobs keep their order"

    def __init__(self, world: "World") -> None:
        """Nothing has happened."""
        super().__init__(world)
        self.tasks = frozenset(limit.task for limit in world.scenario.limits if limit.ordered)
        self._holders: dict[tuple[str, str], JobId] = {}
        self._places: dict[JobId, int] = {}  # of jobs that were not due later
        self._next = count()

    def hears(self) -> Hearing:
        """What gives a job its place, and claims."""
        return {e.Added: self._added, e.RetryApplied: self._revived, e.Claimed: self._claimed}

    def _added(self, event: e.Added) -> None:
        job = event.job
        if event.answer.created and job.task in self.tasks:
            self._places.pop(job.id, None)
            if event.answer.state is JobState.READY:
                self._places[job.id] = next(self._next)

    def _revived(self, event: e.RetryApplied) -> None:
        facts = self.book.jobs.get(event.job)
        if facts is not None and facts.new.task in self.tasks and event.state is JobState.READY and facts.end:
            self._places[event.job] = next(self._next)

    def _claimed(self, event: e.Claimed) -> None:
        facts = self.book.jobs.get(event.job.id)
        if facts is None or facts.new.task not in self.tasks:
            return
        lane = facts.new.task, facts.new.lane_key
        before = self._holders.get(lane)
        if before is not None and before in self.book.jobs and self.book.jobs[before].end is None:
            if before != event.job.id:
                self.fail_of(event.job.id, f"it was claimed while {before.hex()} of its key has begun and not ended")
            return
        place = self._places.get(event.job.id)
        passed = [job for job, each in self.book.jobs.items() if self._is_ahead(job, each, facts, place)]
        if passed:
            self.fail_of(event.job.id, f"it was claimed before {passed[0].hex()}, which waits ahead of it")
        else:
            self._holders[lane] = event.job.id

    def _is_ahead(self, job: "JobId", other: JobFacts, facts: JobFacts, place: int | None) -> bool:
        """Whether a job that waits in the same line, and never had its turn or lost it, has an earlier place."""
        own = self._places.get(job)
        new, mine = other.new, facts.new
        return (
            own is not None
            and place is not None
            and other.end is None
            and (new.task, new.lane_key, new.queue) == (mine.task, mine.lane_key, mine.queue)
            and (-new.priority, own) < (-mine.priority, place)
        )
