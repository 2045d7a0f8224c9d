"""The process above the workers: keeps their leases alive, and frees their jobs when they die.

It execs its children and never imports the user's module, so that nothing that module opens is
shared between processes. One child more than was asked for runs suspects: it has everything
imported when a crash makes it needed.
"""

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Final

from headrace.core.errors import HeadraceError, StoreMoved
from headrace.core.model import Reaped, WorkerId, WorkerRecord
from headrace.ports.clock import Clock
from headrace.ports.notifier import Notifier
from headrace.ports.observer import SILENT, Observer
from headrace.ports.store import Store
from headrace.runtime.chores import quietly, reap_once, safely, upkeep
from headrace.runtime.process import describe_exit
from headrace.runtime.relays import let_go
from headrace.runtime.restarts import Restarts
from headrace.runtime.ward import Launch, Slotted, Ward
from headrace.runtime.watchdog import BEAT_EVERY_S, find_tasks

log = logging.getLogger(__name__)

RENEW_EVERY_S: Final = 0.5
RENEW_IDLE_EVERY_S: Final = 2.0  # of children that run nothing, and so have nothing to cancel
LOOK_EVERY_S: Final = 0.2
STORE_RETRY_S: Final = 0.5
FATAL_MAX: Final = 5
LOST_GRACE_S: Final = 5.0
HELP_EVERY_S: Final = 0.5
HELD_MARGIN_S: Final = 0.5
MARGIN_S: Final = 2.0
WORKER, SUSPECTS = "worker", "suspects"


class Supervisor:
    """Runs `processes` workers and one for suspects until SIGTERM or SIGINT. One per process."""

    def __init__(
        self,
        store: Store,
        notifier: Notifier,
        clock: Clock,
        *,
        launch: Launch,
        version: str,
        processes: int = 1,
        lease_s: float = 10.0,
        grace_s: float = 30.0,
        kill_grace_s: float = 10.0,
        blocked_s: float = 0.5,
        suspects_max: int = 4,
        renew_every_s: float = RENEW_EVERY_S,
        look_every_s: float = LOOK_EVERY_S,
        rng: random.Random | None = None,
        observer: Observer = SILENT,
    ) -> None:
        """`launch` starts a child; the store is open. After a crash up to `suspects_max` children run suspects."""
        self._store: Final = store
        self._notifier: Final = notifier
        self._clock: Final = clock
        self._launch: Final = launch
        self._version: Final = version
        self._processes: Final = processes
        self._lease_s: Final = lease_s
        self._grace_s = grace_s
        self._kill_grace_s: Final = kill_grace_s
        self._blocked_s: Final = blocked_s
        self._suspects_max: Final = suspects_max
        self._renew_every_s: Final = renew_every_s
        self._look_every_s: Final = look_every_s
        self._rng: Final = rng or random.Random()  # noqa: S311 - spreads chores
        self._ids: Final = rng or random.SystemRandom()
        self._observer: Final = observer
        self._restarts: Final = Restarts()
        self._wards: Final[dict[WorkerId, Ward]] = {}
        self._extras: Final[dict[asyncio.Task[None], None]] = {}  # as is everything here, in the order of making
        self._errands: Final[dict[asyncio.Task[None], None]] = {}
        self._wanted = 0  # children for suspects, while there are some
        self._helping = False
        self._stop: Final = asyncio.Event()
        self._cancels: Final = asyncio.Event()
        self._came_up = False
        self._exit_code = 0

    async def run(self) -> int:
        """Start the children, and keep them until told to stop; the exit code for the process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        await self._notifier.start()
        forget = self._notifier.subscribe(("cancel",), lambda _: self._cancels.set())
        seats = [loop.create_task(self._seat(role)) for role in (*[WORKER] * self._processes, SUSPECTS)]
        lasting = upkeep(self._store, self._clock, lambda: self._rng.uniform(0.8, 1.2))
        chores = [*map(loop.create_task, (self._hearts(), self._looks(), *lasting))]
        try:
            try:
                await self._first(*seats, *chores)
            except StoreMoved as error:
                self._leave(error)
            await self._drain(seats)
        finally:
            forget()
            for task in (*seats, *chores, *self._extras, *self._errands):
                task.cancel()
            await asyncio.gather(*seats, *chores, *self._extras, *self._errands, return_exceptions=True)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        return self._exit_code

    def stop(self) -> None:
        """Drain the children and end; asked a second time, without grace."""
        if self._stop.is_set():
            self._grace_s = 0.0
            for ward in self._wards.values():
                ward.drain(0.0)
            return
        log.info("stopping: attempts that run have %g s to end", self._grace_s)
        self._stop.set()

    def _leave(self, error: StoreMoved) -> None:
        """End with the store; what still runs has lost its lease there."""
        log.error("%s", error)
        self._exit_code, self._grace_s = 1, 0.0
        self._stop.set()
        for ward in self._wards.values():
            ward.lose()

    @property
    def wards(self) -> list[Ward]:
        """The children that live."""
        return [ward for ward in self._wards.values() if ward.process.alive]

    # -- children -----------------------------------------------------------------------------------

    async def _seat(self, role: str) -> None:
        """Have one child of this role, always."""
        while not self._stop.is_set():
            delay_s = self._restarts.delay_s(self._clock.now())
            if delay_s and await self._stopped_within(delay_s):
                return
            ward = await self._start(role)
            if ward is not None:
                await self._attend(ward)

    async def _extra(self) -> None:
        """One more child for suspects, until there are none left."""
        ward = await self._start(SUSPECTS, extra=True)
        if ward is not None:
            await self._attend(ward)

    async def _start(self, role: str, *, extra: bool = False) -> Ward | None:
        worker_id = f"w_{self._ids.getrandbits(64):016x}"
        host, at, pid = socket.gethostname(), self._clock.wall(), os.getpid()
        record = WorkerRecord(worker_id, host, 0, role, self._version, None, {}, 0, at, supervisor_pid=pid)
        asked_at = self._clock.now()
        try:
            await self._store.register(record, self._lease_s)
        except HeadraceError as error:
            log.warning("cannot register a worker: %s", error)
            await self._stopped_within(STORE_RETRY_S)
            return None
        if self._stop.is_set():
            await quietly(lambda: self._store.unregister(worker_id), "unregister")
            return None
        slot_fd = self._store.slot_fd(worker_id) if isinstance(self._store, Slotted) else None
        ward = Ward(worker_id, role, self._launch(worker_id, role, slot_fd), extra=extra, observer=self._observer)
        ward.renewed(asked_at, self._lease_s)
        self._wards[worker_id] = ward
        log.debug("started worker %s", ward)
        return ward

    async def _attend(self, ward: Ward) -> None:
        try:
            code = await ward.serve(self._told)
            self._wards.pop(ward.worker_id, None)
            await self._bury(ward, code)
        finally:
            self._wards.pop(ward.worker_id, None)
            ward.process.kill()
            await ward.process.wait()
            ward.close()

    def _told(self, ward: Ward, what: str) -> None:
        match what:
            case "ready":
                self._came_up = True
                self._restarts.note_ready()
                log.info("worker %s is ready", ward)
            case "leaving":
                ward.drain(self._grace_s)
            case "idle" if ward.extra:
                self._wanted = 0  # what there is, is taken
                ward.drain(0.0)
            case _:
                pass

    async def _bury(self, ward: Ward, code: int) -> None:
        """Free what a dead child held, at once; a store that is busy or away is asked again."""
        crashed = not ward.leaving or (code != 0 and ward.killed_for is None)
        if crashed:
            self._mourn(ward, code)
        while True:
            try:
                if crashed or ward.lost:  # as `reap` would, which may not have come to it
                    self._wake(await reap_once(self._store, (ward.worker_id,)))
                else:  # it ended in order, or was made to: nothing of it is suspect
                    await self._store.unregister(ward.worker_id)
            except StoreMoved:
                return
            except HeadraceError as error:
                log.warning("cannot free the jobs of worker %s yet: %s", ward, error)
                await self._clock.sleep(STORE_RETRY_S)
            else:
                break
        await let_go(self._store, ward.worker_id)  # else what it was lent lapses

    def _mourn(self, ward: Ward, code: int) -> None:
        self._restarts.note_death(self._clock.now(), ready=ward.ready)
        self._observer.worker_crashed(ward.role)
        if ward.fatal is not None:
            log.error("worker %s could not start:\n%s", ward, ward.fatal)
            if not self._came_up or self._restarts.stillborn >= FATAL_MAX:
                self._exit_code = 1
                self._stop.set()
        elif ward.killed_for is not None:
            log.error("worker %s was killed: %s", ward, ward.killed_for)
        else:
            log.error("worker %s died: it %s while %d attempts ran", ward, describe_exit(code), ward.beat.running)

    # -- suspects -----------------------------------------------------------------------------------

    def _wake(self, reaped: Reaped) -> None:
        if not reaped.suspects or self._stop.is_set():
            return
        for ward in self._suspects():
            ward.wake()
        self._wanted = max(self._wanted, min(reaped.suspects, self._suspects_max))
        if not self._helping:
            self._helping = True
            self._errand(self._help())

    async def _help(self) -> None:
        """As long as the children for suspects are not done with them, one more and one more helps."""
        await self._clock.sleep(HELP_EVERY_S)
        while len(suspects := self._suspects()) < self._wanted and not self._stop.is_set():
            if suspects and all(ward.idle for ward in suspects):
                break
            if all(ward.ready for ward in suspects):
                task = asyncio.get_running_loop().create_task(self._extra())
                self._extras[task] = None
                task.add_done_callback(self._extras.pop)
            await self._clock.sleep(HELP_EVERY_S)
        self._helping, self._wanted = False, 0

    def _suspects(self) -> list[Ward]:
        return [ward for ward in self._wards.values() if ward.role == SUSPECTS]

    # -- leases -------------------------------------------------------------------------------------

    async def _hearts(self) -> None:
        while True:
            asked = self._cancels.is_set()
            self._cancels.clear()
            for ward in tuple(self._wards.values()):
                await safely(partial(self._renew, ward, at_once=asked), "lease")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._renew_every_s):
                    await self._cancels.wait()

    async def _renew(self, ward: Ward, *, at_once: bool) -> None:
        now = self._clock.now()
        if ward.process.stopped:
            if not ward.stopped:
                log.warning("worker %s is stopped by a signal; its lease is not renewed", ward)
            ward.stopped = True
            if now - ward.renewed_at > self._lease_s:
                # Not left to `reap`: it may have been stopped with the store's write lock in its hands.
                self._dismiss(ward)
            return
        ward.stopped = False
        if not at_once and not ward.beat.running and now - ward.renewed_at < min(RENEW_IDLE_EVERY_S, self._lease_s / 4):
            return
        renewed = await self._store.renew(ward.worker_id, self._lease_s)
        if ward.worker_id not in self._wards:
            return
        if renewed.lost:
            self._dismiss(ward)
            return
        ward.renewed(now, self._lease_s)
        if renewed.cancels:
            ward.cancel(renewed.cancels)

    async def _looks(self) -> None:
        while True:
            for ward in tuple(self._wards.values()):
                self._check(ward)
            await safely(self._look, "reap")
            await self._clock.sleep(self._look_every_s)

    async def _look(self) -> None:
        reaped = await reap_once(self._store)
        for ward in tuple(self._wards.values()):
            if ward.worker_id in reaped.workers:
                self._dismiss(ward)
        self._wake(reaped)

    def _dismiss(self, ward: Ward) -> None:
        """Its lease has ended, its jobs are others' now: let it end, and start a new one."""
        if ward.leaving:
            return
        log.error("worker %s lost its lease: it was stopped, or its supervisor was held up, for too long", ward)
        ward.lose()
        self._errand(self._kill_later(ward, 0.0 if ward.process.stopped else LOST_GRACE_S, "its lease was lost"))

    # -- attempts that hold their process -----------------------------------------------------------

    def _check(self, ward: Ward) -> None:
        now, beat = self._clock.now(), ward.beat
        if beat.kill_at and now > beat.kill_at and ward.killed_for is None:
            ward.killed_for = "an attempt outlived its timeout and the grace after it"
            self._errand(self._kill_overdue(ward))
        limit_s = self._blocked_s + BEAT_EVERY_S + HELD_MARGIN_S
        if beat.beat_at in (0.0, ward.held_since) or ward.stopped:
            return
        if now - beat.beat_at > limit_s and now - beat.watched_at > limit_s:
            ward.held_since = beat.beat_at
            self._errand(self._report_held(ward, now - beat.beat_at))

    async def _report_held(self, ward: Ward, held_s: float) -> None:
        stacks = await ward.stacks(self._clock)
        names = ", ".join(find_tasks(stacks, ward.places)) or "unknown"
        log.warning("worker %s: its interpreter has been held for %.1f s by task %s; its lease stays alive\n%s",
                    ward, held_s, names, stacks)  # fmt: skip

    async def _kill_overdue(self, ward: Ward) -> None:
        stacks = await ward.stacks(self._clock)
        names = ", ".join(find_tasks(stacks, ward.places)) or ward.beat.what or "unknown"
        ward.killed_for = f"an attempt outlived its timeout and the grace after it (task {names})\n{stacks}"
        ward.process.kill()

    async def _kill_later(self, ward: Ward, delay_s: float, why: str) -> None:
        await self._clock.sleep(delay_s)
        if ward.process.alive:
            ward.killed_for = why
            ward.process.kill()

    # -- the end ------------------------------------------------------------------------------------

    async def _drain(self, seats: Sequence[asyncio.Task[None]]) -> None:
        for ward in self._wards.values():
            ward.drain(self._grace_s)
        began = self._clock.now()
        while pending := {task for task in (*seats, *self._extras) if not task.done()}:
            left_s = began + self._grace_s + self._kill_grace_s + MARGIN_S - self._clock.now()
            if left_s < -MARGIN_S:
                log.error("gave up waiting for %d children; their leases end by themselves", len(self._wards))
                return
            if left_s < 0:
                self._kill_all("it did not end within its grace")
            await asyncio.wait(pending, timeout=self._look_every_s)

    def _kill_all(self, why: str) -> None:
        for ward in self._wards.values():
            if ward.killed_for is None:
                log.error("worker %s: %s; killing it", ward, why)
                ward.killed_for = why
            ward.process.kill()

    # -- helpers ------------------------------------------------------------------------------------

    async def _first(self, *tasks: asyncio.Task[None]) -> None:
        """Until told to stop; a task that ends by a fault of ours ends this with it."""
        stopping = asyncio.get_running_loop().create_task(self._stop.wait())
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for task in done:
            task.result()

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return self._stop.is_set()

    def _errand(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._errands[task] = None
        task.add_done_callback(self._errands.pop)
