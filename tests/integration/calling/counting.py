"""A guard that lets through, counts, and refuses when a test says so."""

import asyncio
import threading
from dataclasses import dataclass, field

from headrace.core.errors import BreakerOpen, Full, Rejected
from headrace.runtime.blame import blame


@dataclass(eq=False)
class CountingPermit:
    """Ends once."""

    guard: "CountingGuard"
    outcome: str | None = None

    def succeeded(self) -> None:
        self.guard.end(self, "succeeded")

    def failed(self, error: BaseException | None = None, retry_after_s: float | None = None) -> None:
        if self.guard.end(self, "failed"):
            self.guard.retry_afters.append(retry_after_s)
            if error is not None:
                self.guard.blame(error, retry_after_s)

    def ignored(self) -> None:
        self.guard.end(self, "ignored")


@dataclass
class CountingGuard:
    """`places` bounds what is under way, `refuse_after` how many may begin, `budget` the repeats."""

    name: str = "bank"
    timeout_s: float | None = None
    places: int = 1_000
    refuse_after: int = 1_000
    budget: int = 1_000
    refusal: Rejected = field(default_factory=lambda: BreakerOpen("bank is open", retry_in=7.0, upstream="bank"))
    outcomes: list[str] = field(default_factory=list)
    retry_afters: list[float | None] = field(default_factory=list)
    begun: int = 0
    under_way: int = 0
    peak: int = 0
    asked: int = 0  # for more budget
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def acquire(self) -> CountingPermit:
        await asyncio.sleep(0)
        return self.acquire_sync()

    def acquire_sync(self) -> CountingPermit:
        with self.lock:
            if self.begun >= self.refuse_after:
                raise self.refusal
            if self.under_way >= self.places:
                raise Full("bank has no place", upstream=self.name)
            self.begun += 1
            self.under_way += 1
            self.peak = max(self.peak, self.under_way)
        return CountingPermit(self)

    def retry_allowed(self) -> bool:
        self.asked += 1
        self.budget -= 1
        return self.budget >= 0

    def blame(self, error: BaseException, retry_after_s: float | None = None) -> None:
        blame(error, self.name, retry_after_s)

    def end(self, permit: CountingPermit, outcome: str) -> bool:
        with self.lock:
            if permit.outcome is not None:
                return False
            permit.outcome = outcome
            self.outcomes.append(outcome)
            self.under_way -= 1
            return True
