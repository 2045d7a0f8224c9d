"""What each process keeps for itself: how often it tries again, and how many calls it has under way."""

from collections import Counter, deque
from typing import TYPE_CHECKING

from headrace.runtime.guard import UpstreamPolicy
from headrace.testing.sim import call_events as c
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.testing.sim.world import World

FLOAT = 1e-6


class CallsFitTheirProcess(Checker):
    """Retries fit the budget, over any of its `ttl`; calls under way are never more than an adaptive limit's `max`.

    Both by each process's own clock. The budget is judged as if each call had been a first one: more than
    those cannot have paid into it.
    """

    name = "retries fit their budget, and calls an adaptive limit"

    def __init__(self, world: "World") -> None:
        """Nobody calls."""
        super().__init__(world)
        self._calls: dict[tuple[str, str], deque[float]] = {}
        self._retries: dict[tuple[str, str], deque[float]] = {}
        self._busy: Counter[tuple[str, str]] = Counter()
        self._of: dict[int, tuple[str, str]] = {}

    def hears(self) -> Hearing:
        """Calls, and what guards allow."""
        return {c.Called: self._called, c.Retrying: self._retrying, c.CallEnded: self._call_ended}

    def _policy(self, event: c.Called | c.Retrying) -> UpstreamPolicy:
        assert self.world.scenario.outages is not None
        return self.world.scenario.outages.policy(event.upstream, event.version)

    def _called(self, event: c.Called) -> None:
        key = (event.upstream, event.process)
        self._calls.setdefault(key, deque()).append(event.began)
        self._of[event.call] = key
        self._busy[key] += 1
        adaptive = self._policy(event).adaptive
        if adaptive is not None and self._busy[key] > adaptive.max:
            self.fail(f"{event.process} has {self._busy[key]} calls of {event.upstream} under way, of {adaptive.max}")

    def _call_ended(self, event: c.CallEnded) -> None:
        key = self._of.pop(event.call, None)
        if key is not None:
            self._busy[key] -= 1

    def _retrying(self, event: c.Retrying) -> None:
        key, budget = (event.upstream, event.process), self._policy(event).retry_budget
        calls, retries = self._calls.setdefault(key, deque()), self._retries.setdefault(key, deque())
        retries.append(event.at)
        for past in (calls, retries):
            while past and past[0] <= event.at - budget.ttl_s:
                past.popleft()
        allowed = budget.ratio * len(calls) + budget.floor * budget.ttl_s
        if len(retries) > allowed + FLOAT:
            text = f"{len(retries)} retries of {event.upstream} in {budget.ttl_s:g} s, after {len(calls)} calls"
            self.fail(f"{event.process} makes {text}; {allowed:.1f} are allowed")
