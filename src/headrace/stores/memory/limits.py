"""Which attempts hold a slot of a limit, where rates stand, and which jobs have the turn of an ordered lane."""

from collections.abc import Callable, Iterable, Mapping

from headrace.core.limits import Gate, ScopeState, TaskLimit, turn_of
from headrace.core.model import JobId


class Limits:
    """Slots, rates and turns of a board, by scope."""

    def __init__(self, lives: Callable[[JobId], bool]) -> None:
        """None. `lives` tells whether a job is there and has not ended."""
        self._lives = lives
        self._turns: dict[str, JobId] = {}  # who started last; it has its turn while it lives
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

    # -- ordered lanes ------------------------------------------------------------------------

    def state(self, scope: str) -> ScopeState:
        """All that is known of it."""
        return ScopeState(*self.look(scope), self.holder(scope))

    def holder(self, scope: str) -> JobId | None:
        """The job that has its turn there."""
        job = self._turns.get(scope)
        return job if job is not None and self._lives(job) else None

    def had_turn(self, task: str, key: str, job: JobId) -> bool:
        """Whether a job that ends now leaves its turn to others."""
        return bool(self._turns) and self._turns.get(turn_of(task, key)) == job

    def take_turns(self, turns: Mapping[str, JobId]) -> None:
        """Jobs have started in ordered lanes."""
        self._turns.update(turns)
