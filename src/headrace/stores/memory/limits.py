"""Which attempts hold a slot of a limit, and where rates stand.

A slot counts while its job runs under its very fence: nobody needs to free it when the attempt ends.
"""

from collections.abc import Iterable, Mapping

from headrace.core.limits import Gate, TaskLimit
from headrace.core.model import JobId
from headrace.core.states import JobState
from headrace.stores.memory.rows import Row


class Limits:
    """Slots and rates of a board, by scope."""

    def __init__(self, rows: Mapping[JobId, Row]) -> None:
        """None; `rows` are the board's."""
        self._rows = rows
        self._slots: dict[str, dict[JobId, int]] = {}
        self._rates: dict[str, float] = {}

    def gate(self, limits: Iterable[TaskLimit], now: float) -> Gate:
        """What the limits allow now."""
        return Gate(limits, now, lambda scope: (self.running(scope), self._rates.get(scope)))

    def running(self, scope: str) -> int:
        """How many attempts hold a slot."""
        slots = self._slots.get(scope, {})
        dead = [job_id for job_id, fence in slots.items() if not self._runs(job_id, fence)]
        for job_id in dead:
            del slots[job_id]
        return len(slots)

    def hold(self, scope: str, row: Row) -> None:
        """An attempt takes a slot."""
        self._slots.setdefault(scope, {})[row.job.id] = row.fence

    def keep(self, rates: Mapping[str, float]) -> None:
        """Rates have moved on."""
        self._rates.update(rates)

    def _runs(self, job_id: JobId, fence: int) -> bool:
        row = self._rows.get(job_id)
        return row is not None and row.state is JobState.RUNNING and row.fence == fence
