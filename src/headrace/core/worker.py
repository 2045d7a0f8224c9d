"""What a worker does next: events in, effects out, no I/O, no clock.

Invariants: at most one exchange is in flight; every answer that is awaited has a deadline, after
which the settles are sent again (they are idempotent) and unknown claims are given back; a job is
started at most once per fence, and only while the worker's lease surely lasts; its slot is taken
until its body has really ended.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from headrace.core.model import (
    Cancelled,
    ClaimedJob,
    ClaimRequest,
    GivenBack,
    JobId,
    Lease,
    Settle,
)
from headrace.core.worker_events import (
    NOT_STORED,
    TOO_LATE,
    CancelAsked,
    DrainAsked,
    Drained,
    Drop,
    Effect,
    Ended,
    Event,
    Exchange,
    ExchangeAnswered,
    ExchangeFailed,
    HintsHeard,
    Idle,
    LeaseGone,
    LeaseHeld,
    Promote,
    Promoted,
    Reconciled,
    Restrained,
    Start,
    Stop,
    StopReason,
    Woken,
    WorkerSettings,
)
from headrace.core.worker_polls import Polls
from headrace.core.worker_pools import Appetite, SlotPool


@dataclass(slots=True)
class _Running:
    job: ClaimedJob
    pool: SlotPool
    kill_at: float
    stopping: StopReason | None = None


class WorkerCore:
    """One worker's decisions. `handle`, `next_deadline` and `handle_timeout` are all there is."""

    def __init__(self, settings: WorkerSettings, now: float) -> None:
        """Hungry from the start."""
        self._settings = settings
        self._appetite = Appetite(settings, now)
        self._pools = self._appetite.pools
        self._pool_of = {task: pool for pool in self._pools for task in pool.settings.tasks}
        self._running: dict[JobId, _Running] = {}
        self._settles: list[Settle] = []
        self._stops: list[tuple[float, int, JobId, StopReason]] = []  # heap, cleaned lazily
        self._token = 0
        self._flight: Exchange | None = None
        self._answer_by = 0.0
        self._not_before = 0.0
        self._backoff_s = settings.backoff_s
        self._halve = 0  # >0: send at most so many settles, looking for the one that is refused
        self._alone = False  # the claim may be what was refused: settle without one
        self._polls = Polls(settings, now)
        self._due_at: float | None = None
        self._promoted_by: float | None = None  # after this, a promote counts as unanswered
        self._reconcile_at = now + settings.reconcile_s
        self._doubt = False  # the store may have started jobs for us that we do not know of
        self._reconciling = 0  # the exchange whose reconcile may still be done, and knows nothing of later claims
        self._held_until = self._begin_at = inf  # the latter: when to look again at a lease that may have ended
        self._drain_by: float | None = None
        self._drained = False

    # -- the three calls ------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; what to do about it."""
        return self.handle_all((event,), now)

    def handle_all(self, events: Iterable[Event], now: float) -> list[Effect]:
        """Take several events at once; cheaper, and settles go out together."""
        effects: list[Effect] = []
        for event in events:
            self._take(event, now, effects)
        self._turn(now, effects)
        return effects

    def next_deadline(self) -> float:
        """When `handle_timeout` should be called, if no event comes before."""
        at = min(self._polls.at, self._begin_at)
        if self._due_at is not None:
            at = min(at, max(self._due_at, self._promoted_by or 0.0))
        if self._flight is not None:
            at = min(at, self._answer_by)
        elif self._not_before and (self._settles or self._doubt or self._appetite.hungry):
            at = min(at, self._not_before)
        while self._stops and not self._stop_is_live(self._stops[0]):
            heapq.heappop(self._stops)
        if self._stops:
            at = min(at, self._stops[0][0])
        if self._drain_by is not None:
            at = min(at, self._drain_by)
        return at

    def handle_timeout(self, now: float) -> list[Effect]:
        """Take the passing of time; a spurious call changes nothing."""
        effects: list[Effect] = []
        if self._flight is not None and now >= self._answer_by:
            self._failed(self._flight.token, now, effects, transient=True)
        while self._stops and self._stops[0][0] <= now:
            entry = heapq.heappop(self._stops)
            if self._stop_is_live(entry):
                self._stop(entry[2], entry[3], effects)
        if self._drain_by is not None and now >= self._drain_by:
            self._drain_by = now + self._settings.kill_grace_s
            for job_id in list(self._running):
                self._stop(job_id, StopReason.DRAIN, effects)
        if self._polls.start_due(now):
            self._appetite.wake(suspects=False)
        if self._polls.due(now):
            self._appetite.wake()
            self._promote(now, effects)
        elif self._due_at is not None and now >= self._due_at:
            self._promote(now, effects)
        self._turn(now, effects)
        return effects

    # -- what others may read -------------------------------------------------------------------

    @property
    def running(self) -> int:
        """How many bodies run now."""
        return len(self._running)

    @property
    def kill_at(self) -> float:
        """When the process may be killed for a body that ignores its end; 0: nothing runs."""
        return min((run.kill_at for run in self._running.values()), default=0.0)

    @property
    def first_to_kill(self) -> JobId | None:
        """The job that `kill_at` is about."""
        return min(self._running, key=lambda job: self._running[job].kill_at, default=None)

    @property
    def unsettled(self) -> tuple[Settle, ...]:
        """Outcomes that the store has not confirmed; it is safe to send them again."""
        return (*(self._flight.settles if self._flight is not None else ()), *self._settles)

    # -- events -----------------------------------------------------------------------------------

    def _take(self, event: Event, now: float, effects: list[Effect]) -> None:
        match event:
            case Ended():
                self._end(event)
            case ExchangeAnswered() | ExchangeFailed() | Reconciled():
                self._heard(event, now, effects)
            case Woken() | HintsHeard() | Restrained() | LeaseHeld():
                self._stirred(event, now)
            case Promoted():
                self._promoted(event, now)
            case CancelAsked():
                for lease in event.leases:
                    self._cancel(lease, effects)
            case LeaseGone():
                self._lose(event.lease, effects)
            case DrainAsked():
                self._drain(now + event.grace_s)

    def _end(self, event: Ended) -> None:
        run = self._running.get(event.id)
        if run is None or run.job.fence != event.fence:
            return
        del self._running[event.id]
        self._appetite.ended(run.pool, run.job)
        if event.outcome is not None and run.stopping is not StopReason.LOST:
            self._settles.append(Settle(event.id, event.fence, event.outcome))

    def _heard(self, event: ExchangeAnswered | ExchangeFailed | Reconciled, now: float, effects: list[Effect]) -> None:
        if self._reconciling == event.token:
            self._reconciling = 0
            if self._flight is None or self._flight.token != event.token:  # it was given up: claims wait for it
                self._appetite.wake()
        if isinstance(event, ExchangeAnswered):
            self._answered(event, now, effects)
        elif isinstance(event, ExchangeFailed):
            self._failed(event.token, now, effects, transient=event.transient)

    def _answered(self, event: ExchangeAnswered, now: float, effects: list[Effect]) -> None:
        flight = self._flight
        if flight is None or flight.token != event.token:
            if event.answer.claimed:  # an answer given up on: its claims are nobody's
                self._doubt = True
            return
        self._flight = None
        self._backoff_s = self._settings.backoff_s
        self._not_before = 0.0
        self._alone = False
        self._halve = self._halve * 2 if self._settles else 0
        self._note_due(event.answer.next_due_s, now)
        if flight.claim is not None:
            everywhere = self._appetite.answered(more=event.answer.more or event.answer.again)
            self._polls.looked(event.answer, now, everywhere=everywhere)
        for job in self._appetite.in_order(event.answer.claimed):
            self._accept(job, now, effects)

    def _accept(self, job: ClaimedJob, now: float, effects: list[Effect]) -> None:
        pool = self._pool_of.get(job.task)
        if pool is None or self._drain_by is not None or not self._appetite.may_hold(job):
            self._settles.append(Settle(job.id, job.fence, GivenBack(started=False)))
            return
        if job.deadline_in_s is not None:
            job.deadline_in_s += now  # from here on, an instant of the worker's clock
        self._appetite.hold(job)
        late = job.deadline_in_s is not None and job.deadline_in_s <= now
        if late or (pool.running < pool.settings.slots and now < self._held_until):
            self._start(job, pool, now, effects)
        else:
            pool.waiting.append(job)

    def _failed(self, token: int, now: float, effects: list[Effect], *, transient: bool) -> None:
        flight = self._flight
        if flight is None or flight.token != token:
            return
        self._flight = None
        settles = list(flight.settles)
        if not transient and settles and flight.claim is not None:
            self._alone = True
        elif not transient and settles:
            if len(settles) == 1:
                self._halve = 0
                refused = settles.pop()
                if refused.outcome == NOT_STORED:
                    effects.append(Drop(refused))
                else:
                    settles.append(Settle(refused.id, refused.fence, NOT_STORED))
            else:
                self._halve = len(settles) // 2
        else:
            self._not_before = now + self._backoff_s
            self._backoff_s = min(self._backoff_s * 2, self._settings.backoff_max_s)
        self._settles[:0] = settles
        if flight.claim is not None or flight.reconcile is not None:
            self._doubt = True
        self._appetite.wake()

    def _cancel(self, lease: Lease, effects: list[Effect]) -> None:
        run = self._running.get(lease.id)
        if run is not None:
            if run.job.fence == lease.fence:
                self._stop(lease.id, StopReason.CANCEL, effects)
            return
        for pool in self._pools:
            for job in pool.waiting:
                if job.id == lease.id and job.fence == lease.fence:
                    pool.waiting.remove(job)
                    self._appetite.let_go(job)
                    self._settles.append(Settle(job.id, job.fence, Cancelled("cancelled before it started")))
                    return

    def _lose(self, lease: Lease, effects: list[Effect]) -> None:
        run = self._running.get(lease.id)
        if run is not None and run.job.fence == lease.fence:
            run.stopping = None
            self._stop(lease.id, StopReason.LOST, effects)

    def _drain(self, by: float) -> None:
        self._drain_by = by if self._drain_by is None else min(by, self._drain_by)
        for pool in self._pools:
            self._settles += [Settle(job.id, job.fence, GivenBack(started=False)) for job in pool.waiting]
            pool.waiting.clear()

    def _stirred(self, event: Woken | HintsHeard | Restrained | LeaseHeld, now: float) -> None:
        if isinstance(event, Woken):
            self._polls.soon(now)
            self._appetite.wake(suspects=event.suspects)
        elif isinstance(event, HintsHeard):
            self._polls.heard(now, works=event.works)
        elif isinstance(event, LeaseHeld):
            self._held_until = event.until
        else:
            for job in self._appetite.restrain(event.allowances):  # what waits for a slot and is held from now on
                self._settles.append(Settle(job.id, job.fence, GivenBack(started=False)))

    def _promoted(self, event: Promoted, now: float) -> None:
        self._promoted_by = None
        self._note_due(event.next_due_s, now)
        if event.count:
            self._appetite.wake()

    # -- time -------------------------------------------------------------------------------------

    def _note_due(self, next_due_s: float | None, now: float) -> None:
        self._due_at = None if next_due_s is None else now + max(next_due_s, 0.0)

    def _promote(self, now: float, effects: list[Effect]) -> None:
        self._due_at = None
        if self._drain_by is None and (self._promoted_by is None or now >= self._promoted_by):
            self._promoted_by = now + self._settings.answer_s
            effects.append(Promote())

    def _stop_is_live(self, entry: tuple[float, int, JobId, StopReason]) -> bool:
        run = self._running.get(entry[2])
        return run is not None and run.job.fence == entry[1]

    def _stop(self, job_id: JobId, reason: StopReason, effects: list[Effect]) -> None:
        run = self._running[job_id]
        if run.stopping is None:
            run.stopping = reason
            effects.append(Stop(job_id, run.job.fence, reason))

    # -- each turn --------------------------------------------------------------------------------

    def _start(self, job: ClaimedJob, pool: SlotPool, now: float, effects: list[Effect]) -> None:
        if job.deadline_in_s is not None and job.deadline_in_s <= now:
            self._appetite.let_go(job)
            self._settles.append(Settle(job.id, job.fence, TOO_LATE))
            return
        stop_at, reason = now + job.timeout_s, StopReason.TIMEOUT
        if job.deadline_in_s is not None and job.deadline_in_s < stop_at:
            stop_at, reason = job.deadline_in_s, StopReason.DEADLINE
        pool.running += 1
        self._running[job.id] = _Running(job, pool, stop_at + self._settings.kill_grace_s)
        if len(self._stops) > 2 * len(self._running) + 64:
            self._stops = [entry for entry in self._stops if self._stop_is_live(entry)]
            heapq.heapify(self._stops)
        heapq.heappush(self._stops, (stop_at, job.fence, job.id, reason))
        effects.append(Start(job, pool.name))

    def _turn(self, now: float, effects: list[Effect]) -> None:
        held = now < self._held_until  # else it was held up: what it claimed may be somebody else's by now
        self._begin_at = inf if held else now + self._settings.lease_look_s
        for pool in self._pools:
            while held and pool.waiting and pool.running < pool.settings.slots:
                self._start(pool.waiting.popleft(), pool, now, effects)
        if self._flight is None and now >= self._not_before:
            self._not_before = 0.0  # over, whether or not there is something to send
            self._send(now, effects)
        if self._flight is not None or self._running or self._settles:
            return
        if self._drain_by is not None:
            if not self._drained:
                self._drained = True
                effects.append(Drained())
        elif self._settings.suspects and held and not self._appetite.hungry:
            effects.append(Idle())

    def _send(self, now: float, effects: list[Effect]) -> None:
        claim = self._claim(now)
        doubt = self._doubt and not self._reconciling and self._drain_by is None
        if claim is None and not self._settles and not doubt:
            return
        limit = self._halve or len(self._settles)
        self._token += 1
        flight = Exchange(self._token, tuple(self._settles[:limit]), claim)
        del self._settles[:limit]
        if doubt or (claim is not None and now >= self._reconcile_at):
            self._doubt = False
            self._reconcile_at = now + self._settings.reconcile_s
            flight.reconcile = self._known(flight.settles)
            self._reconciling = self._token
        self._flight = flight
        self._answer_by = now + self._settings.answer_s
        effects.append(flight)

    def _known(self, sending: tuple[Settle, ...]) -> tuple[Lease, ...]:
        running = [Lease(run.job.id, run.job.fence) for run in self._running.values()]
        waiting = [Lease(job.id, job.fence) for pool in self._pools for job in pool.waiting]
        settling = [Lease(settle.id, settle.fence) for settle in (*sending, *self._settles)]
        return (*running, *waiting, *settling)

    def _claim(self, now: float) -> ClaimRequest | None:
        if self._drain_by is not None or self._reconciling or len(self._settles) >= self._settings.settles_max:
            return None
        if (self._settles and (self._alone or self._halve)) or self._begin_at < inf:
            return None
        return self._appetite.request(now)
