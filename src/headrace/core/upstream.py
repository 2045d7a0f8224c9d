"""One process's side of an upstream: which calls may go, what they came to, and what the fleet is to hear of it.

Pure: it takes `now` (monotonic seconds) and is not safe for threads; its owner locks. Invariants: no call goes
under a permit or a slot that the fleet did not grant; what a call came to counts only in the generation in which it
began; while the fleet is not heard of, the process's own breaker may open, and stays open.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias

from headrace.core.breaker import Breaker, CallCounts, tripped
from headrace.core.bulkhead import Adaptive, AdaptiveLimit
from headrace.core.fleet import KNOWN_S, NO_CALLS, PERMIT_S, SLICE_S, BreakerState, Probe, Said, Terms, Told
from headrace.core.upstream_parts import STARTS_S, Permits, Slots, Starts
from headrace.core.window import Window

SAY_EVERY_S: Final = 1.0  # while there is something new that can wait
SAY_FAILURES_S: Final = 0.1  # while calls fail: what others have counted trips a breaker too
SHORT_S: Final = 0.2  # while it is short of slots
RENEW_S: Final = 2.0  # while something is held under a lease
MARGIN_S: Final = 2.0  # a slice is let go so long before others may have it
OFTEN_S: Final = 0.02
SOON_S: Final = 1.0  # to come back, where nobody knows a better time


class Refusal(StrEnum):
    """Why a call may not go."""

    OPEN = "open"
    PROBING = "probing"
    FULL = "full"
    RATE = "rate"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Refused:
    """Not now; perhaps in `retry_in_s`. With `ask`, at once, if the fleet says so when it is asked."""

    why: Refusal
    retry_in_s: float
    ask: bool = False
    reason: str = ""


@dataclass(slots=True)
class Ticket:
    """A call under way."""

    generation: int
    began: float
    permit: str | None = None
    kept: bool = False  # the permit is an attempt's, which ends it


Answer: TypeAlias = Ticket | Refused


class UpstreamCore:
    """What one process knows of one upstream."""

    def __init__(self, process: str, terms: Terms, now: float, adaptive: Adaptive | None = None) -> None:
        """Closed, until it hears something else. `adaptive` bounds the calls of this process alone."""
        self.state = BreakerState.CLOSED
        self.generation = 0
        self.reason = ""
        self.since = now
        self.ramp_from: float | None = None
        self.slots = Slots()
        self.starts = Starts()
        self.in_flight = 0
        self._adaptive = None if adaptive is None else AdaptiveLimit(adaptive)
        self.heard_at: float | None = None
        self._process = process
        self._terms = terms
        self._window = Window(terms.breaker or Breaker())
        self._until = 0.0  # while open: when probes are permitted
        self._others = NO_CALLS
        self._permits = Permits()
        self._late: set[str] = set()  # permits of half-opens that are past, whose calls are under way
        self._said_late = set[str]()
        self._tripped = ""
        self._before: int | None = None  # calls of before the fleet was first heard of are of this generation too
        self._said_at = float("-inf")
        self._said_counts = NO_CALLS
        self._said_wanted = self._last_wanted = 0
        self._short_s = SHORT_S

    def known_as(self, process: str) -> None:
        """What the fleet is to know this process by from now on; before it has spoken."""
        self._process = process

    # -- calls --------------------------------------------------------------------------------

    def acquire(self, now: float, permit: str | None = None) -> Answer:
        """Whether a call may go now; `permit` is the one of its attempt. Every ticket must be ended."""
        kept = permit in self._permits.bound
        match self.state:
            case BreakerState.FORCED_OPEN:
                return Refused(Refusal.OPEN, SOON_S, reason=self.reason)
            case BreakerState.OPEN:
                wait_s = self._until - now
                return Refused(Refusal.OPEN, max(wait_s, SOON_S), wait_s <= 0, self.reason)
            case BreakerState.HALF_OPEN:
                if permit in self._permits.busy:  # one call at a time
                    return Refused(Refusal.BUSY, SOON_S, reason="its attempt has a call under way")
                permit = permit if kept else min(self._permits.free, default=None)
                if permit is None or now >= self._permits.lapse_at:
                    return Refused(Refusal.PROBING, SOON_S, ask=True, reason=self.reason)
            case _:
                permit = None
        refused = self.bounded(now)
        if refused is not None:
            return refused
        self.in_flight += 1
        self.slots.in_use += 1
        if self._terms.rate is not None:
            self.starts.left -= 1
            self.starts.made += 1
        if permit is not None:
            self._permits.free.discard(permit)
            self._permits.bound.add(permit)
            if kept:
                self._permits.busy.add(permit)
        return Ticket(self.generation, now, permit, kept)

    def bounded(self, now: float) -> Refused | None:
        """What keeps a call back that the breaker lets go."""
        terms = self._terms
        if self._adaptive is not None and self.in_flight >= self._adaptive.limit:
            return Refused(Refusal.FULL, SOON_S, reason=f"{self.in_flight} calls of this process are under way")
        if terms.max_concurrency is not None and self.slots.in_use >= self.slots.limit(now):
            return Refused(Refusal.FULL, SOON_S, ask=True, reason=f"{terms.max_concurrency} calls are under way")
        if terms.rate is not None and not self.starts.available(now):
            retry_in_s = max(self.starts.next_at - now, OFTEN_S)
            return Refused(Refusal.RATE, retry_in_s, ask=True, reason=f"{terms.rate.n} calls per {terms.rate.per} s")
        return None

    def end(self, ticket: Ticket, now: float, *, failed: bool | None) -> bool:
        """A call has ended; `failed` None: it says nothing of the upstream. Returns whether it was slow."""
        self.slots.in_use -= 1
        self.in_flight -= 1
        if ticket.permit is not None:
            self._late.discard(ticket.permit)
        if self._adaptive is not None and failed is not None:
            self._adaptive.record(now, now - ticket.began, self.in_flight + 1, dropped=failed)
        breaker = self._terms.breaker
        slow = breaker is not None and now - ticket.began > breaker.slow_s
        if ticket.generation in {self.generation, self._before}:
            self._count(ticket, now, failed=failed, slow=slow)
        return slow

    def _count(self, ticket: Ticket, now: float, *, failed: bool | None, slow: bool) -> None:
        breaker = self._terms.breaker
        if ticket.permit is not None:
            self._permits.busy.discard(ticket.permit)
            parting = self._permits.parting.pop(ticket.permit, None)
            if not ticket.kept or failed:
                self.end_permit(ticket.permit, failed=failed, slow=slow)
            elif parting is not None:
                failed = failed if parting.failed is None else parting.failed
                self.end_permit(ticket.permit, failed=failed, slow=slow or parting.slow)
        elif breaker is not None and failed is not None and self.state is BreakerState.CLOSED:
            self._window.record(now, failed=failed, slow=slow)
            if not (self._window.troubled or self._others.failures or self._others.slow):
                return  # no rate is above 0; the healthy call ends here
            reason = tripped(breaker, self._window.counts(now) + self._others)
            if reason:
                self._trip(reason, breaker, now)

    def _trip(self, reason: str, breaker: Breaker, now: float) -> None:
        self._tripped = self.reason = reason
        self.state, self.since, self._until = BreakerState.OPEN, now, now + max(breaker.open_s, KNOWN_S)

    # -- permits --------------------------------------------------------------------------------

    def ask_permits(self, now: float, count: int) -> bool:
        """Have up to `count` permits asked for with the next word; whether there may be some."""
        probing = self.state is BreakerState.HALF_OPEN or (self.state is BreakerState.OPEN and now >= self._until)
        if not probing or self._tripped:
            return False
        permits = self._permits
        for _ in range(count - len(permits.asked) - len(permits.free)):
            permits.number += 1
            permits.asked.add(f"{self._process}/{permits.number}")
        return bool(permits.asked or permits.free)

    @property
    def probing_since(self) -> float:
        """Since when there might be probes."""
        return self.since if self.state is BreakerState.HALF_OPEN else self._until

    @property
    def free_permits(self) -> int:
        """How many are granted and not in use."""
        return len(self._permits.free) if self.state is BreakerState.HALF_OPEN else 0

    def take_permit(self) -> str | None:
        """A permit for an attempt, which must end it."""
        if not self.free_permits:
            return None
        permit = min(self._permits.free)
        self._permits.free.discard(permit)
        self._permits.bound.add(permit)
        self._permits.kept.add(permit)
        return permit

    def end_permit(self, permit: str, *, failed: bool | None, slow: bool = False) -> None:
        """A permit has come to something, or (None) is given back. Once; repeated, or stale, it changes nothing."""
        if permit in self._permits.busy:
            self._permits.parting[permit] = Probe(permit, failed, slow)
        elif permit in self._permits.bound:
            self._permits.bound.discard(permit)
            self._permits.ended.append(Probe(permit, failed, slow))

    def drop_free_permits(self, now: float, after_s: float) -> bool:
        """Give back what nobody has used for so long; whether there was something."""
        if not self._permits.free or now - self._permits.free_since < after_s:
            return False
        self._permits.ended += [Probe(permit, None, slow=False) for permit in self._permits.free]
        self._permits.free.clear()
        return True

    @property
    def lets_start(self) -> tuple[bool, bool]:
        """Whether an attempt that needs it may start, and whether only under a permit."""
        probing = self.state is BreakerState.HALF_OPEN
        return probing or self.state in {BreakerState.CLOSED, BreakerState.DISABLED}, probing

    @property
    def tripped(self) -> bool:
        """Whether it has opened here, and the fleet does not know."""
        return bool(self._tripped)

    def room(self, now: float) -> int:
        """How many more calls its bounds let go now; 1 where it has none."""
        rooms = [
            room
            for room in (
                None if self._terms.max_concurrency is None else self.slots.limit(now) - self.slots.in_use,
                None if self._terms.rate is None else self.starts.available(now),
                None if self._adaptive is None else self._adaptive.limit - self.in_flight,
            )
            if room is not None
        ]
        return min(rooms, default=1)

    # -- the fleet ------------------------------------------------------------------------------

    def due(self, now: float) -> bool:
        """Whether the fleet should hear something now."""
        quiet_s = now - self._said_at
        permits = self._permits
        unsaid = quiet_s == float("inf")
        if self._tripped or permits.asked or permits.ended or permits.given_up or unsaid:
            return True
        if self._short(now, quiet_s) or self._late != self._said_late:
            return True
        if (permits.names or self._late) and quiet_s >= RENEW_S:
            return True
        counts = self._window.counts(now)
        if counts == self._said_counts:
            return False
        worse = counts.failures + counts.slow > self._said_counts.failures + self._said_counts.slow
        return quiet_s >= (SAY_FAILURES_S if worse else SAY_EVERY_S)

    def _short(self, now: float, quiet_s: float) -> bool:
        """Whether its slots or starts are too few, or to be renewed, or more than it should have."""
        rate = self._terms.rate
        if rate is not None and self.starts.waiting and now >= self.starts.next_at:
            again_s = rate.at_once * rate.interval_s / 2  # half of what may start at once is there again
            return quiet_s >= min(SHORT_S, max(again_s, OFTEN_S))
        if self._terms.max_concurrency is not None:
            wanted = self._wanted(now)
            short = wanted > self.slots.limit(now) or self.slots.fair < self.slots.held > self.slots.in_use
            if short and (quiet_s >= self._short_s or wanted > self._said_wanted):
                return True
            if (wanted and quiet_s >= RENEW_S) or (self.slots.held and not wanted and quiet_s >= SAY_EVERY_S):
                return True
        return quiet_s >= SAY_EVERY_S / 2 and self.starts.made > 0 and self._terms.rate is not None

    def _wanted(self, now: float) -> int:
        wanted = self.slots.wanted(now)
        return wanted if self._terms.max_concurrency is None else min(wanted, self._terms.max_concurrency)

    def farewell(self, now: float) -> Said | None:
        """The last word of a process that ends; None: the fleet does not know it."""
        if self._said_at == float("-inf"):
            return None
        self._permits.free.clear()
        self._permits.asked.clear()
        said = replace(self.said(now), permits=tuple(sorted(self._permits.bound)), wanted=0, starts=0, leaves=True)
        self.slots.held = self.slots.in_use
        return replace(said, held=self.slots.in_use)

    def said(self, now: float) -> Said:
        """What the fleet is to hear. It holds no more slots from here on than it says."""
        slots = self.slots
        wanted = self._wanted(now)
        slots.held = max(slots.in_use, slots.limit(now))
        starts = self.starts.wanted(now) if self._terms.rate is not None else 0
        self.starts.made, self.starts.spoke_at = 0, now
        self._said_at, self._said_wanted, self._said_late = now, wanted, set(self._late)
        self._said_counts = self._window.counts(now)
        return Said(
            self._process,
            self.generation,
            self._said_counts,
            self._tripped,
            self._permits.names,
            tuple(sorted(self._late)),
            tuple(self._permits.ended),
            slots.held,
            wanted,
            max(0, starts - self.starts.available(now)),
        )

    def told(self, told: Told, now: float, said: Said | None = None) -> None:
        """What the fleet says; `said` is the word that it answers, None: the document was looked at."""
        if told.generation < self.generation:
            return
        if not self.generation and told.state is BreakerState.CLOSED:  # what was counted before counts in this one
            self._before, self.generation = 0, told.generation
        elif told.generation > self.generation:
            self._before = None
            self._window.clear()
            self._late |= (self._permits.bound - self._permits.kept) | self._permits.busy
            self._permits = Permits(asked=self._permits.asked, number=self._permits.number)
            self._tripped = ""
            self.generation = told.generation
        elif said is not None:
            self._permits.ended = [one for one in self._permits.ended if one not in said.probes]
        self.heard_at = now
        self._permits.lent = told.permits
        self._others = told.others
        self._granted(told, now, said)
        if said is not None:
            # Who is short and gets no more asks more rarely, until something changes.
            in_vain = told.slots == said.held and said.wanted <= self._last_wanted
            self._short_s = min(2 * self._short_s, SAY_EVERY_S) if in_vain else SHORT_S
            self._last_wanted = said.wanted
            self.slots.held, self.slots.lapses_at = told.slots, self._said_at + SLICE_S - MARGIN_S
            self._permits.lapse_at = self._said_at + PERMIT_S - MARGIN_S
            self.starts.left = self.starts.available(now) + told.starts
            self.starts.lapses_at = now + STARTS_S
            self.starts.next_at = now + told.next_start_s
        self.slots.fair = told.fair_slots
        if self._tripped:  # it has not been heard of yet
            return
        self.state, self.reason, self.since = told.state, told.reason, now - told.since_s
        self._until = now + (told.retry_in_s or 0.0)
        self.ramp_from = None if told.ramp_s is None else now - told.ramp_s

    def _granted(self, told: Told, now: float, said: Said | None) -> None:
        permits = self._permits
        if said is None:
            return
        fresh = permits.asked & told.permits
        if fresh:
            permits.free |= fresh
            permits.free_since = now
        permits.asked -= set(said.permits)  # granted or not
        permits.free &= told.permits
        permits.bound &= told.permits  # a lease that ended was granted to others

    @property
    def counts(self) -> CallCounts:
        """What was counted here, as last said."""
        return self._said_counts
