"""Only poison is put in quarantine."""

import json
from typing import TYPE_CHECKING, Any

from headrace.core.model import Cause, JobId, SettleResult, Succeeded
from headrace.core.states import JobState
from headrace.runtime.context import run_now
from headrace.runtime.supervisor import SUSPECTS
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.testing.sim.world import World


class OnlyPoisonIsQuarantined(Checker):
    """A job whose worker died is a suspect, and runs alone until an attempt of it ends by its own word.

    Only deaths while it was alone in its process count, and so many of them end it as crashed. Who
    asks for suspects is given nothing else, and the other way round.
    """

    name = "quarantine hits poison, not its neighbours"

    def __init__(self, world: "World") -> None:
        """Nobody is suspected."""
        super().__init__(world)
        self._poison: set[JobId] = set()
        self._quarantined: set[JobId] = set()

    def hears(self) -> Hearing:
        """Claims, deaths, and outcomes."""
        return {
            e.Added: self._added,
            e.Claimed: self._claimed,
            e.Reaped: self._reaped,
            e.RetryApplied: self._retried,
            e.Settled: self._settled,
            e.Joined: self._joined,
        }

    def _added(self, event: e.Added) -> None:
        if event.answer.created and is_poison(event.job.args):
            self._poison.add(event.job.id)

    def _claimed(self, event: e.Claimed) -> None:
        job = event.job
        if job.suspect is not self.book.jobs[job.id].suspect:
            self.fail_of(job.id, f"it was claimed as {_kind(job.suspect)} and is {_kind(not job.suspect)}")
        elif event.suspects is not None and event.suspects is not job.suspect:
            self.fail_of(job.id, f"{event.worker} was given {_kind(job.suspect)} and asked for the others")
        worker = self.book.workers.get(event.worker)
        if worker is None:
            return
        alone = worker.record.role == SUSPECTS
        if alone is not job.suspect:
            self.fail_of(job.id, f"{_kind(job.suspect)} was given to {event.worker}, a {worker.record.role}")
        elif alone and worker.holds:
            self.fail_of(job.id, f"{event.worker}, which runs suspects alone, was given it beside {len(worker.holds)}")

    def _reaped(self, event: e.Reaped) -> None:
        for job, state in event.freed:
            facts = self.book.jobs[job]
            if facts.cancel_asked:
                lawful = JobState.CANCELLED
            elif not facts.suspect:
                lawful = JobState.READY
            elif facts.crashes + 1 >= self.world.server.settings.crashes_max:
                lawful = JobState.FAILED
                self._quarantined.add(job)
            else:
                lawful = JobState.SCHEDULED
            if state is not lawful:
                kind = _kind(facts.suspect)
                self.fail_of(job, f"{kind} that had crashed {facts.crashes} times crashed, and is {state.value}")

    def _retried(self, event: e.RetryApplied) -> None:
        if event.state is JobState.READY:
            self._quarantined.discard(event.job)

    def _settled(self, event: e.Settled) -> None:
        if event.result is SettleResult.SETTLED and isinstance(event.settle.outcome, Succeeded):
            self._succeeded(event.settle.id)

    def _joined(self, event: e.Joined) -> None:
        if event.result is SettleResult.SETTLED:
            self._succeeded(event.job)

    def _succeeded(self, job: JobId) -> None:
        if job in self._poison:
            self.fail_of(job, "it kills whatever runs it, and has succeeded")

    def drained(self) -> None:
        """Those in quarantine are those that crashed so often, and no others."""
        records = run_now(self.world.server.backend.get(list(self.book.jobs)))
        for record in records:
            if record is None:
                continue
            crashed = record.failure is not None and record.failure.cause is Cause.CRASHED
            if crashed is not (record.id in self._quarantined):
                self.fail_of(record.id, f"it is {record.state.value}, as crashed: {crashed}; {record.crashes} crashes")


def is_poison(args: str) -> bool:
    """Whether these arguments make a simulated body kill its process whenever it gets so far."""
    steps: list[dict[str, Any]] = json.loads(json.loads(args).get("steps", "[]"))
    return any(step["do"] == "die" and "until" not in step for step in steps)


def _kind(suspect: bool) -> str:
    return "a suspect" if suspect else "no suspect"
