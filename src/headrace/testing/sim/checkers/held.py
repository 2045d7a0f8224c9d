"""What an open breaker does to the jobs whose tasks need it."""

from typing import TYPE_CHECKING

from headrace.core.fleet import BreakerState, Fleet
from headrace.core.model import Cause, Failed, JobId, Retried, SettleResult, Snoozed
from headrace.runtime.upstreams import LOOK_EVERY_S
from headrace.testing.sim import call_events as c
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing
from headrace.testing.sim.scenario import FaultKind

if TYPE_CHECKING:
    from headrace.testing.sim.world import World

BIRTH_S = 2.0  # until a process has heard of the fleet for the first time
DRIFT = 1.05
UNDER_WAY = 8  # times as long as a caller waits, a request that was sent before everything was well may take
HELD = frozenset({BreakerState.OPEN, BreakerState.FORCED_OPEN})
UNREACHED = (
    FaultKind.STORE_DOWN, FaultKind.STORE_SLOW, FaultKind.REQUEST_LOST, FaultKind.ANSWER_LOST, FaultKind.HANGING,
    FaultKind.PARTITION, FaultKind.STORE_CLOCK_STEP,
)  # fmt: skip


class HeldJobsWait(Checker):
    """No job is claimed or starts whose worker knows that a needed breaker is open; at half-open only with a permit.

    A worker knows within a bound after the store does: it looks twice a second. That is judged of
    workers that can reach the store, and that have been awake and up for so long.
    """

    name = "held jobs wait"

    def __init__(self, world: "World") -> None:
        """Every breaker is closed."""
        super().__init__(world)
        self._open_since: dict[str, float] = {}  # by the world's time
        self._healed_at = float("inf")
        self._born: dict[str, float] = {}
        self._allowed: set[tuple[str, JobId]] = set()
        reachable = not any(world.scenario.has(kind) for kind in UNREACHED)
        self._reachable_from = 0.0 if reachable else None

    def hears(self) -> Hearing:
        """What becomes of breakers, and starts."""
        return {
            c.Amended: self._amended,
            c.Allowed: self._judge,
            e.Claimed: self._claimed,
            e.Started: self._started,
            e.Up: self._up,
        }

    def _up(self, event: e.Up) -> None:
        self._born[event.node] = self.world.timeline.now

    def _amended(self, event: c.Amended) -> None:
        if self._reachable_from is None and not self.world.troubled:
            self._reachable_from = self.world.timeline.now + UNDER_WAY * self.world.server.gives_up_s
        if Fleet.of(event.after, 0.0).state not in HELD:
            self._open_since.pop(event.upstream, None)
        else:
            self._open_since.setdefault(event.upstream, self.world.timeline.now)

    def _judge(self, event: c.Allowed) -> None:
        self._allowed.add((event.node, event.job))
        for upstream, state, permit in event.known:
            if state in HELD or (state is BreakerState.HALF_OPEN and not permit):
                self.fail_of(event.job, f"{event.node} lets it start, and knows that {upstream} is {state.value}")
            since = self._open_since.get(upstream)
            if since is not None and self._late(event.node, since):
                late_s = self.world.timeline.now - since
                self.fail_of(event.job, f"{event.node} lets it start; {upstream} has been open for {late_s:.2f} s")

    def _claimed(self, event: e.Claimed) -> None:
        outages, node = self.world.scenario.outages, self.world.workers.get(event.worker)
        if outages is None or node is None or node.calls is None:
            return
        for upstream in outages.needs(event.job.task, node.calls.version):
            since = self._open_since.get(upstream)
            if since is not None and self._late(node.name, since):
                late_s = self.world.timeline.now - since
                self.fail_of(event.job.id, f"{node} claims it; {upstream} has been open for {late_s:.2f} s")

    def _late(self, name: str, since: float) -> bool:
        """Whether this process should know what happened then."""
        calls = None if self.world.outside is None else self.world.outside.calls.get(name)
        node = None if calls is None else calls.node
        server = self.world.server
        lossy = server.request_lost + server.answer_lost + server.hangs > 0
        if node is None or self._reachable_from is None or lossy:
            return False
        known = max(since, self._reachable_from, self._born[name] + BIRTH_S, node.paused_until)
        bound_s = LOOK_EVERY_S * 1.5 + 6 * server.latency_s
        return self.world.timeline.now > known + bound_s * DRIFT

    def _started(self, event: e.Started) -> None:
        outages = self.world.scenario.outages
        if outages is None or self.world.outside is None:
            return
        if outages.needs(self.book.jobs[event.job].new.task, self.world.outside.calls[event.node].version):
            if (event.node, event.job) not in self._allowed:
                self.fail_of(event.job, f"its body starts in {event.node}, which did not ask what its task needs")
            self._allowed.discard((event.node, event.job))


class OutagesBurnNothing(Checker):
    """What fails a job because of an upstream that its task needs does not count against its retries.

    Such failures send it back to wait, at most `snoozes_max` times in its life; only then they count.
    """

    name = "outages burn no attempts"

    def __init__(self, world: "World") -> None:
        """Nothing has failed."""
        super().__init__(world)
        self._snoozes: dict[JobId, int] = {}

    def hears(self) -> Hearing:
        """Ends of bodies, and what is settled of them."""
        return {e.Returned: self._returned, e.Settled: self._settled, e.Added: self._added}

    def _added(self, event: e.Added) -> None:
        if event.answer.created:
            self._snoozes[event.job.id] = 0

    def _settled(self, event: e.Settled) -> None:
        if event.result is SettleResult.SETTLED and _held_up(event.settle.outcome):
            self._snoozes[event.settle.id] += 1

    def _returned(self, event: e.Returned) -> None:
        outages, outcome = self.world.scenario.outages, event.outcome
        if outages is None or self.world.outside is None or not isinstance(outcome, Retried | Failed):
            return
        version = self.world.outside.calls[event.node].version
        for name in outages.needs(self.book.jobs[event.job].new.task, version):
            most = outages.policy(name, version).snoozes_max
            if f"the upstream {name!r}" in outcome.failure.message and self._snoozes[event.job] < most:
                how = f"after {self._snoozes[event.job]} of {most} snoozes: {outcome.failure.message}"
                self.fail_of(event.job, f"an outage counts against it, {how}")


def _held_up(outcome: object) -> bool:
    return isinstance(outcome, Snoozed) and outcome.failure is not None and outcome.failure.cause is Cause.UPSTREAM


class CallsLeaveNothing(Checker):
    """When all jobs have ended no call is under way or waits, and no attempt has a permit.

    It looks inside: what leaks is what nobody sees.
    """

    name = "calls leave nothing behind"

    def drained(self) -> None:
        """In every process."""
        outside = self.world.outside
        for name, calls in () if outside is None else tuple(outside.calls.items()):
            for guard in calls.upstreams.guards.values():
                core = guard.core
                permits = core._permits  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                left = {
                    "calls": core.in_flight,
                    "slots in use": core.slots.in_use,
                    "calls that wait": core.slots.waiting + core.starts.waiting,
                    "turns": len(guard._waiting),  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                    "probes": guard.probing,
                    "permits": len(permits.bound | permits.busy) + len(permits.parting),
                }
                kept = ", ".join(f"{count} {what}" for what, count in left.items() if count)
                if kept:
                    self.fail(f"{name} has nothing to do and keeps {kept} of {guard.name}")
