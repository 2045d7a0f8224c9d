"""A key has one holder."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.model import Enqueued, JobId, NewJob
from headrace.core.states import JobState
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.testing.sim.world import World


@dataclass(frozen=True, slots=True)
class Holder:
    """The job that an enqueue with this key lands on."""

    id: JobId
    digest: str


class OneHolderPerKey(Checker):
    """An enqueue with a held key lands on its holder, one seen before on itself, any other adds a job.

    A key is held as long as its job lives, and for its retention after that; an id is known as long as
    its job's record is kept. What a producer is told is what was written.
    """

    name = "a key has one holder"

    def __init__(self, world: "World") -> None:
        """No key is held."""
        super().__init__(world)
        self._holders: dict[tuple[str, str], Holder] = {}
        self._answers: dict[JobId, set[Enqueued]] = {}

    def hears(self) -> Hearing:
        """Enqueues, their answers, and retries by people, which may take a key back."""
        return {e.Added: self._added, e.Acknowledged: self._acknowledged, e.RetryApplied: self._retried}

    def _added(self, event: e.Added) -> None:
        job, answer = event.job, event.answer
        self._answers.setdefault(job.id, set()).add(answer)
        holder = self._holder(job, answer)
        if job.id in self.book.jobs and not (_passes_over(job.id, answer) and self.may_be_pruned(job.id)):
            self._expect(event, job.id)
        elif holder is None:
            self._expect(event, None)
        elif holder.digest != job.key_digest:
            self.fail_of(job.id, f"its key {job.key!r} is held by a job with other arguments, and it was taken")
        else:
            self._expect(event, holder.id)
        if answer.created and job.key is not None:
            self._holders[job.task, job.key] = Holder(answer.id, job.key_digest)

    def _expect(self, event: e.Added, on: JobId | None) -> None:
        """It lands on a job that is there, or with None is added."""
        job, answer = event.job, event.answer
        if answer.created is not (on is None) or answer.id != (on or job.id):
            was = "was added" if answer.created else f"landed on {answer.id.hex()}"
            lawful = "have been added" if on is None else f"have landed on {on.hex()}"
            self.fail_of(job.id, f"with key {job.key!r} it {was}, and should {lawful}")
        elif on is not None:
            end = self.book.jobs[on].end
            if end is not (answer.state if answer.state.terminal else None):
                self.fail_of(job.id, f"it landed on a job that is {end or 'live'} and was told {answer.state.value}")

    def _holder(self, job: NewJob, answer: Enqueued) -> Holder | None:
        """Who holds the key of this job now; one that had expired may be deleted, and its clock stepped back since."""
        holder = None if job.key is None else self._holders.get((job.task, job.key))
        if holder is None:
            return None
        facts, server = self.book.jobs[holder.id], self.world.server
        now, kept_s = server.wall(), server.settings.key_retention_s
        latest = server.latest_at if _passes_over(holder.id, answer) else now
        expired = facts.end is not None and facts.ended_at + kept_s <= latest
        return None if expired else holder

    def _acknowledged(self, event: e.Acknowledged) -> None:
        if event.answer not in self._answers.get(event.job.id, set()):
            self.fail_of(event.job.id, f"its producer was told {event.answer}, and nothing like it was written")

    def _retried(self, event: e.RetryApplied) -> None:
        """A job that lives again holds its key again, unless another took it over."""
        facts = self.book.jobs.get(event.job)
        if facts is not None and facts.new.key is not None and event.state is JobState.READY:
            self._holders.setdefault((facts.new.task, facts.new.key), Holder(event.job, facts.new.key_digest))


def _passes_over(job: JobId, answer: Enqueued) -> bool:
    """Whether an enqueue did not land on this job."""
    return answer.created or answer.id != job
