"""What every checker is."""

from typing import TYPE_CHECKING, ClassVar

from headrace.runtime.worker import Worker
from headrace.testing.sim import events as e

if TYPE_CHECKING:
    from headrace.testing.sim.world import World


class Checker:
    """One promise. It judges from events and the book, never from the store that it judges."""

    name: ClassVar[str]
    """What the promise is called where it is reported."""

    def __init__(self, world: "World") -> None:
        """The world that is judged."""
        self.world = world
        self.book = world.book

    def see(self, event: e.Event) -> None:
        """An event, before the book knows of it."""

    def ended(self, node: str, worker: Worker, code: int) -> None:
        """A worker's `run` returned on `node`; its process ends now."""

    def drained(self) -> None:
        """Some time after the last fault: every job should have ended, or time is up. Everything still runs."""

    def closed(self) -> None:
        """Everything was told to end, and has had the time."""

    def fail(self, detail: str) -> None:
        """The promise was broken."""
        self.world.fail(self.name, detail)
