"""Queues hold what their policy lets in, the lowest priority is refused first, and whoever comes again gets in."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.core.admission import QueuePolicy, Reason
from headrace.core.model import JobId, NewJob
from headrace.testing.sim import events as e
from headrace.testing.sim import strain_events as s
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.testing.sim.world import World

RETRY_S = (1.0, 600.0)
FRESH_S = 0.15  # the age of a count by which a process may say that a queue is full, and a turn of its loop
DRIFT = 1.05
PRIORITIES = 3  # that jobs here have: a level needs at most an interval for each to fall


@dataclass(slots=True)
class Known:
    """What a process knows: by which answer, and what it has let in since."""

    began: float = math.inf
    told_at: float = -math.inf
    blind: bool = True  # its last question was not answered
    looks: int = 0  # answers
    asked: int = 0  # questions
    since: list[JobId] = field(default_factory=list[JobId])


@dataclass(frozen=True, slots=True)
class LetIn:
    """By what a job was let in; `counted` are those that its process let in by the same answer before."""

    node: str
    began: float
    blind: bool
    counted: frozenset[JobId]


class QueuesAreBounded(Checker):
    """No more waits in a queue than `depth_max`, but for what its process could not know of when it let it in.

    That is what other processes enqueued after it began to count, and what it had itself let in before, and was on
    its way to the store meanwhile. Jobs that were let in and came back (retried, given back) count in `depth_max` and
    not here. What is let in while the store cannot be asked has no bound, nor what comes before the first answer.
    """

    name = "queues hold what their policy lets in"

    def __init__(self, world: "World") -> None:
        """Nothing is known."""
        super().__init__(world)
        self._policies = policies(world)
        self._known: dict[str, Known] = {}
        self._let_in: dict[JobId, LetIn] = {}
        self._adds: dict[str, list[tuple[float, JobId]]] = {}

    def hears(self) -> Hearing:
        """Who asks, who is let in, and what the store adds."""
        return {s.Looked: self._looked, s.Admitted: self._admitted, s.Refused: self._refused, e.Added: self._added}

    def _looked(self, event: s.Looked) -> None:
        known = self._known.setdefault(event.node, Known())
        known.blind = event.loads is None
        if not known.blind:
            known.began, known.told_at, known.since = event.began, self.world.timeline.now, []

    def _admitted(self, event: s.Admitted) -> None:
        known = self._known.setdefault(event.node, Known())
        mine = [job.id for job in event.jobs]
        counted = frozenset([*known.since, *mine])
        known.since += mine
        for job in mine:
            self._let_in[job] = LetIn(event.node, known.began, known.blind, counted)

    def _refused(self, event: s.Refused) -> None:
        least, most = RETRY_S
        if event.retry_in_s is None or not least <= event.retry_in_s <= most:
            self.fail(f"{event.node} refuses, and says to come again in {event.retry_in_s} s")
        known = self._known.get(event.node, Known())
        if event.reason is Reason.DEPTH and (
            known.blind or (self.world.timeline.now - known.told_at) > FRESH_S + self._stood_still(event.node, known)
        ):
            ago = "whose last question was not answered" if known.blind else f"as it was at {known.told_at:.3f} s"
            self.fail(f"{event.node} refuses because {event.queue} is full, {ago}")

    def _stood_still(self, node: str, known: Known) -> float:
        """For how long its process may have stood still since it was told."""
        api = next((api for api in self.world.apis if api.node.name == node), None)
        return 0.0 if api is None else max(0.0, api.node.paused_until - known.told_at)

    def _added(self, event: e.Added) -> None:
        job, queue = event.job, event.job.queue
        if queue not in self._policies or not event.answer.created:
            return
        adds = self._adds.setdefault(queue, [])
        adds.append((self.world.timeline.now, job.id))
        let_in = self._let_in.get(job.id)
        if let_in is None:
            self.fail_of(job.id, "it was enqueued, and nobody let it in")
            return
        most = self._policies[queue].depth_max
        if most is None or let_in.blind or let_in.began == math.inf:
            return
        unknown = sum(at >= let_in.began and added not in let_in.counted for at, added in adds)
        waiting = 1 + sum(
            facts.new.queue == queue and facts.end is None and not facts.claims and not facts.revived
            for facts in self.book.jobs.values()
        )
        if waiting > most + unknown:
            self.fail_of(job.id, f"{waiting} wait in {queue}, which may hold {most}; {unknown} could not be known of")


class LowestGoesFirst(Checker):
    """By the same answer of the store no process refuses a priority by age and lets a lower one in.

    And it refuses none any more when it has seen for an interval for each priority that nothing waits.
    """

    name = "the lowest priority is refused first, and none once nothing waits"

    def __init__(self, world: "World") -> None:
        """Nobody was refused."""
        super().__init__(world)
        self._policies = policies(world)
        self._refused_at: dict[tuple[str, str], int] = {}  # by process and queue: the highest, since the last question
        self._let_in_at: dict[tuple[str, str], int] = {}  # and the lowest that was let in
        self._calm: dict[tuple[str, str], tuple[int, float | None]] = {}  # intervals, and since when this one is

    def hears(self) -> Hearing:
        """Who asks, and who is let in."""
        return {s.Looked: self._looked, s.Admitted: self._admitted, s.Refused: self._refused}

    def _looked(self, event: s.Looked) -> None:
        for by_place in (self._refused_at, self._let_in_at):
            for place in [place for place in by_place if place[0] == event.node]:
                del by_place[place]
        for load in event.loads or ():
            intervals, since = self._calm.get((event.node, load.name), (0, None))
            if load.ready:
                intervals, since = 0, None
            elif since is None:
                since = event.began
            elif event.began - since >= self._policies[load.name].interval_s * DRIFT:
                intervals, since = intervals + 1, None
            self._calm[event.node, load.name] = intervals, since

    def _priority(self, queue: str, jobs: tuple[NewJob, ...]) -> int | None:
        """As which priority these are asked for together; None: their age does not matter."""
        target_s = self._policies[queue].age_target_s
        return min(
            (job.priority for job in jobs if job.queue == queue and target_s is not None and job.delay_s <= target_s),
            default=None,
        )

    def _admitted(self, event: s.Admitted) -> None:
        for queue in () if event.nested else self._policies:
            priority, place = self._priority(queue, event.jobs), (event.node, queue)
            if priority is not None:
                self._let_in_at[place] = min(priority, self._let_in_at.get(place, priority))
                self._judge(place)

    def _refused(self, event: s.Refused) -> None:
        if event.reason is not Reason.AGE:
            return
        priority, place = self._priority(event.queue, event.jobs), (event.node, event.queue)
        if priority is None or event.nested:
            self.fail(f"{event.node} refuses by age what is no new work for now")
            return
        self._refused_at[place] = max(priority, self._refused_at.get(place, priority))
        self._judge(place)
        intervals, _ = self._calm.get(place, (0, None))
        if intervals >= PRIORITIES:
            self.fail(f"{event.node} refuses by age, and has seen for {intervals} intervals that {place[1]} is empty")

    def _judge(self, place: tuple[str, str]) -> None:
        refused, let_in = self._refused_at.get(place), self._let_in_at.get(place)
        if refused is not None and let_in is not None and let_in < refused:
            self.fail(f"{place[0]} lets priority {let_in} into {place[1]}, and refuses {refused}")


class WhoComesAgainGetsIn(Checker):
    """Once everything is well, whoever was refused and comes again is let in."""

    name = "who was refused and comes again gets in"

    def drained(self) -> None:
        """Nobody comes again and again."""
        for api in self.world.apis:
            if api.door.callers:
                self.fail(f"{len(api.door.callers)} callers are still refused by {api.node}")


def policies(world: "World") -> dict[str, QueuePolicy]:
    """Of the queues that are declared."""
    return {} if world.scenario.strain is None else dict(world.scenario.strain.policies)
