"""Items are kept, once per key, and come only from who holds the job."""

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from headrace.core.model import FeedWrite, JobId, UpdateKind
from headrace.runtime.context import run_now
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing
from headrace.testing.sim.checkers.feeds import ALL

if TYPE_CHECKING:
    from headrace.testing.sim.world import World


class ItemsAreKept(Checker):
    """Only the attempt that holds a job adds to its feed; what a body was told is durable stays there, once per key."""

    name = "items are kept, from who holds the job"

    def __init__(self, world: "World") -> None:
        """Nothing was emitted."""
        super().__init__(world)
        self._keys: dict[tuple[JobId, str], int] = {}
        self._ends: dict[JobId, int] = {}  # the highest offset of an item or log line
        self._written: dict[tuple[JobId, int], tuple[FeedWrite, int]] = {}
        self._counts: Counter[JobId] = Counter()
        self._emitted: list[e.Emitted] = []

    def hears(self) -> Hearing:
        """What is offered to feeds, and what bodies were told of it."""
        return {e.Added: self._added, e.Appended: self._appended, e.Emitted: self._note}

    def _added(self, event: e.Added) -> None:
        if self.again(event):
            job = event.job.id
            self._keys = {place: at for place, at in self._keys.items() if place[0] != job}
            self._written = {place: what for place, what in self._written.items() if place[0] != job}
            self._emitted = [told for told in self._emitted if told.job != job]
            self._ends.pop(job, None)
            del self._counts[job]

    def _note(self, event: e.Emitted) -> None:
        self._emitted.append(event)

    def _appended(self, event: e.Appended) -> None:
        write, offset = event.write, event.offset
        facts = self.book.jobs[write.id]
        claim = facts.claim
        holds = claim is not None and claim.job.fence == write.fence
        if holds is (offset is None):
            how = "refused" if offset is None else "written"
            self.fail_of(write.id, f"{write.kind.value} of fence {write.fence} was {how}, which holds the job: {holds}")
            return
        if claim is None or offset is None or write.kind is UpdateKind.PROGRESS:
            return
        known = None if write.key is None else self._keys.get((write.id, write.key))
        if known is not None:
            if offset != known:
                self.fail_of(write.id, f"the item {write.key!r} is at {known}, and was written again at {offset}")
            return
        if offset <= self._ends.get(write.id, 1):
            self.fail_of(write.id, f"a new {write.kind.value} got offset {offset}, behind {self._ends[write.id]}")
        if write.key is not None:
            self._keys[write.id, write.key] = offset
        self._ends[write.id] = offset
        self._written[write.id, offset] = write, claim.job.attempt
        self._counts[write.id] += 1

    def drained(self) -> None:
        """Feeds have what was written, and nothing else."""
        items = {job: self._items(job) for job in self.book.jobs if self.world.server.state(job) is not None}
        for event in self._emitted:
            if event.job in items and (event.key, event.fence, event.number) not in items[event.job]:
                self.fail_of(event.job, f"item {event.number} of fence {event.fence} was durable, and is not there")

    def _items(self, job: JobId) -> set[tuple[str | None, int, int]]:
        """The key, fence and number of each item that the store tells."""
        page = run_now(self.world.server.backend.read_updates(job, 0, ALL))
        updates = () if page is None else page.updates
        found: set[tuple[str | None, int, int]] = set()
        count = 0
        for update in updates:
            if update.kind not in {UpdateKind.ITEM, UpdateKind.LOG}:
                continue
            count += 1
            write, attempt = self._written.get((job, update.offset), (None, 0))
            if write is None or (write.kind, write.data, attempt) != (update.kind, update.data, update.attempt):
                self.fail_of(job, f"at {update.offset} is {update.data}, which attempt {update.attempt} did not write")
            elif update.kind is UpdateKind.ITEM:
                told: dict[str, Any] = json.loads(update.data)
                found.add((told["key"], told["data"]["fence"], told["data"]["number"]))
        if count != self._counts[job]:
            self.fail_of(job, f"its feed has {count} items and lines, and {self._counts[job]} were written")
        return found
