"""Only poison is put in quarantine."""

import json
from typing import TYPE_CHECKING, Any

from headrace.core.model import Cause, JobId, SettleResult, Succeeded, Suspicion
from headrace.core.states import JobState
from headrace.runtime.context import run_now
from headrace.runtime.supervisor import SUSPECTS
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.testing.sim.world import World


class OnlyPoisonIsQuarantined(Checker):
    """A job whose worker died runs among suspects, or if it did, alone, until an attempt of it ends by its own word.

    Only deaths while it was alone in its process count, and so many of them end it as crashed. Each
    is given what it asks for: who runs suspects nothing else, and nothing beside one that is alone.
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
        if event.answer.created:
            self._quarantined.discard(event.job.id)  # if it was there before, it was pruned
            if is_poison(event.job.args):
                self._poison.add(event.job.id)

    def _claimed(self, event: e.Claimed) -> None:
        job = event.job
        known = self.book.jobs[job.id].suspect
        if job.suspect is not known:
            self.fail_of(job.id, f"it was claimed as {_kind(job.suspect)} and is {_kind(known)}")
        elif job.suspect not in event.suspicion:
            self.fail_of(job.id, f"{event.worker} was given {_kind(job.suspect)} and asked for the others")
        worker = self.book.workers.get(event.worker)
        if worker is None:
            return
        if (worker.record.role == SUSPECTS) is not bool(job.suspect):
            self.fail_of(job.id, f"{_kind(job.suspect)} was given to {event.worker}, a {worker.record.role}")
            return
        beside = [claim.job.suspect for held, claim in worker.holds.items() if held != job.id]
        if beside and Suspicion.ALONE in {job.suspect, *beside}:
            self.fail_of(job.id, f"{_kind(job.suspect)} was given to {event.worker} beside {len(beside)} others")

    def _reaped(self, event: e.Reaped) -> None:
        for job, state in event.freed:
            facts = self.book.jobs[job]
            if facts.cancel_asked:
                lawful = JobState.CANCELLED
            elif facts.suspect is not Suspicion.ALONE:
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


def _kind(suspect: Suspicion) -> str:
    return {
        Suspicion.NONE: "no suspect",
        Suspicion.SHARED: "a suspect among others",
        Suspicion.ALONE: "a suspect that runs alone",
    }[suspect]
