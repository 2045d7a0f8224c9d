"""Which attempts hold a slot of a limit, and where rates stand."""

from collections.abc import Iterable, Mapping

from headrace.core.limits import Gate, TaskLimit
from headrace.core.model import JobId


class Limits:
    """Slots and rates of a board, by scope."""

    def __init__(self) -> None:
        """None."""
        self._holders: dict[str, set[JobId]] = {}
        self._scopes: dict[JobId, str] = {}
        self._rates: dict[str, float] = {}

    def gate(self, limits: Iterable[TaskLimit], now: float) -> Gate:
        """What the limits allow now."""
        return Gate(limits, now, self.look)

    def look(self, scope: str) -> tuple[int, float | None]:
        """How many of it run, and where its rate stands."""
        return len(self._holders.get(scope, ())), self._rates.get(scope)

    def hold(self, scope: str, job: JobId) -> None:
        """An attempt takes a slot."""
        self._holders.setdefault(scope, set()).add(job)
        self._scopes[job] = scope

    def let_go(self, job: JobId) -> bool:
        """The job's attempt has ended; whether it held a slot."""
        scope = self._scopes.pop(job, None)
        if scope is not None:
            self._holders[scope].discard(job)
        return scope is not None

    def keep(self, rates: Mapping[str, float]) -> None:
        """Rates have moved on."""
        self._rates.update(rates)
