"""What every checker is."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from headrace.core.model import JobId
from headrace.runtime.worker import Worker
from headrace.testing.sim import events as e

if TYPE_CHECKING:
    from headrace.testing.sim.world import World

Hearing: TypeAlias = Mapping[type, Callable[[Any], None]]


class Checker:
    """One promise. It judges from events and the book; only at `drained` and `closed` it looks into the store."""

    name: ClassVar[str]
    """What the promise is called where it is reported."""

    def __init__(self, world: "World") -> None:
        """The world that is judged."""
        self.world = world
        self.book = world.book
        self._hearing = self.hears()

    def hears(self) -> Hearing:
        """Which kinds of events it judges, and by which of its methods."""
        return {}

    def see(self, event: e.Event) -> None:
        """An event, before the book knows of it."""
        judge = self._hearing.get(type(event))
        if judge is not None:
            judge(event)

    def ended(self, node: str, worker: Worker, code: int) -> None:
        """A worker's `run` returned on `node`; its process ends now."""

    def drained(self) -> None:
        """Some time after the last fault: every job should have ended, or time is up. Everything still runs."""

    def closed(self) -> None:
        """Everything was told to end, and has had the time."""

    def may_be_pruned(self, job: JobId) -> bool:
        """Whether it has ended so long ago that the store may have deleted it."""
        facts, server = self.book.jobs.get(job), self.world.server
        server.wall()
        return facts is None or (
            facts.end is not None and facts.ended_at + server.settings.retention_s <= server.latest_at
        )

    def again(self, event: e.Added) -> bool:
        """Whether this adds a job that was there before and was pruned: what was known of it holds no more."""
        return event.answer.created and event.job.id in self.book.jobs

    def fail(self, detail: str) -> None:
        """The promise was broken."""
        self.world.fail(self.name, detail)

    def fail_of(self, job: JobId, detail: str) -> None:
        """The promise was broken for a job, which is named as the timeline names it."""
        self.fail(f"{job.hex()[9:16]}{job.hex()[-4:]}: {detail}")
