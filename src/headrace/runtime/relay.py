"""Brings the events of one outbox to their sink: performs what `core.relay` decides.

Invariant: what is sent is sent while this process holds the chore of the sink, or was handed over just before; what is
confirmed leaves the outbox, and nothing else does.
"""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final, assert_never

from headrace.core.errors import HeadraceError
from headrace.core.relay import RelayCore
from headrace.core.relay_events import (
    Appointed,
    Confirmed,
    Deferred,
    Dismissed,
    DrainAsked,
    Drained,
    Effect,
    Event,
    Handed,
    Load,
    Loaded,
    LoadFailed,
    Refused,
    RelayHealth,
    RelaySettings,
    RelayState,
    Reset,
    Send,
    Settle,
    Settled,
    SettleFailed,
    Tell,
    Unsent,
    Woken,
)
from headrace.ports.bridge import Sink, SinkEnd
from headrace.ports.clock import Clock
from headrace.ports.observer import SILENT, Observer
from headrace.ports.post import Post

if TYPE_CHECKING:
    from headrace.core.event import Outgoing

logger = logging.getLogger(__name__)

LEASE_S: Final = 5.0
RENEW_S: Final = 1.0
MARGIN_S: Final = 1.0  # before the lease ends nothing more is sent
STANDBY_S: Final = 1.0  # between two tries to be the one who sends
IDLE_S: Final = 10.0  # without an event, after which another may be it
MANY: Final = 64  # events under way, from which on confirmations are gathered
GATHER_S: Final = 0.001
CLOSE_S: Final = 2.0
DEFERRED_TOLD_S: Final = 60.0


def chore_of(sink: str) -> str:
    """The chore of sending to a sink."""
    return f"sink:{sink}"


def settings_for(sink: Sink) -> RelaySettings:
    """How events go to a sink: one that keeps keys in order itself is given pages, while others are read."""
    if sink.one_per_key:
        return RelaySettings()
    return RelaySettings(
        one_per_key=False,
        answer_s=60.0,
        window=4_000,
        load_max=2_000,
        known_max=10_000,
        settle_max=2_000,
    )


class Relay:
    """One sink in one process; it lives on the loop on which it was made."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        post: Post,
        clock: Clock,
        rng: random.Random,
        *,
        doer: str,
        settings: RelaySettings | None = None,
        observer: Observer = SILENT,
    ) -> None:
        """On the loop that it will live on; `doer` is what the store knows this process by."""
        self.name = name
        self.health = RelayHealth(RelayState.STANDBY)
        self._sink = sink
        self._post = post
        self._clock = clock
        self._rng = rng
        self._doer = doer
        self._observer = observer
        self._core = RelayCore(settings or settings_for(sink), rng, clock.now())
        self._loop = asyncio.get_running_loop()
        self._drained: asyncio.Future[None] = self._loop.create_future()
        self._called = asyncio.Event()
        self._called_at = clock.now()
        self._holds = False
        self._inbox: list[Event] = []
        self._tell_end: Callable[[SinkEnd], None] = self._ended  # the same for every call, so that sinks can gather
        self._troubles = 0  # ends that are no confirmations
        self._heard = 0  # those that the core knows
        self._turning: asyncio.Handle | None = None
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self._pending: tuple[Outgoing, ...] = ()
        self._pending_heard = 0  # when that was decided
        self._handing = False
        self._resets = False
        self._deferred_told_at = -math.inf
        self._given = asyncio.Event()
        self._sending: asyncio.Task[bool] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send until drained, or until this is cancelled."""
        self._spawn(self._stand())
        self._spawn(self._give())
        try:
            await self._drained
        finally:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            left = tuple(self._tasks)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await self._leave()
            await self._sink.close()

    @property
    def holds(self) -> bool:
        """Whether this process is the one that sends, as far as it knows."""
        return self._holds

    def call(self) -> None:
        """Something may wait in the outbox; on its loop."""
        self._called_at = self._clock.now()
        self._called.set()
        if self._holds:
            self._put(Woken())

    def drain(self) -> None:
        """Send nothing more; `run` ends when what is under way is settled."""
        self._put(DrainAsked())

    # -- whose turn it is -------------------------------------------------------------------------

    async def _stand(self) -> None:
        while True:
            await self._called.wait()
            self._called.clear()
            try:
                await self._serve()
            except Exception:
                logger.exception("sink %s: it could not be asked who sends; trying again", self.name)
            await self._clock.sleep(STANDBY_S * self._rng.uniform(0.5, 1.0))

    async def _serve(self) -> None:
        """Be the one who sends, for as long as there is something, and nobody else is."""
        while True:
            asked = self._clock.now()
            try:
                async with asyncio.timeout(LEASE_S):
                    term = await self._post.take_chore(chore_of(self.name), self._doer, LEASE_S)
            except (HeadraceError, TimeoutError) as error:
                logger.debug("sink %s: %s", self.name, error)
                self._called.set()  # what is held runs out by itself
            else:
                if term is None:
                    self._dismiss()
                    return
                self._holds = True
                self._put(Appointed(asked + LEASE_S - MARGIN_S))
            await self._clock.sleep(RENEW_S)
            if self._core.known:
                self._called_at = self._clock.now()
            elif self._clock.now() - self._called_at > IDLE_S:
                self._called.clear()
                self._dismiss()
                await self._leave()
                return

    def _dismiss(self) -> None:
        self._holds = False
        self._put(Dismissed())

    async def _leave(self) -> None:
        """Let another be it at once; where the store does not hear of that, when the lease ends."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._post.leave_chore(chore_of(self.name), self._doer)
        except (HeadraceError, TimeoutError) as error:
            logger.debug("sink %s: %s", self.name, error)

    # -- events in, effects out -------------------------------------------------------------------

    def _ended(self, end: SinkEnd) -> None:
        self._troubles += not isinstance(end, Confirmed)
        self._put(end)

    def _put(self, event: Event) -> None:
        self._inbox.append(event)
        gathers = isinstance(event, Confirmed) and self._core.flying >= MANY
        if self._turning is not None:
            if gathers or not isinstance(self._turning, asyncio.TimerHandle):
                return
            self._turning.cancel()
        if gathers:
            self._turning = self._loop.call_later(GATHER_S, self._turn)  # else each makes room for one, sent alone
        else:
            self._turning = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = None
        if self._over:
            return
        inbox, self._inbox = self._inbox, []
        now = self._clock.now()
        for event in _gathered(inbox):
            if isinstance(event, Deferred) and now - self._deferred_told_at > DEFERRED_TOLD_S:
                self._deferred_told_at = now
                logger.warning("sink %s: %s; what it does not take waits", self.name, event.why)
            self._heard += isinstance(event, Refused | Unsent | Deferred)
            self._perform(self._core.handle(event, now))
        self._arm()

    def _time(self) -> None:
        self._timer = None
        self._perform(self._core.handle_timeout(self._clock.now()))
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        delay_s = self._core.next_deadline() - self._clock.now()
        if delay_s != float("inf") and not self._drained.done():
            self._timer = self._loop.call_later(max(delay_s, 0.0), self._time)

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._pending, self._pending_heard, self._handing = effect.events, self._heard, True
                    self._given.set()
                case Load():
                    self._spawn(self._load(effect))
                case Settle():
                    self._spawn(self._settle(effect))
                case Reset():
                    self._pending, self._resets = (), True
                    if self._sending is not None:
                        self._sending.cancel()
                    self._given.set()
                case Tell():
                    self._tell(effect.health)
                case Drained():
                    if not self._drained.done():
                        self._drained.set_result(None)
                case _:
                    assert_never(effect)

    def _tell(self, health: RelayHealth) -> None:
        before, self.health = self.health, health
        if health.state in {RelayState.SINK_AWAY, RelayState.STORE_AWAY}:
            logger.warning("sink %s: %s; its events wait", self.name, health.why)
        elif before.state in {RelayState.SINK_AWAY, RelayState.STORE_AWAY} and health.state is RelayState.SENDING:
            logger.info("sink %s: sending again", self.name)

    # -- effects ----------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give(self) -> None:
        """Hand over what is pending: one call at a time, in order."""
        while True:
            await self._given.wait()
            self._given.clear()
            if self._resets:
                self._resets = False
                try:
                    await self._sink.reset()
                except Exception:
                    logger.exception("sink %s: its connection could not be left", self.name)
            events, self._pending = self._pending, ()
            back = await self._send(events, self._pending_heard) if events else ()
            if self._handing and not self._pending:
                self._handing = False
                self._put(Handed(back))

    async def _send(self, events: "tuple[Outgoing, ...]", heard: int) -> tuple[int, ...]:
        """Hand them over; the places of those that were not, since others ended otherwise than it was known."""
        sending = self._sending = self._loop.create_task(self._hand(events, heard))
        try:
            await asyncio.wait([sending])
        finally:
            sending.cancel()
            self._sending = None
        if sending.cancelled():
            return ()
        places = tuple(out.place for out in events)
        error = sending.exception()
        if error is None:
            return () if sending.result() else places
        logger.error("sink %s: sending failed", self.name, exc_info=error)
        self._ended(Unsent(places, str(error) or type(error).__name__))
        return ()

    async def _hand(self, events: "tuple[Outgoing, ...]", heard: int) -> bool:
        """Whether the sink has them: one that keeps the order itself has what was decided in full knowledge alone."""
        if self._troubles != heard and not self._sink.one_per_key:
            return False
        await self._sink.send(events, self._tell_end)
        return True

    async def _load(self, load: Load) -> None:
        try:
            page = await self._post.outgoing(self.name, load.after, load.limit, load.bytes_max, load.without)
        except HeadraceError as error:
            self._put(LoadFailed(load.token, str(error)))
        except Exception as error:
            logger.exception("sink %s: its outbox could not be read", self.name)
            self._put(LoadFailed(load.token, str(error) or type(error).__name__))
        else:
            self._put(Loaded(load.token, page.events, page.more, page.settled))

    async def _settle(self, settle: Settle) -> None:
        try:
            await self._post.sent(self.name, settle.done, settle.refused)
        except HeadraceError as error:
            self._put(SettleFailed(settle.token, str(error)))
        except Exception as error:
            logger.exception("sink %s: its outbox could not be settled", self.name)
            self._put(SettleFailed(settle.token, str(error) or type(error).__name__))
        else:
            parked = sum(each.parked for each in settle.refused)
            counts = {"sent": len(settle.done), "refused": len(settle.refused) - parked, "parked": parked}
            self._observer.sent(self.name, counts)
            for each in settle.refused:
                if each.parked:
                    logger.warning("sink %s: event %d is parked: %s", self.name, each.place, each.why)
            self._put(Settled(settle.token))


def _gathered(events: list[Event]) -> list[Event]:
    """The same events, with confirmations that follow each other as one."""
    gathered: list[Event] = []
    places: list[int] = []
    for event in events:
        if isinstance(event, Confirmed):
            places += event.places
            continue
        if places:
            gathered.append(Confirmed(tuple(places)))
            places = []
        gathered.append(event)
    if places:
        gathered.append(Confirmed(tuple(places)))
    return gathered
