"""The guard of one upstream in this process: calls ask it, and wait for their turn where that is worth it.

Invariant: the lock is held for decisions only, never while a call is under way or something is waited for.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

from headrace.core.budget import Budget, RetryBudget
from headrace.core.bulkhead import Adaptive
from headrace.core.errors import BreakerOpen, Full, RateLimited, Rejected
from headrace.core.fleet import Terms
from headrace.core.upstream import Refusal, Refused, Ticket, UpstreamCore
from headrace.ports.clock import Clock
from headrace.ports.observer import Called
from headrace.runtime.blame import blame
from headrace.runtime.context import current_attempt

if TYPE_CHECKING:
    from headrace.core.model import JobId
    from headrace.runtime.upstreams import Upstreams

WAIT_S: Final = 10.0
"""How long a call waits for a place or a start, unless the upstream's timeout is shorter."""


@dataclass(frozen=True, slots=True)
class UpstreamPolicy:
    """What `Headrace.upstream` was given."""

    terms: Terms
    adaptive: Adaptive | None = None
    timeout_s: float | None = None
    retry_budget: RetryBudget = field(default_factory=RetryBudget)
    snoozes_max: int = 50


@dataclass(slots=True)
class _Probe:
    """An attempt's permit, and what its calls came to."""

    permit: str
    good: bool = False
    slow: bool = False


@final
class CallPermit:
    """A `ports.upstream.Permit`."""

    __slots__ = ("_guard", "_probe", "_ticket")

    def __init__(self, guard: "UpstreamGuard", ticket: Ticket, probe: _Probe | None) -> None:
        """Under way."""
        self._guard = guard
        self._ticket: Ticket | None = ticket
        self._probe = probe

    def succeeded(self) -> None:
        """The upstream did what it is for."""
        self._end(failed=False)

    def failed(self, error: BaseException | None = None, retry_after_s: float | None = None) -> None:
        """The upstream's failure."""
        if error is not None and self._ticket is not None:
            blame(error, self._guard.name, retry_after_s)
        self._end(failed=True)

    def ignored(self) -> None:
        """No outcome."""
        self._end(failed=None)

    def _end(self, *, failed: bool | None) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._guard.ended(ticket, self._probe, failed=failed)


@final
class UpstreamGuard:
    """A `ports.upstream.Guard`."""

    def __init__(self, name: str, policy: UpstreamPolicy, service: "Upstreams", clock: Clock) -> None:
        """Made by `Upstreams`."""
        self.name = name
        self.policy = policy
        self.timeout_s = policy.timeout_s
        self.core = UpstreamCore(service.process, policy.terms, clock.now(), policy.adaptive)
        self.lock = threading.Lock()
        self.tasks: tuple[str, ...] = ()  # that need it
        self.asking = 0  # calls that have the fleet asked, on the loop of `Upstreams`
        self._service = service
        self._now = clock.now
        self._budget = Budget(policy.retry_budget)
        self._retries = 0  # allowed, and not begun yet: they are no first calls
        self._called = Called()
        self._waiting: deque[Future[None]] = deque()
        self._probes: dict[JobId, _Probe] = {}
        self._wait_s = WAIT_S if policy.timeout_s is None else min(WAIT_S, policy.timeout_s)

    def now(self) -> float:
        """The clock's instant."""
        return self._now()

    # -- calls --------------------------------------------------------------------------------

    async def acquire(self) -> CallPermit:
        """Leave to make one call."""
        if self.core.heard_at is None:
            await self._service.ask(self, permits=False)
        entry = _Entry(self, self._now() + self._wait_s)
        while not isinstance(step := entry.step(), CallPermit):
            if step is None:
                await self._service.ask(self)
                continue
            with entry.in_line(step), suppress(TimeoutError):
                async with asyncio.timeout(entry.patience_s):
                    await asyncio.wrap_future(step)
        return step

    def acquire_sync(self) -> CallPermit:
        """As `acquire`, from a thread without an event loop."""
        if self.core.heard_at is None:
            self._service.ask_sync(self, permits=False)
        entry = _Entry(self, self._now() + self._wait_s)
        while not isinstance(step := entry.step(), CallPermit):
            if step is None:
                self._service.ask_sync(self)
                continue
            with entry.in_line(step), suppress(FutureTimeoutError):
                step.result(entry.patience_s)
        return step

    def retry_allowed(self) -> bool:
        """Whether the retry budget gives one more try; takes it."""
        with self.lock:
            allowed = self._budget.try_withdraw(self._now())
            self._retries += allowed
            return allowed

    def blame(self, error: BaseException, retry_after_s: float | None = None) -> None:
        """An attempt that ends with `error` ended because of this upstream."""
        blame(error, self.name, retry_after_s)

    def ended(self, ticket: Ticket, probe: _Probe | None, *, failed: bool | None) -> None:
        """A call has ended."""
        with self.lock:
            now = self._now()
            slow = self.core.end(ticket, now, failed=failed)
            self._called.ended(now - ticket.began, failed=failed)
            if probe is not None and failed is False:
                probe.good, probe.slow = True, probe.slow or slow
            wake = self._next_in_line()
            news = self.core.tripped or failed
        _wake(wake)
        if news:
            self._service.poke()

    def take_called(self) -> Called:
        """What calls came to since this was last asked."""
        with self.lock:
            taken, self._called = self._called, Called()
        return taken

    def decide(self) -> CallPermit | Refused:
        """Whether a call may go now.

        Raises:
            BreakerOpen: it may not, and there is nobody to ask.
        """
        probe = self._probe_here()
        with self.lock:
            now = self._now()
            answer = self.core.acquire(now, None if probe is None else probe.permit)
            if isinstance(answer, Ticket):
                if self._retries:
                    self._retries -= 1
                else:
                    self._budget.deposit(now)
                return CallPermit(self, answer, probe if answer.kept else None)
        if not answer.ask and answer.why in {Refusal.OPEN, Refusal.PROBING}:
            raise self.rejected(answer)
        return answer

    def _probe_here(self) -> _Probe | None:
        if not self._probes:
            return None
        attempt = current_attempt.get()
        return None if attempt is None else self._probes.get(attempt.id.bytes)

    # -- waiting for a turn -----------------------------------------------------------------------

    def join_line(self, refused: Refused) -> "Future[None]":
        """Stand in line; what is returned is set when it may be one's turn."""
        turn: Future[None] = Future()
        with self.lock:
            self._waiting.append(turn)
            self._count_waiting(refused, 1)
        self._service.poke()
        return turn

    def leave_line(self, turn: "Future[None]", refused: Refused) -> None:
        """Stand there no more."""
        with self.lock:
            self._count_waiting(refused, -1)
            with suppress(ValueError):
                self._waiting.remove(turn)

    def _count_waiting(self, refused: Refused, change: int) -> None:
        if refused.why is Refusal.RATE:
            self.core.starts.waiting += change
        else:
            self.core.slots.waiting += change

    def _next_in_line(self) -> "list[Future[None]]":
        """Those whose turn it may be; under the lock."""
        if not self._waiting:
            return []
        core = self.core
        room = max(1, core.slots.limit(self._now()) - core.slots.in_use) if core.limited else 1
        return [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]

    def rejected(self, refused: Refused) -> Rejected:
        """The error of a call that may not go."""
        with self.lock:
            self._called.refused += 1
        kinds = {Refusal.FULL: Full, Refusal.RATE: RateLimited}
        words = {
            Refusal.OPEN: "is open",
            Refusal.PROBING: "is half open, and its permits are out",
            Refusal.FULL: "is at its bound",
            Refusal.RATE: "is at its rate",
        }
        reason = f": {refused.reason}" if refused.reason else ""
        text = f"the upstream {self.name!r} {words[refused.why]}{reason}"
        return kinds.get(refused.why, BreakerOpen)(text, retry_in=refused.retry_in_s, upstream=self.name)

    # -- the fleet ------------------------------------------------------------------------------

    def heard(self) -> None:
        """The core has heard of the fleet: whoever waits may have a turn."""
        with self.lock:
            wake = self._next_in_line()
        _wake(wake)

    # -- attempts at half-open ----------------------------------------------------------------------

    def begin_attempt(self, job: "JobId") -> bool:
        """An attempt that needs this upstream is about to start; whether it may."""
        with self.lock:
            allowed, needs_permit = self.core.lets_start
            if not needs_permit:
                return allowed
            permit = self.core.take_permit()
            if permit is None:
                return False
            self._probes[job] = _Probe(permit)
            return True

    def end_attempt(self, job: "JobId") -> None:
        """It has ended."""
        with self.lock:
            probe = self._probes.pop(job, None)
            if probe is not None:
                self.core.end_permit(probe.permit, failed=False if probe.good else None, slow=probe.slow)
        if probe is not None:
            self._service.poke()

    @property
    def probing(self) -> int:
        """How many attempts here hold a permit."""
        return len(self._probes)


class _Entry:
    """One call on its way in: asks the fleet once, then waits for its turn, for a bounded time."""

    def __init__(self, guard: UpstreamGuard, until: float) -> None:
        self.patience_s = 0.0
        self._guard = guard
        self._until = until
        self._asked = False
        self._refused: Refused | None = None

    def step(self) -> "CallPermit | Future[None] | None":
        """It may go; or a turn to wait for, under `in_line`; or None: the fleet is to be asked.

        Raises:
            Rejected: it is of no use to wait, or any longer.
        """
        refused = self._guard.decide()
        if isinstance(refused, CallPermit):
            return refused
        if refused.ask and not self._asked:
            self._asked = True
            return None
        left_s = self._until - self._guard.now()
        hopeless = refused.why in {Refusal.OPEN, Refusal.PROBING}
        if hopeless or left_s <= 0 or (refused.why is Refusal.RATE and refused.retry_in_s > left_s):
            raise self._guard.rejected(refused)
        self._refused = refused
        self.patience_s = min(left_s, max(refused.retry_in_s, 0.01)) if refused.why is Refusal.RATE else left_s
        return self._guard.join_line(refused)

    @contextmanager
    def in_line(self, turn: "Future[None]") -> Generator[None]:
        """While the turn is waited for; who leaves early hands it on."""
        assert self._refused is not None  # noqa: S101 - `step` made the turn
        try:
            yield
        except BaseException:
            self._guard.leave_line(turn, self._refused)
            self._guard.heard()
            raise
        self._guard.leave_line(turn, self._refused)


def _wake(turns: "list[Future[None]]") -> None:
    for turn in turns:
        with suppress(Exception):  # it gave up waiting at this very moment
            turn.set_result(None)
