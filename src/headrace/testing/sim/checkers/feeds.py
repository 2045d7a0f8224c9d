"""A reader of a feed sees every update once and in order, up to the end."""

import json
from typing import TYPE_CHECKING

from headrace.core.model import JobId, Update, UpdateKind
from headrace.runtime.context import run_now
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.testing.sim.world import World

ALL = 1 << 40
MS = 0.0011


class FeedsAreWhole(Checker):
    """Numbered updates come without gap from where a reader stands, each once, the same for all, and the end last.

    A reader that comes back with its position goes on exactly there: no history is ever lost here.
    """

    name = "feeds are whole, in order, and end"

    def __init__(self, world: "World") -> None:
        """Nobody reads."""
        super().__init__(world)
        self._places: dict[str, int] = {}
        self._ended: set[str] = set()
        self._told: dict[tuple[JobId, int], Update] = {}

    def hears(self) -> Hearing:
        """What readers are told."""
        return {e.Added: self._added, e.Stood: self._stood, e.Saw: self._saw}

    def _added(self, event: e.Added) -> None:
        if self.again(event):
            self._told = {place: update for place, update in self._told.items() if place[0] != event.job.id}

    def _stood(self, event: e.Stood) -> None:
        place, offset = self._places.get(event.reader), event.position.offset
        if event.reader in self._ended:
            self.fail_of(event.job, f"{event.reader} had seen the end, and is told that it stands at {offset}")
        elif place is None and event.recovered:
            self.fail_of(event.job, f"{event.reader} never stood anywhere, and is told that it recovered {offset}")
        elif place is not None and not event.recovered:
            self.fail_of(event.job, f"{event.reader} came back to {place} and was given a snapshot of {offset}")
        elif place is not None and offset != place:
            self.fail_of(event.job, f"{event.reader} came back to {place} and is told that it stands at {offset}")
        self._places[event.reader] = offset

    def _saw(self, event: e.Saw) -> None:
        update, reader = event.update, event.reader
        place = self._places.get(reader)
        if place is None:
            self.fail_of(event.job, f"{reader} was given an update before it knew where it stands")
        elif reader in self._ended:
            self.fail_of(event.job, f"{reader} was given {update.kind.value} {update.offset} after the end")
        elif update.kind is UpdateKind.PROGRESS:
            if update.offset > place:
                self.fail_of(event.job, f"{reader} is at {place} and was shown progress made at {update.offset}")
        elif update.offset != place + 1:
            self.fail_of(event.job, f"{reader} is at {place} and was given {update.offset}")
        else:
            self._take(event.job, reader, update)

    def _take(self, job: JobId, reader: str, update: Update) -> None:
        self._places[reader] = update.offset
        if update.kind is UpdateKind.END:
            self._ended.add(reader)
        known = self._told.setdefault((job, update.offset), update)
        if not self._same(job, known, update):
            self.fail_of(job, f"at {update.offset} one reader was given {known.data}, {reader} {update.data}")

    def _same(self, job: JobId, one: Update, other: Update) -> bool:
        """Of a job that a person retried the former end has become a state, at its old place."""
        # A browser is told instants to the millisecond.
        words = (one.attempt, _lasting(one), one.kind) == (other.attempt, _lasting(other), other.kind)
        if words and abs(one.at - other.at) < MS:
            return True
        kinds = {one.kind, other.kind}
        revived = self.book.jobs[job].revived > 0 and kinds == {UpdateKind.END, UpdateKind.STATE}
        return revived and one.attempt == other.attempt and abs(one.at - other.at) < MS

    def drained(self) -> None:
        """The store tells what the readers were told, all of it, and every reader has seen the end."""
        for job, facts in self.book.jobs.items():
            page = run_now(self.world.server.backend.read_updates(job, 0, ALL))
            if page is None:
                continue  # past its retention
            if [update.offset for update in page.updates] != list(range(1, page.offset + 1)):
                self.fail_of(job, f"its feed of {page.offset} has {[update.offset for update in page.updates]}")
                return
            ends = [update.offset for update in page.updates if update.kind is UpdateKind.END]
            if ends != ([page.offset] if facts.end is not None else []):
                self.fail_of(job, f"its feed of {page.offset} ends at {ends}; the job is {facts.end or 'live'}")
            for update in page.updates:
                told = self._told.get((job, update.offset), update)
                if not self._same(job, told, update):
                    self.fail_of(job, f"at {update.offset} is {update.data}, a reader was given {told.data}")
        for reader in self.world.readers:
            ended = self.book.jobs[reader.job].end is not None
            if ended and not self.may_be_pruned(reader.job) and reader.name not in self._ended:
                self.fail_of(reader.job, f"{reader.name} is at {self._places.get(reader.name)} and saw no end")


def _lasting(update: Update) -> object:
    """What of its data is told whenever it is read: a result is not, once it is past its retention."""
    if update.kind is not UpdateKind.END:
        return update.data
    data = json.loads(update.data)
    return {name: data[name] for name in data if name not in {"result", "result_expired"}}
