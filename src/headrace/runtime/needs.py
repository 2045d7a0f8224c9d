"""What the upstreams of a worker's tasks allow it: told to its core, and asked before each start."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from headrace.core.breaker import Breaker
from headrace.core.fleet import BreakerState
from headrace.core.ramp import allowance
from headrace.core.worker_events import Allowance, Restrained
from headrace.runtime.guard import AttemptKey, UpstreamGuard
from headrace.runtime.upstreams import UNUSED_S, Upstreams

REST_S: Final = 3.0  # about so long nothing is asked for then
ASK_EVERY_S: Final = 0.5
OTHERS_FIRST_S: Final = 5.0  # at most: where the breaker opens again sooner, half of the time until then


class Needs:
    """One per worker; its worker is told on the worker's loop, wherever the upstreams live."""

    def __init__(
        self,
        service: Upstreams,
        needs: Mapping[str, tuple[UpstreamGuard, ...]],
        slots: int,
        rng: random.Random,
        *,
        others_first: bool = False,
    ) -> None:
        """`needs` are the guards of each task that has some; `slots` is how many attempts the worker runs at once.

        With `others_first` it asks for permits only where the other workers have found no job to probe with.
        """
        self._service = service
        self._needs = needs
        self._slots = slots
        self._rng = rng
        self._others_first = others_first
        self._post: Callable[[Restrained], None] | None = None
        self._told: tuple[Allowance, ...] = ()
        self._running: Counter[str] = Counter()
        self._tasks: dict[AttemptKey, str] = {}
        self._lock = threading.RLock()  # the upstreams may live on another loop than the worker
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rest_until: dict[str, float] = {}

    def begin(self, post: Callable[[Restrained], None]) -> Callable[[], None]:
        """Tell `post` what is allowed, now and when it changes; returns what ends that."""
        self._post = post
        self._loop = asyncio.get_running_loop()
        return self._service.join(self)

    # -- attempts -------------------------------------------------------------------------------

    def may_start(self, attempt: AttemptKey, task: str) -> bool:
        """Whether an attempt may start; if so, `ended` must follow."""
        guards = self._needs.get(task)
        if guards is None:
            return True
        for at, guard in enumerate(guards):
            if not guard.begin_attempt(attempt):
                for begun in guards[:at]:
                    begun.end_attempt(attempt)
                self._tell()
                return False
        with self._lock:
            self._tasks[attempt] = task
            self._running[task] += 1
        return True

    def ended(self, attempt: AttemptKey) -> None:
        """An attempt has ended, and its core knows."""
        with self._lock:
            task = self._tasks.pop(attempt, None)
            if task is None:
                return
            self._running[task] -= 1
        for guard in self._needs[task]:
            guard.end_attempt(attempt)
        if self._told:
            self._tell()

    # -- allowances -------------------------------------------------------------------------------

    def turn(self, now: float) -> None:
        """Look at the guards: ask for permits, give back what is not used, tell the core what changed."""
        for guard in {id(guard): guard for guards in self._needs.values() for guard in guards}.values():
            self._probe(guard, now)
        self._tell()

    def _probe(self, guard: UpstreamGuard, now: float) -> None:
        with guard.lock:
            core = guard.core
            if core.drop_free_permits(now, UNUSED_S):
                self._rest_until[guard.name] = now + REST_S * self._rng.uniform(0.5, 1.5)
            breaker = guard.policy.terms.breaker
            if breaker is not None and self._others_first and now < core.probing_since + _others_first_s(breaker):
                return
            if breaker is not None and now >= self._rest_until.get(guard.name, 0.0):
                permitted = breaker.permitted_number_of_calls_in_half_open_state
                if core.ask_permits(now, min(permitted, self._slots) - guard.probing):
                    self._rest_until[guard.name] = now + ASK_EVERY_S * self._rng.uniform(0.5, 1.5)

    def _tell(self) -> None:
        with self._lock:
            told = self._allowances(self._service.now())
            post, loop = self._post, self._loop
            if told == self._told or post is None or loop is None:
                return
            self._told = told
            if loop is _running_loop():
                post(Restrained(told))
            else:
                with suppress(RuntimeError):  # it has ended
                    loop.call_soon_threadsafe(post, Restrained(told))

    def _allowances(self, now: float) -> tuple[Allowance, ...]:
        groups: dict[tuple[int, ...], list[str]] = {}
        for task, guards in self._needs.items():
            groups.setdefault(tuple(id(guard) for guard in guards), []).append(task)
        allowances: list[Allowance] = []
        for tasks in groups.values():
            limits = [limit for guard in self._needs[tasks[0]] if (limit := self._limit(guard, tasks, now)) is not None]
            if limits:
                allowances.append(Allowance(frozenset(tasks), min(limits)))
        return tuple(allowances)

    def _limit(self, guard: UpstreamGuard, tasks: list[str], now: float) -> int | None:
        """How many jobs of these tasks this guard allows here; None: it does not restrain them."""
        with guard.lock:
            core = guard.core
            breaker = guard.policy.terms.breaker
            match core.state:
                case BreakerState.OPEN | BreakerState.FORCED_OPEN:
                    return 0
                case BreakerState.HALF_OPEN:
                    return core.free_permits + sum(self._running[task] for task in tasks)
                case BreakerState.CLOSED if core.ramp_from is not None and breaker is not None:
                    start = breaker.permitted_number_of_calls_in_half_open_state
                    return allowance(now - core.ramp_from, breaker.ramp_s, start, self._slots)
                case _:
                    return None


def _others_first_s(breaker: Breaker) -> float:
    return min(OTHERS_FIRST_S, breaker.half_open_s_max / 2 or OTHERS_FIRST_S)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
