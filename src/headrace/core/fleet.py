"""What the fleet knows of one upstream, and how the word of each process changes it.

Invariants: outcomes and unended permits at half-open are together never more than are permitted; the slices of
leases that live never sum to more than the maximum; what is said of another generation changes nothing. Where
processes define an upstream differently, the largest bound holds, and none loses what it uses.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from headrace.core.breaker import Breaker, CallCounts, tripped
from headrace.core.limits import RateLimit, may_start, next_start_s, started
from headrace.core.model import Json

NO_CALLS: Final = CallCounts()
PERMIT_S: Final = 10.0  # so long a permit may be used, unless its process is heard of
SLICE_S: Final = 30.0  # and a slice
CALL_S: Final = 30.0  # that a call takes, where no timeout says so
SILENT_S: Final = 60.0  # after which a process is forgotten
TURN_S: Final = 2.0  # so long a process has a slot for which others wait
STEP_S: Final = 5.0  # by which a store's clock must go back to be believed
KNOWN_S: Final = 1.0  # after which every process that reaches the store knows of a turn
FRESH_S: Final = 10.0  # so long what a process has counted is believed

Force: TypeAlias = Literal["open", "close", "disable"]


class BreakerState(StrEnum):
    """Where an upstream's breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"


BY_HAND: Final = "by hand"
HOLDING: Final = frozenset({BreakerState.OPEN, BreakerState.FORCED_OPEN, BreakerState.HALF_OPEN})
"""States in which the tasks that need the upstream are held, but for probes."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the document is kept by: one upstream's policies."""

    breaker: Breaker | None = None
    max_concurrency: int | None = None
    rate: RateLimit | None = None
    call_s: float = CALL_S  # that a call may take: what is lent comes back so long after it may be used no more
    definition: str = ""  # a digest of all of them


@dataclass(frozen=True, slots=True)
class Probe:
    """What a permit came to; `failed` None: nothing, it goes back."""

    permit: str
    failed: bool | None
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """What one process brings. It may be said again."""

    process: str
    generation: int = 0  # of which `counts`, `trip` and `probes` tell
    counts: CallCounts = NO_CALLS  # in the process's window
    trip: str = ""  # why its breaker has opened
    permits: tuple[str, ...] = ()  # that it holds or wants, named by itself; others of its are given back
    late: tuple[str, ...] = ()  # of half-opens that are past, whose calls are still under way
    probes: tuple[Probe, ...] = ()
    held: int = 0  # of the slots: it uses no more until it hears the answer
    wanted: int = 0  # slots that it has use for
    starts: int = 0  # under the rate, that it wants to make soon
    tasks: tuple[str, ...] = ()  # that need it, as it knows
    leaves: bool = False  # its last word: what it does not hold is everybody's


@dataclass(frozen=True, slots=True)
class Told:
    """What one process hears. Durations are seconds from now, or ago."""

    state: BreakerState
    generation: int
    reason: str
    since_s: float
    retry_in_s: float | None  # until a probe is permitted, while it is open
    ramp_s: float | None  # how long ago it closed after probes
    others: CallCounts  # in the other processes' windows
    permits: frozenset[str] = frozenset()  # of this process
    slots: int = 0  # calls at a time that it may make
    fair_slots: int = 0  # as many as it should hold: what it has beyond, others wait for
    starts: int = 0  # that it may make, soon or never
    next_start_s: float = 0.0  # until there is another one


@dataclass(slots=True)
class Member:
    """What is known of one process."""

    seen_at: float
    generation: int = 0
    counts: CallCounts = NO_CALLS
    slots: int = 0
    wanted: int = 0
    definition: str = ""
    until_at: float = 0.0  # when its slots are the others'


@dataclass(slots=True)
class Fleet:
    """The document. Instants are the store's."""

    state: BreakerState = BreakerState.CLOSED
    generation: int = 1
    since_at: float = 0.0
    seen_at: float = 0.0  # the last instant that was seen: time does not go back here
    half_open_at: float | None = None
    ramp_at: float | None = None
    reason: str = ""
    probed: CallCounts = NO_CALLS
    permits: dict[str, float] = field(default_factory=dict[str, float])  # and when their leases end
    late: dict[str, float] = field(default_factory=dict[str, float])  # of half-opens that are past, as `permits`
    members: dict[str, Member] = field(default_factory=dict[str, Member])
    tasks: tuple[str, ...] = ()
    rate_at: float | None = None  # see `core/limits.py`

    # -- text -----------------------------------------------------------------------------------

    @classmethod
    def of(cls, text: Json | None, now: float) -> "Fleet":
        """The document as it is now; a new one is closed."""
        if text is None:
            return cls(since_at=now, seen_at=now)
        fleet = cls.read(text)
        if fleet.seen_at - now > STEP_S:  # the store's clock was ahead, and is not any more
            fleet._shift(now - fleet.seen_at)  # noqa: SLF001 - one of its own
        fleet.seen_at = max(now, fleet.seen_at)
        return fleet

    @classmethod
    def read(cls, text: Json) -> "Fleet":
        """The document as it was written."""
        found = json.loads(text)
        members = {
            name: Member(one[0], one[1], CallCounts(*one[2]), *one[3:]) for name, one in found["members"].items()
        }
        return cls(
            BreakerState(found["state"]),
            found["generation"],
            found["since_at"],
            found["seen_at"],
            found["half_open_at"],
            found["ramp_at"],
            found["reason"],
            CallCounts(*found["probed"]),
            found["permits"],
            found["late"],
            members,
            tuple(found["tasks"]),
            found["rate_at"],
        )

    def _shift(self, by_s: float) -> None:
        """Move every instant."""
        self.seen_at += by_s
        self.since_at += by_s
        self.half_open_at = None if self.half_open_at is None else self.half_open_at + by_s
        self.ramp_at = None if self.ramp_at is None else self.ramp_at + by_s
        self.rate_at = None if self.rate_at is None else self.rate_at + by_s
        self.permits = {name: at + by_s for name, at in self.permits.items()}
        self.late = {name: at + by_s for name, at in self.late.items()}
        for one in self.members.values():
            one.seen_at += by_s
            one.until_at += by_s

    @property
    def text(self) -> Json:
        """As it is kept."""
        return json.dumps(
            {
                "state": self.state.value,
                "generation": self.generation,
                "since_at": self.since_at,
                "seen_at": self.seen_at,
                "half_open_at": self.half_open_at,
                "ramp_at": self.ramp_at,
                "reason": self.reason,
                "probed": _triple(self.probed),
                "permits": self.permits,
                "late": self.late,
                "members": {
                    name: [
                        one.seen_at,
                        one.generation,
                        _triple(one.counts),
                        one.slots,
                        one.wanted,
                        one.definition,
                        one.until_at,
                    ]
                    for name, one in self.members.items()
                },
                "tasks": list(self.tasks),
                "rate_at": self.rate_at,
            },
            separators=(",", ":"),
        )

    # -- what changes it --------------------------------------------------------------------------

    def hear(self, said: Said, terms: Terms) -> Told:
        """Take what a process says, and what follows from it."""
        now = self.seen_at
        member = self.members.setdefault(said.process, Member(now))
        had = member.slots if now < member.until_at else 0
        member.seen_at, member.definition = now, terms.definition
        member.until_at = now + SLICE_S + terms.call_s
        member.generation, member.counts = said.generation, said.counts
        self.tasks = tuple(sorted({*self.tasks, *said.tasks}))
        for name in [name for name, one in self.members.items() if now > max(one.seen_at + SILENT_S, one.until_at)]:
            del self.members[name]
        if said.generation > self.generation:  # the store has lost a turn: what is known of it is not older than that
            self.generation = said.generation + 1
            self.late |= self.permits
            self.probed, self.permits = NO_CALLS, {}
        if terms.breaker is not None:
            if said.generation == self.generation:
                self._count(said, terms.breaker)
            self._pass_time(said, terms.breaker)
            self._grant(said, terms.breaker, terms.call_s)
        if terms.max_concurrency is not None:
            member.wanted = said.wanted
            others = sum(one.slots for name, one in self._holders() if name != said.process)
            free = max(min(had, said.held), terms.max_concurrency - others)  # a deploy may have lowered it
            member.slots = min(free, max(said.held, self._fair(said.process, terms.max_concurrency)))
        told = self.tell(said.process, terms)
        if said.leaves and not member.slots:
            del self.members[said.process]
        return told if terms.rate is None else self._start(said, told, terms.rate)

    def _start(self, said: Said, told: Told, rate: RateLimit) -> Told:
        now = self.seen_at
        starts = min(said.starts, may_start(rate, self.rate_at, now))
        if starts:
            self.rate_at = started(rate, self.rate_at, now, starts)
        return replace(told, starts=starts, next_start_s=next_start_s(rate, self.rate_at, now))

    def force(self, force: Force, why: str = BY_HAND) -> None:
        """What a person wants of the breaker, or a rule of ours: `why` is shown while it is not closed."""
        target = {"open": BreakerState.FORCED_OPEN, "close": BreakerState.CLOSED, "disable": BreakerState.DISABLED}
        self._turn(target[force], "" if force == "close" else why)

    def forget(self, process: str) -> bool:
        """A process is dead, for certain: what it was lent is everybody's. Whether it was lent anything.

        What it has counted is believed as long as if it lived: it may have died of that.
        """
        own = f"{process}/"
        member = self.members.get(process)
        known = member is not None and member.until_at > 0
        if member is not None:
            member.slots = member.wanted = 0
            member.until_at = 0.0
        for lent in (self.permits, self.late):
            for name in [name for name in lent if name.startswith(own)]:
                del lent[name]
                known = True
        return known

    def _count(self, said: Said, breaker: Breaker) -> None:
        if self.state is BreakerState.CLOSED:
            reason = said.trip or tripped(breaker, self._counts())
            if reason:
                self._open(breaker, reason)
        elif self.state is BreakerState.HALF_OPEN:
            for probe in said.probes:
                if self.permits.pop(probe.permit, None) is not None and probe.failed is not None:
                    self.probed += CallCounts(1, int(probe.failed), int(probe.slow))
            self._judge(breaker)

    def _judge(self, breaker: Breaker) -> None:
        """Close or open again, once that is certain."""
        permitted = breaker.permitted_number_of_calls_in_half_open_state
        rest = max(0, permitted - self.probed.calls)  # a deploy may have lowered it
        if tripped(breaker, self.probed + CallCounts(rest), minimum=1):  # even if the rest goes well
            self._open(breaker, f"probes: {tripped(breaker, self.probed, minimum=1)}")
        elif not rest:
            self._turn(BreakerState.CLOSED, "")
            self.ramp_at = self.seen_at

    def _pass_time(self, said: Said, breaker: Breaker) -> None:
        now = self.seen_at
        if self.state is BreakerState.OPEN and self.half_open_at is None:
            self.half_open_at = self.since_at + max(breaker.open_s, KNOWN_S)
        if self.state is BreakerState.OPEN and said.permits and now >= (self.half_open_at or 0.0):
            self._turn(BreakerState.HALF_OPEN, self.reason)
        waited_s = now - self.since_at
        if self.state is BreakerState.HALF_OPEN and 0 < breaker.half_open_s_max <= waited_s:
            self._open(breaker, f"half-open for {waited_s:.0f} s")

    def _grant(self, said: Said, breaker: Breaker, call_s: float) -> None:
        now, own = self.seen_at, f"{said.process}/"
        until_at = now + PERMIT_S + call_s
        others = {name: at for name, at in self.permits.items() if at > now and not name.startswith(own)}
        kept = [name for name in said.permits if name in self.permits and name.startswith(own)]
        self.permits = others | dict.fromkeys(kept, until_at)  # whatever its code permits; what it leaves out is free
        self.late = {
            name: until_at if name.startswith(own) else at
            for name, at in self.late.items()
            if at > now and (not name.startswith(own) or name in said.late or name in said.permits)
        }
        if self.state is not BreakerState.HALF_OPEN:
            return
        for name in said.permits:
            out = self.probed.calls + len(self.permits) + len(self.late)
            free = breaker.permitted_number_of_calls_in_half_open_state - out
            if free > 0 and name not in self.permits and name.startswith(own):
                self.permits[name] = until_at

    def _holders(self) -> list[tuple[str, Member]]:
        return [(name, one) for name, one in self.members.items() if self.seen_at < one.until_at]

    def _fair(self, process: str, most: int) -> int:
        """How many slots a process should hold: an equal share, and what others leave of theirs, if it wants more.

        Where there are fewer slots than processes that want one, they take turns.
        """
        wanted = {name: one.wanted for name, one in self._holders() if one.wanted}
        if process not in wanted:
            return 0
        if len(wanted) > most:
            first = int(self.seen_at / TURN_S) * most
            return int((sorted(wanted).index(process) - first) % len(wanted) < most)
        share = most // len(wanted)
        left = most - sum(min(others, share) for name, others in wanted.items() if name != process)
        return max(share, min(wanted[process], left))

    def _open(self, breaker: Breaker, reason: str) -> None:
        self._turn(BreakerState.OPEN, reason)
        self.half_open_at = self.seen_at + max(breaker.open_s, KNOWN_S)

    def _turn(self, state: BreakerState, reason: str) -> None:
        self.late |= self.permits  # until their processes say that no call is under way under them
        self.state, self.reason, self.since_at = state, reason, self.seen_at
        self.generation += 1
        self.half_open_at = self.ramp_at = None
        self.probed, self.permits = NO_CALLS, {}

    def _counts(self, without: str = "") -> CallCounts:
        found = NO_CALLS
        for name, one in self.members.items():
            if name != without and one.generation == self.generation and self.seen_at - one.seen_at <= FRESH_S:
                found += one.counts
        return found

    # -- what it tells ----------------------------------------------------------------------------

    def tell(self, process: str, terms: Terms) -> Told:
        """What a process hears that looks at the document."""
        now = self.seen_at
        own = f"{process}/"
        member = self.members.get(process)
        return Told(
            self.state,
            self.generation,
            self.reason,
            now - self.since_at,
            None if self.half_open_at is None else max(0.0, self.half_open_at - now),
            None if self.ramp_at is None else now - self.ramp_at,
            self._counts(process),
            frozenset(name for name in self.permits if name.startswith(own)),
            0 if member is None else member.slots,
            0 if terms.max_concurrency is None else self._fair(process, terms.max_concurrency),
        )

    @property
    def counted(self) -> CallCounts:
        """What all processes have in their windows."""
        return self._counts()

    @property
    def slots(self) -> int:
        """How much of the maximum is given to processes."""
        return sum(one.slots for _, one in self._holders())

    @property
    def definitions(self) -> Iterable[str]:
        """The definitions that living processes have of it; more than one: they disagree."""
        return sorted({one.definition for one in self.members.values() if self.seen_at - one.seen_at < FRESH_S})


def _triple(counts: CallCounts) -> tuple[int, int, int]:
    return counts.calls, counts.failures, counts.slow
