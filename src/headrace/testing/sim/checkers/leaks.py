"""Nothing leaks."""

from typing import TYPE_CHECKING

from headrace.runtime.worker import Worker
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.core.model import WorkerId
    from headrace.stores.memory.board import Board
    from headrace.testing.sim.world import World


class NothingLeaks(Checker):
    """When all jobs have ended no slot is taken, nothing waits for ever, nothing is held; who ends leaves nothing.

    It looks inside: what leaks is what nobody sees.
    """

    name = "nothing leaks"

    def __init__(self, world: "World") -> None:
        """Nobody has ended."""
        super().__init__(world)
        self._codes: dict[WorkerId, int] = {}

    def hears(self) -> Hearing:
        """How processes end."""
        return {e.Died: self._died}

    def _died(self, event: e.Died) -> None:
        if event.worker is not None:
            self._codes[event.worker] = event.code

    def ended(self, node: str, worker: Worker, code: int) -> None:
        """Who was drained runs nothing and has brought everything back."""
        core = getattr(worker, "_core", None)
        if code == 0 and core is not None and core._drained:  # noqa: SLF001
            self._idle(node, worker)

    def _idle(self, node: str, worker: Worker) -> None:
        core = worker._core  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        appetite = core._appetite  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        left = {
            "bodies": core.running,
            "attempts": worker.running,
            "slots taken": sum(pool.running for pool in appetite.pools),
            "jobs waiting": sum(len(pool.waiting) for pool in appetite.pools),
            "outcomes": len(core._settles),  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            "alone": appetite._alone_held,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            "to clean up": len(worker._closing),  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        }
        kept = ", ".join(f"{count} {what}" for what, count in left.items() if count)
        if kept:
            self.fail(f"{node} has nothing to do and keeps {kept}")

    def drained(self) -> None:
        """Everybody is idle, and listens."""
        for name, worker in self.world.running.items():
            core = getattr(worker, "_core", None)
            if core is None:
                continue  # it has not begun
            self._idle(name, worker)
            now = self.world.workers[worker.record.id].clock.now()
            if core._flight is not None and core._answer_by <= now - LATE_S:  # noqa: SLF001
                self.fail(f"{name} waits for an answer that should have come {now - core._answer_by:.1f} s ago")  # noqa: SLF001
        for record_id, facts in self.book.workers.items():
            if facts.holds:
                self.fail(f"{record_id} holds {len(facts.holds)} jobs, and all have ended")
        for worker_id, known in self._board().workers.items():
            if known.running:
                self.fail(f"the store thinks that {worker_id} runs {len(known.running)} jobs")
        self._readers()

    def _readers(self) -> None:
        for api in self.world.apis:
            if api.node.dead:
                continue
            for loop_reader in api.reader._loops.values():  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                followed = loop_reader._followed  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                if followed and not any(not reader.done for reader in self.world.readers):
                    self.fail(f"{api.node} follows {len(followed)} feeds, and nobody reads them")

    def closed(self) -> None:
        """Whoever ended in order is registered no more."""
        for worker_id in self._board().workers:
            node = self.world.workers.get(worker_id)
            if node is not None and not node.dead:
                self.fail(f"{node} was told to end and lives")
            elif self._codes.get(worker_id) == 0:
                self.fail(f"{node} ended in order, and {worker_id} is still registered")

    def _board(self) -> "Board":
        return self.world.server.backend._board  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


LATE_S = 1.0
