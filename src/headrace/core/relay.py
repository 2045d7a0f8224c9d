"""Which events of the outbox go to their sink now: events in, effects out, no I/O, no clock.

Invariants: nothing is sent unless this process is the one that sends; of a key all go in order, as `Rows` has it; what
is confirmed leaves the outbox and is never sent again by this process; a lost connection counts against no event; every
answer that is awaited has a deadline.
"""

import math
import random
from collections import deque

from headrace.core.pauses import Pause
from headrace.core.relay_events import (
    Answer,
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
    Refusal,
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
from headrace.core.relay_rows import Rows


class RelayCore:
    """One sink's decisions. `handle`, `next_deadline` and `handle_timeout` are all there is."""

    def __init__(self, settings: RelaySettings, rng: random.Random, now: float) -> None:
        """On standby: it must be appointed."""
        self._settings = settings
        self._rng = rng
        self._rows = Rows(settings)
        self._until = -math.inf  # appointed until then
        self._token = 0
        # reading
        self._floor = 0  # all before it is known, gone or left out, and nothing will be committed there
        self._load: Load | None = None
        self._load_by = 0.0
        self._load_moves = False  # whether its answer moves the floor
        self._load_counts = False  # not what was asked in another appointment
        self._wanted = False
        self._wanted_then = False  # when what is confirmed has left the outbox
        self._rewound_at = -math.inf
        self._sweep_at = now
        # sending
        self._sink_at = -math.inf  # not before then
        self._sink_why = ""
        self._sink_pause = Pause(settings.sink_pause_s, settings.sink_pause_max_s, rng)
        self._probing = False
        self._probe: int | None = None
        self._probed = 0  # the last one
        self._handing = False
        self._waits_why = ""  # of the last that was refused or deferred
        # settling
        self._done: deque[int] = deque()
        self._done_since = 0.0
        self._refused: deque[Refusal] = deque()
        self._settle: Settle | None = None
        self._settle_by = 0.0
        self._gone: set[int] = set()  # done or parked, and perhaps in an answer that is still to come
        self._left = set[int]()  # those of them that the outbox has no more: the next answer is the last to have them
        self._store_at = -math.inf
        self._store_why = ""
        self._store_pause = Pause(settings.store_pause_s, settings.store_pause_max_s, rng)
        self._drain_by: float | None = None
        self._drained = False
        self._told = RelayHealth(RelayState.STANDBY)

    # -- the three calls ------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; what to do about it."""
        effects: list[Effect] = []
        self._take(event, now)
        self._turn(now, effects)
        return effects

    def next_deadline(self) -> float:
        """When `handle_timeout` should be called, if no event comes before; infinite: never."""
        at = min(self._rows.flying.values(), default=math.inf)
        if self._load is not None:
            at = min(at, self._load_by)
        if self._settle is not None:
            at = min(at, self._settle_by)
        elif self._done or self._refused:
            at = min(at, max(self._store_at, self._settle_due()))
        if self._drain_by is not None:
            return math.inf if self._drained else min(at, self._drain_by)
        if self._until == -math.inf:
            return at
        at = min(at, self._until)
        if self._load is None and self._room() > 0:
            at = min(at, max(self._store_at, self._load_due()))
        may_send = self._may_fly() and not self._handing
        return min(at, max(self._sink_at, self._rows.next_at())) if may_send else at

    def handle_timeout(self, now: float) -> list[Effect]:
        """Take the passing of time; a spurious call changes nothing."""
        effects: list[Effect] = []
        for asked, by in ((self._load, self._load_by), (self._settle, self._settle_by)):
            if asked is not None and now >= by:
                self._store_failed(asked.token, "the store does not answer", now)
        if any(by <= now for by in self._rows.flying.values()):
            self._unsent(tuple(self._rows.flying), "the broker does not answer", now)
            effects.append(Reset())
        self._turn(now, effects)
        return effects

    # -- what others may read -------------------------------------------------------------------

    @property
    def flying(self) -> int:
        """How many events are sent and not answered."""
        return len(self._rows.flying)

    @property
    def known(self) -> int:
        """How many events are here, the confirmed ones that are still in the outbox too."""
        return len(self._rows) + len(self._done) + (0 if self._settle is None else len(self._settle.done))

    @property
    def health(self) -> RelayHealth:
        """How the relay stands."""
        if self._store_why:
            return RelayHealth(RelayState.STORE_AWAY, self._store_why)
        if self._until == -math.inf:
            return RelayHealth(RelayState.STANDBY)
        if self._probing:
            return RelayHealth(RelayState.SINK_AWAY, self._sink_why)
        return RelayHealth(RelayState.SENDING, self._waits_why if self._rows.paused else "")

    # -- events -----------------------------------------------------------------------------------

    def _take(self, event: Event, now: float) -> None:
        match event:
            case Appointed():
                if self._until == -math.inf and event.until > now:
                    self._rewind()
                self._until = event.until
            case Dismissed():
                self._until = min(self._until, now)
            case Woken():
                self._wanted = True
            case Handed():
                self._handing = False
                if self._probe in self._rows.back(event.back):
                    self._probe = None
            case DrainAsked():
                if self._drain_by is None:
                    self._drain_by = now + self._settings.answer_s
            case _:
                self._answered(event, now)

    def _answered(self, event: Answer, now: float) -> None:
        match event:
            case Confirmed():
                self._confirmed(event.places, now)
            case Refused():
                self._was_refused(event, now)
            case Unsent():
                self._unsent(event.places, event.why, now)
            case Deferred():
                for place in event.places:
                    self._deferred(place, event.why, now)
            case Loaded():
                self._loaded(event, now)
            case Settled():
                self._settled(event)
            case LoadFailed() | SettleFailed():
                self._store_failed(event.token, event.why, now)

    def _loaded(self, event: Loaded, now: float) -> None:
        load = self._load
        if load is None or load.token != event.token:
            return
        self._load = None
        self._store_back()
        if not self._load_counts:
            return
        gone, rows, before = self._gone, self._rows, (len(self._rows), self._floor)
        for out in event.events:
            if out.place not in gone:
                rows.add(out)
        self._gone -= self._left
        self._left.clear()
        if load.after == 0:
            self._sweep_at = now + self._settings.sweep_s
        if self._load_moves:
            self._floor = event.floor(self._floor)
            progress = (len(rows), self._floor) != before
            self._wanted = self._wanted or (event.more and progress)
            self._wanted_then = event.more and not progress  # what is beyond them comes when they have left

    def _confirmed(self, places: tuple[int, ...], now: float) -> None:
        if self._probe is not None and self._probe in places:
            self._sink_answers()
        if not self._done and not self._refused:
            self._done_since = now
        known = self._rows.remove(places)
        self._done += known
        self._gone.update(known)

    def _was_refused(self, event: Refused, now: float) -> None:
        failures = self._rows.refuse(event.place)
        if not failures:
            return
        if event.place == self._probe:
            self._sink_answers()
        if not self._done and not self._refused:
            self._done_since = now
        parked = failures >= self._settings.refusals_max or self._rows.crowded
        self._refused.append(Refusal(event.place, event.why, parked))
        if parked:
            self._rows.remove((event.place,))
            self._gone.add(event.place)
        else:
            self._pause(event.place, event.why, failures, now)

    def _deferred(self, place: int, why: str, now: float) -> None:
        rows = self._rows
        if rows.crowded and not rows.is_held(place):
            self._unsent((place,), why, now)
        elif deferrals := rows.defer(place):
            if place == self._probe:
                self._sink_answers()
            self._pause(place, why, deferrals, now)

    def _pause(self, place: int, why: str, times: int, now: float) -> None:
        most_s = min(self._settings.refused_pause_max_s, self._settings.refused_pause_s * 2.0 ** (times - 1))
        self._rows.pause(place, now + self._rng.uniform(0, most_s))
        self._waits_why = why

    def _unsent(self, places: tuple[int, ...], why: str, now: float) -> None:
        """The connection is lost. Its many events tell so one by one, and that is one loss."""
        lost = self._rows.back(places)
        if self._probe is not None and self._probe in lost:
            self._probe = None
        elif self._probing or not lost:
            return
        self._probing = True
        self._sink_why = why
        self._sink_at = now + self._sink_pause.next_s()

    def _sink_answers(self) -> None:
        self._probing = False
        self._probe = None
        self._sink_pause.reset()

    def _settled(self, event: Settled) -> None:
        if self._settle is None or self._settle.token != event.token:
            return
        self._left.update(self._settle.done, (each.place for each in self._settle.refused if each.parked))
        self._settle = None
        self._wanted = self._wanted or self._wanted_then
        self._wanted_then = False
        self._store_back()

    def _store_failed(self, token: int, why: str, now: float) -> None:
        if self._load is not None and self._load.token == token:
            self._load = None
            self._wanted = self._wanted or self._load_moves
        elif self._settle is not None and self._settle.token == token:
            self._done.extendleft(reversed(self._settle.done))
            self._refused.extendleft(reversed(self._settle.refused))
            self._settle = None
        else:
            return
        self._store_why = why
        self._store_at = now + self._store_pause.next_s()

    def _store_back(self) -> None:
        self._store_why = ""
        self._store_at = -math.inf
        self._store_pause.reset()

    def _rewind(self) -> None:
        """Read from the beginning."""
        self._floor = 0
        self._wanted = True
        self._rows.rewind()

    # -- each turn --------------------------------------------------------------------------------

    def _turn(self, now: float, effects: list[Effect]) -> None:
        if self._drained:
            return
        if self._until <= now and self._until != -math.inf:
            self._until = -math.inf
            self._load_counts = self._load_moves = False
        if self._until == -math.inf:
            self._rows.forget_waiting()
        elif self._drain_by is None:
            self._send(now, effects)
            self._read(now, effects)
        self._clear(now, effects)
        if self.health != self._told:
            self._told = self.health
            effects.append(Tell(self._told))
        self._end(now, effects)

    def _may_fly(self) -> bool:
        """Whether one more may be under way: while a lost connection is probed, it is one alone."""
        most = 0 if self._probe is not None else self._settings.window
        return self.flying < most

    def _send(self, now: float, effects: list[Effect]) -> None:
        if self._handing or now < self._sink_at or not self._may_fly():
            return
        by = now + self._settings.answer_s
        if self._probing:  # by turns, since it may be by one of them that others wait
            rows = self._rows.take_another(self._probed, now, by)
        else:
            rows = self._rows.take(self._settings.window - self.flying, now, by)
        if not rows:
            return
        if self._probing:
            self._probe = self._probed = rows[0].out.place
        self._handing = True
        effects.append(Send(tuple(row.out for row in rows)))

    def _room(self) -> int:
        """How many may be read now: while many are under way, no small pages."""
        settings = self._settings
        if self._rows.bytes >= settings.known_bytes_max:
            return 0
        room = min(settings.load_max, settings.known_max - self.known)
        return 0 if room * 2 < settings.load_max and self.flying * 2 >= settings.window else room

    def _load_due(self) -> float:
        if self._wanted:
            return -math.inf
        return min(self._sweep_at, self._rewind_due())

    def _rewind_due(self) -> float:
        return self._rewound_at + self._settings.rewind_s if self._rows.wants_rewind else math.inf

    def _read(self, now: float, effects: list[Effect]) -> None:
        limit = self._room()
        if self._load is not None or limit <= 0 or now < max(self._store_at, self._load_due()):
            return
        if now >= self._rewind_due():
            self._rewound_at = now
            self._rewind()
        sweeps = now >= self._sweep_at or self._floor == 0
        after = 0 if sweeps else self._floor
        self._load_moves = after == self._floor
        self._load_counts = True
        if self._load_moves:
            self._wanted = False
        self._token += 1
        without = tuple(sorted(self._rows.left_out))
        self._load = Load(self._token, after, limit, self._settings.load_bytes_max, without)
        self._load_by = now + self._settings.answer_s
        effects.append(self._load)

    def _settle_due(self) -> float:
        full = len(self._done) + len(self._refused) >= self._settings.settle_max
        if full or not self.flying:
            return -math.inf
        return self._done_since + self._settings.settle_s

    def _clear(self, now: float, effects: list[Effect]) -> None:
        nothing = not self._done and not self._refused
        if self._settle is not None or nothing or now < max(self._store_at, self._settle_due()):
            return
        most = self._settings.settle_max
        done = tuple(self._done.popleft() for _ in range(min(most, len(self._done))))
        refused = tuple(self._refused.popleft() for _ in range(min(most, len(self._refused))))
        self._done_since = now
        self._token += 1
        self._settle = Settle(self._token, done, refused)
        self._settle_by = now + self._settings.answer_s
        effects.append(self._settle)

    def _end(self, now: float, effects: list[Effect]) -> None:
        if self._drain_by is None or self._drained:
            return
        busy = self.flying or self._done or self._refused or self._settle is not None
        if not busy or now >= self._drain_by:
            self._drained = True
            effects.append(Drained())
