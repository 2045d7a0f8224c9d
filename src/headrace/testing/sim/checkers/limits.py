"""No more run, and no more start, than a task's limits allow."""

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from headrace.core.limits import scope_of
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing
from headrace.testing.sim.scenario import FaultKind

if TYPE_CHECKING:
    from headrace.core.limits import Limit, RateLimit
    from headrace.testing.sim.world import World


class LimitsHold(Checker):
    """Over all workers, of a task or of each of its keys."""

    name = "limits hold over all workers"

    def __init__(self, world: "World") -> None:
        """Nothing has started."""
        super().__init__(world)
        self._limits = {limit.task: limit for limit in world.scenario.limits}
        self._starts: defaultdict[str, deque[float]] = defaultdict(deque)
        self._steps = world.scenario.has(FaultKind.STORE_CLOCK_STEP)

    def hears(self) -> Hearing:
        """Claims."""
        return {e.Claimed: self._claimed}

    def _claimed(self, event: e.Claimed) -> None:
        limit = self._limits.get(event.job.task)
        facts = self.book.jobs.get(event.job.id)
        if limit is None or facts is None:
            return
        if limit.concurrency is not None:
            self._judge_running(event, limit.concurrency, facts.new.lane_key)
        if limit.rate is not None and not self._steps:
            self._judge_starts(event, limit.rate, facts.new.lane_key)

    def _judge_running(self, event: e.Claimed, limit: "Limit", key: str) -> None:
        running = sum(
            job.claim is not None and job.new.task == event.job.task and (limit.key is None or job.new.lane_key == key)
            for job in self.book.jobs.values()
        )
        if running >= limit.n:
            self.fail_of(event.job.id, f"it was claimed while {running} run, of which {limit.n} may")

    def _judge_starts(self, event: e.Claimed, rate: "RateLimit", key: str) -> None:
        starts = self._starts[scope_of(event.job.task, None if rate.key is None else key)]
        now = self.world.server.wall()
        starts.append(now)
        for count, at in enumerate(reversed(starts), 1):
            if count > rate.at_once + (now - at) / rate.interval_s + SLACK:
                self.fail_of(event.job.id, f"{count} have started within {now - at:.3f} s")
                return
        while len(starts) > STARTS_MAX:
            starts.popleft()


STARTS_MAX = 100
SLACK = 0.01  # of a start: the store's clock reads to the microsecond
