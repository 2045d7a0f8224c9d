"""The store's side of the simulated world: one memory store, what befalls the way to it, and its witness."""

import random
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.errors import NotEncodable
from headrace.core.model import Outcome, Settle, SettleResult, Succeeded
from headrace.core.states import JobState
from headrace.ports.store import StoreSettings
from headrace.runtime.context import run_now
from headrace.stores.memory import MemoryStore
from headrace.testing.sim import call_events as c
from headrace.testing.sim import events as e
from headrace.testing.sim.bodies import UNSTORABLE
from headrace.testing.sim.node import EPOCH_AT
from headrace.testing.sim.sessions import Session
from headrace.testing.sim.timeline import Timeline

if TYPE_CHECKING:
    from headrace.core.model import JobId
    from headrace.testing.sim.node import Node

NEVER_S = float("inf")


@dataclass(slots=True)
class Trip:
    """What becomes of one request."""

    there_s: float
    back_s: float
    gives_up_s: float  # after which a caller that hears nothing is told so; infinite: never
    request_lost: bool = False
    answer_lost: bool = False


class StoreServer:
    """Applies verbs to a memory store, one at a time."""

    def __init__(
        self, timeline: Timeline, settings: StoreSettings, tell: Callable[[e.Event], None], rng: random.Random
    ) -> None:
        """`tell` hears each write at the instant at which it is applied."""
        self.settings = settings
        self._timeline = timeline
        self._tell = tell
        self._rng = rng
        self.step_s = 0.0  # how far its wall clock was stepped
        self.latest_at = 0.0  # that it has shown
        self.down = False
        self.frozen_until = 0.0
        self.latency_s = 0.001
        self.request_lost = 0.0  # probabilities
        self.answer_lost = 0.0
        self.hangs = 0.0
        self.gives_up_s = 5.0
        self.effects: list[tuple[JobId, int]] = []
        self.rings: list[Callable[[frozenset[str]], None]] = []
        self.backend = MemoryStore(settings, wall=self.wall, notify=lambda hints: self.ring(frozenset(hints)))
        run_now(self.backend.open())
        self.backend.epoch = "e1"  # the same in every history of a seed
        self._witnesses: dict[str, Callable[[Any, Any, Any], None]] = {
            name.removeprefix("_saw_"): getattr(self, name) for name in dir(self) if name.startswith("_saw_")
        }

    def wall(self) -> float:
        """The store's own wall clock."""
        wall = EPOCH_AT + self._timeline.now + self.step_s
        self.latest_at = max(self.latest_at, wall)
        return wall

    def ring(self, hints: frozenset[str]) -> None:
        """Hand hints to every bell."""
        for ring in self.rings:
            ring(hints)

    # -- the way here and back --------------------------------------------------------------------

    def trip(self, verb: str) -> Trip:
        """What will become of a request that leaves now."""
        random, twice_s = self._rng.random, 2 * self.latency_s
        there_s, back_s, gives_up_s = twice_s * random(), twice_s * random(), self.gives_up_s * random()
        fate = random()
        if fate >= self.request_lost + self.answer_lost + self.hangs:
            return Trip(there_s, back_s, gives_up_s)
        if fate < self.request_lost:
            return Trip(there_s, back_s, gives_up_s, request_lost=True)
        if fate < self.request_lost + self.answer_lost:
            return Trip(there_s, back_s, gives_up_s, answer_lost=True)
        # Applied long after its worker gave it up, or applied and not answered before that. Of the
        # verbs only an exchange may stay without an answer for ever: a worker counts on none.
        long_s = (1 + 7 * random()) * self.gives_up_s
        if random() < HALF:
            return Trip(long_s, back_s, self.gives_up_s)
        return Trip(there_s, back_s, NEVER_S if verb == "exchange" else long_s, answer_lost=True)

    def refuses(self, node: "Node") -> bool:
        """Whether it cannot be reached."""
        return self.down or node.machine.cut_off

    # -- applying -----------------------------------------------------------------------------------

    def apply(self, verb: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Carry a verb out, and tell what it wrote."""
        if verb == "commit":
            return self._commit(*args)
        if verb == "exchange" and any(_unstorable(settle.outcome) for settle in args[1]):
            raise NotEncodable("one of these outcomes cannot be stored")
        before: Any = [self.state(job) for job in args[0]] if verb == "retry" else None
        if verb == "amend":
            before = self.document(args[0])
        answer = run_now(getattr(self.backend, verb)(*args, **named))
        witness = self._witnesses.get(verb)
        if witness is not None:
            witness(args, answer, before)
        return answer

    def _commit(self, session: Session, settle: Settle) -> SettleResult:
        answer = run_now(self.backend.exchange("", (settle,), None))
        result = answer.settled[0]
        if result is SettleResult.SETTLED:
            self.effects.append((session.job, session.fence))
        self._tell(e.Joined(settle.id, settle.fence, result))
        return result

    def state(self, job: "JobId") -> JobState | None:
        """What state a job is in."""
        row = self.backend._board.rows.get(job)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return None if row is None else row.state

    def document(self, upstream: str) -> Any:
        """What it keeps of an upstream."""
        return self.backend._board.upstreams.get(upstream)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def _saw_amend(self, args: Any, _: Any, before: Any) -> None:
        bound = getattr(args[1], "args", (None,))[0]  # a word, or who is dead, as `runtime.upstreams` binds it
        said, forgot = (None, bound) if isinstance(bound, str) else (bound, None)
        self._tell(c.Amended(args[0], before, self.document(args[0]), said, forgot))

    def _saw_enqueue(self, args: Any, answer: Any, _: Any) -> None:
        for job, landed in zip(args[0], answer, strict=True):
            self._tell(e.Added(job, landed))

    def _saw_exchange(self, args: Any, answer: Any, _: Any) -> None:
        worker, settles, claim = args
        for settle, result in zip(settles, answer.settled, strict=True):
            self._tell(e.Settled(worker, settle, result))
        for job in answer.claimed:
            self._tell(e.Claimed(worker, copy(job), claim.suspicion))  # its worker changes its own

    def _saw_reconcile(self, args: Any, answer: Any, _: Any) -> None:
        self._tell(e.Reconciled(args[0], frozenset(args[1]), answer))

    def _saw_append(self, args: Any, answer: Any, _: Any) -> None:
        for write, offset in zip(args[0], answer, strict=True):
            self._tell(e.Appended(write, offset))

    def _saw_cancel(self, args: Any, answer: Any, _: Any) -> None:
        for job, state in zip(args[0], answer, strict=True):
            self._tell(e.CancelApplied(job, state))

    def _saw_retry(self, args: Any, answer: Any, before: Any) -> None:
        for job, was, state in zip(args[0], before, answer, strict=True):
            self._tell(e.RetryApplied(job, was, state))

    def _saw_register(self, args: Any, _: Any, __: Any) -> None:
        self._tell(e.Registered(args[0], args[1]))

    def _saw_renew(self, args: Any, answer: Any, _: Any) -> None:
        self._tell(e.Renewed(args[0], args[1], answer.cancels, answer.lost))

    def _saw_unregister(self, args: Any, _: Any, __: Any) -> None:
        self._tell(e.Unregistered(args[0]))

    def _saw_reap(self, args: Any, answer: Any, _: Any) -> None:
        if answer.workers:
            freed = tuple((job, state) for job in answer.jobs if (state := self.state(job)) is not None)
            self._tell(e.Reaped(args[0], answer.workers, freed))


HALF = 0.5


def _unstorable(outcome: Outcome) -> bool:
    return isinstance(outcome, Succeeded) and UNSTORABLE in outcome.result
