"""The asyncio shell of one worker: feeds events to the core and performs its effects.

It holds no decision of its own. Events are gathered for one turn of the loop, so that the attempts
that end together are settled together.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import assert_never

from headrace.core.errors import HeadraceError, StoreUnavailable, StoreUnusable
from headrace.core.model import Exchanged, GivenBack, JobId, Lease, Settle, SettleResult, WorkerRecord
from headrace.core.worker import WorkerCore
from headrace.core.worker_events import (
    NOT_STORED,
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
    Start,
    Stop,
    StopReason,
    Woken,
    WorkerSettings,
)
from headrace.ports.clock import Clock
from headrace.ports.notifier import Notifier
from headrace.ports.observer import SILENT, Observer
from headrace.ports.store import Store
from headrace.runtime.attempt import NOT_BEGUN, Attempt
from headrace.runtime.beat import Beat
from headrace.runtime.bodies import Bodies
from headrace.runtime.feedwriter import FeedWriter
from headrace.runtime.needs import Needs
from headrace.runtime.promises import Ends
from headrace.runtime.watchdog import BEAT_EVERY_S

logger = logging.getLogger(__name__)

PROMOTE_BATCH = 500
CLEAN_UP_S = 5.0  # for the dependencies of the last attempts


class Worker:
    """Runs attempts until it is drained. One per process and role, bound to the loop of `run`."""

    def __init__(
        self,
        store: Store,
        notifier: Notifier,
        clock: Clock,
        bodies: Bodies,
        *,
        record: WorkerRecord,
        settings: WorkerSettings,
        lease_s: float,
        beat: Beat | None = None,
        beat_every_s: float = BEAT_EVERY_S,
        on_idle: Callable[[], None] | None = None,
        observer: Observer = SILENT,
        needs: Needs | None = None,
        ends: Ends | None = None,
    ) -> None:
        """`record` is what the store shows of it; `on_idle` is told when a suspects' worker is done.
        `needs` are the upstreams of its tasks, `ends` hears of those that are told; None: there are none.
        """
        self.record = record
        self._store = store
        self._notifier = notifier
        self._clock = clock
        self._bodies = bodies
        self._settings = settings
        self._lease_s = lease_s
        self.beat = Beat.private() if beat is None else beat
        self._beat_every_s = beat_every_s
        self._on_idle = on_idle
        self._observer = observer
        self._needs = needs
        self._ends = ends
        self._attempts: dict[JobId, Attempt] = {}
        self._inbox: list[Event] = []
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order of making
        self._closing: dict[JobId, Attempt] = {}
        self._telling: asyncio.Task[None] | None = None  # the store, that it drains
        self._lost = False
        self._hears, self._held_until = False, 0.0  # as the core knows it
        self.ending = asyncio.Event()

    # -- life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Register, work until drained, unregister.

        When the grace is over, attempts that will not stop are left behind: their jobs are given
        back, and the process should end.
        """
        self._loop = asyncio.get_running_loop()
        self._done = self._loop.create_future()
        self._turning = True  # until it is set up, what is posted waits
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0  # a handle of uvloop does not always know
        self._beat_timer: asyncio.TimerHandle | None = None
        self._core = WorkerCore(self._settings, self._clock.now())
        self._feeds = FeedWriter(self._store, lambda lease: self.post(LeaseGone(lease)), self._clock.sleep)
        await self._store.register(self.record, self._lease_s)
        forget = self._notifier.subscribe(("queue:",), lambda _: self.post(Woken(suspects=False)))
        self._bodies.open()
        self._spawn(self._bodies.warm())
        self._turning = False
        self.post(Woken())
        free = self._needs.begin(self.post) if self._needs is not None else lambda: None
        try:
            await self._done
            await self._feeds.close()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=CLEAN_UP_S)
            if self._telling is not None:
                await asyncio.wait([self._telling])
            # What a supervised process leaves behind ends with it; only then its supervisor gives it back.
            left_to_supervisor = self._attempts and self.record.supervisor_pid is not None
            if not self._lost and not left_to_supervisor:
                await self._settle_rest()
                await self._take_leave()
        finally:
            forget()
            free()
            for timer in (self._timer, self._beat_timer):
                if timer is not None:
                    timer.cancel()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._bodies.close()

    async def _settle_rest(self) -> None:
        """Outcomes that no exchange brought home in time get one more; else their jobs would run again."""
        left = self._core.unsettled
        with contextlib.suppress(HeadraceError, TimeoutError):
            async with asyncio.timeout(CLEAN_UP_S):
                if not left or await self._takes(left):
                    return
                for settle in left:
                    if not await self._takes((settle,)):
                        await self._takes((Settle(settle.id, settle.fence, NOT_STORED),))

    async def _take_leave(self) -> None:
        """Unregister; while the store is away, that is left to its supervisor, or to the end of its lease."""
        try:
            await self._store.unregister(self.record.id)
        except StoreUnavailable as error:
            logger.warning("ending, and the store has not heard of it: %s", error)

    async def _takes(self, settles: tuple[Settle, ...]) -> bool:
        """Whether the store takes these outcomes, or refuses one of them."""
        try:
            await self._store.exchange(self.record.id, settles, None)
        except HeadraceError as error:
            if error.transient or isinstance(error, StoreUnusable):
                raise
            return False
        return True

    async def drain(self, grace_s: float) -> None:
        """Stop claiming; give back what still runs after `grace_s`. Returns at once; `run` ends."""
        self._end_within(grace_s)
        self.record = replace(self.record, draining=True)
        if self._telling is None and not self._lost and not self._done.done():
            self._telling = self._loop.create_task(self._store.register(self.record, self._lease_s))
            with contextlib.suppress(HeadraceError):  # only for show
                await asyncio.shield(self._telling)

    def _end_within(self, grace_s: float) -> None:
        self.ending.set()
        self.post(DrainAsked(grace_s))
        self._loop.call_later(grace_s + self._settings.kill_grace_s, self._leave_behind)

    def cancel(self, leases: Iterable[Lease]) -> None:
        """Someone asked to cancel these attempts; call it on the worker's loop."""
        self.post(CancelAsked(tuple(leases)))

    def abandon(self) -> None:
        """The worker's lease was lost: every body stops, nothing more of them is written, and `run` ends."""
        self._lost = True
        for attempt in list(self._attempts.values()):
            self.post(LeaseGone(attempt.lease))
        self._end_within(0.0)

    @property
    def running(self) -> int:
        """How many attempts run now."""
        return len(self._attempts)

    def _leave_behind(self) -> None:
        if not self._done.done():
            logger.warning("%d attempts did not stop within their grace; leaving them behind", len(self._attempts))
            self._done.set_result(None)

    # -- events in, effects out -----------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Hand an event to the core in this turn of the loop."""
        self._inbox.append(event)
        self._turn_soon()

    def _turn_soon(self) -> None:
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        self._hear()
        events, self._inbox = self._inbox, []
        self._perform(self._core.handle_all(events, self._clock.now()))

    def _time(self) -> None:
        self._timer = None
        if self._hear():
            self._turn()
        self._perform(self._core.handle_timeout(self._clock.now()))

    def _hear(self) -> bool:
        """Whether there is something to tell the core, as that hints arrive from now on or its lease was renewed."""
        if self._notifier.working != self._hears:
            self._hears = not self._hears
            self._inbox.append(HintsHeard(self._hears))
        if self.beat.held_until != self._held_until:
            self._held_until = self.beat.held_until
            self._inbox.append(LeaseHeld(self._held_until))
        return bool(self._inbox)

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Start):
                self._start(effect)
            else:
                self._act(effect)
        self._arm()
        self._show()

    def _act(self, effect: Exchange | Promote | Stop | Drop | Idle | Drained) -> None:
        match effect:
            case Exchange():
                self._spawn(self._exchange(effect))
            case Promote():
                self._spawn(self._promote())
            case Stop():
                self._stop(effect)
            case Drop():
                logger.error("the outcome of job %s cannot be stored; it will run again", effect.settle.id.hex())
                self._settled((effect.settle,), (SettleResult.LOST,))
            case Idle():
                if self._on_idle is not None:
                    self._on_idle()
            case Drained():
                if not self._done.done():
                    self._done.set_result(None)
            case _:
                assert_never(effect)

    def _arm(self) -> None:
        delay_s = max(self._core.next_deadline() - self._clock.now(), 0.0)
        at = self._loop.time() + delay_s
        if self._timer is not None:
            if self._timer_at <= at:
                return  # it comes early, which is harmless, and arms the next one
            self._timer.cancel()
        self._timer, self._timer_at = self._loop.call_at(at, self._time), at

    def _show(self) -> None:
        beat, running = self.beat, self._core.running
        if running != beat.running:
            beat.running = running
        beat.kill_at = self._core.kill_at
        if self._beat_timer is None and running:
            self._tick()

    def _tick(self) -> None:
        self._beat_timer = None
        beat, kill_at = self.beat, self._core.kill_at
        if kill_at and kill_at != beat.kill_at:
            first = self._core.first_to_kill
            beat.what = str(self._attempts.get(first, "")) if first is not None else ""
        beat.kill_at = kill_at
        if self._core.running:
            beat.beat_at = self._clock.now()
            self._beat_timer = self._loop.call_later(self._beat_every_s, self._tick)
        else:
            beat.beat_at = 0.0

    # -- effects --------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    def _start(self, effect: Start) -> None:
        if self._needs is not None and not self._needs.may_start((effect.job.id, effect.job.fence), effect.job.task):
            self.post(Ended(effect.job.id, effect.job.fence, GivenBack(started=False)))
            return
        attempt = Attempt(effect.job, self._store, self._feeds, self.record.id, self._notifier)
        self._attempts[effect.job.id] = attempt
        attempt.mark = self._observer.mark()
        attempt.begin(self._loop, self._bodies, self._ended, self._holds)

    def _holds(self) -> bool:
        return self.beat.holds(self._clock.now())

    def _ended(self, attempt: Attempt) -> None:
        job = attempt.job
        if self._attempts.get(job.id) is attempt:
            del self._attempts[job.id]
        self._feeds.forget(job.id)
        if attempt.outcome is not NOT_BEGUN:
            self._observer.attempt_ended(job, attempt.outcome, attempt.mark, lost=attempt.lease_lost)
        self.post(Ended(job.id, job.fence, attempt.outcome))
        if self._ends is not None:
            self._ends.ended(job, attempt.outcome, lost=attempt.lease_lost)
        if self._needs is not None:
            self._needs.ended((job.id, job.fence))
        if attempt.outcome is None or attempt.lease_lost:
            self._close(attempt)
        elif attempt.closer is not None:
            self._closing[job.id] = attempt

    def _stop(self, effect: Stop) -> None:
        attempt = self._attempts.get(effect.id)
        if attempt is not None and attempt.job.fence == effect.fence:
            if effect.reason is StopReason.TIMEOUT:
                logger.warning("%s is past its timeout of %g s; stopping it", attempt, attempt.job.timeout_s)
            attempt.stop(effect.reason)

    async def _exchange(self, effect: Exchange) -> None:
        mark = self._observer.mark()
        try:
            if effect.reconcile is not None:
                count = await self._store.reconcile(self.record.id, effect.reconcile)
                if count:
                    logger.warning("gave back %d claims whose answer was lost", count)
                self.post(Reconciled(effect.token))
            answer: Exchanged = await self._store.exchange(self.record.id, effect.settles, effect.claim)
        except HeadraceError as error:
            self._observer.exchanged(None, mark)
            logger.warning("exchange with the store failed: %s", error)
            waits = error.transient or isinstance(error, StoreUnusable)  # no outcome is at fault: a person mends it
            self.post(ExchangeFailed(effect.token, waits))
        except Exception:
            self._observer.exchanged(None, mark)
            logger.exception("exchange with the store failed")
            self.post(ExchangeFailed(effect.token, transient=False))
        else:
            self._observer.exchanged(answer, mark)
            self._settled(effect.settles, answer.settled)
            self._inbox.append(ExchangeAnswered(effect.token, answer))
            if self._attempts:
                self._turn_soon()
            else:  # nothing else can end in this turn of the loop, and what was claimed has waited enough
                self._turn()

    async def _promote(self) -> None:
        try:
            count, next_due_s = await self._store.promote(PROMOTE_BATCH)
        except Exception as error:
            logger.warning("promote failed: %s", error, exc_info=not isinstance(error, HeadraceError))
            self.post(Promoted(0, self._settings.poll_s))
        else:
            self.post(Promoted(count, 0.0 if count >= PROMOTE_BATCH else next_due_s))

    def _settled(self, settles: tuple[Settle, ...], results: tuple[SettleResult, ...]) -> None:
        for settle, result in zip(settles, results, strict=True):
            if result is SettleResult.LOST:
                logger.warning("job %s: its lease was lost; this outcome was not written", settle.id.hex())
        if self._ends is not None:
            self._ends.settled(settles, results)
        if self._closing:
            for settle in settles:
                attempt = self._closing.pop(settle.id, None)
                if attempt is not None:
                    self._close(attempt)

    def _close(self, attempt: Attempt) -> None:
        if attempt.closer is not None:
            self._spawn(attempt.close())
