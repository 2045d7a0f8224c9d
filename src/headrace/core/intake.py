"""What a source does next: events in, effects out, no I/O, no clock.

Invariants: a batch is acknowledged only after its commit, and only on the connection that brought it; at most one
`Fetch`, one `Receive` and one `Look` are unanswered; at most two batches are kept: one on its way to the store, one
gathering; every answer that is awaited has a deadline.
"""

import math
import random
from collections.abc import Mapping

from headrace.core.intake_events import (
    Back,
    Close,
    Crowded,
    Done,
    DrainAsked,
    Drained,
    Effect,
    Event,
    Fetch,
    Fetched,
    Hold,
    IntakeHealth,
    IntakeSettings,
    IntakeState,
    Look,
    Looked,
    Lost,
    Open,
    Opened,
    Receive,
    Received,
    Seek,
    StoreAway,
    Tell,
    Unfit,
)
from headrace.core.intake_parts import NOTHING, Flight, Phase
from headrace.core.message import Batch
from headrace.core.pauses import Pause


class IntakeCore:
    """One source's decisions. `handle`, `next_deadline` and `handle_timeout` are all there is."""

    def __init__(self, settings: IntakeSettings, rng: random.Random, now: float) -> None:
        """Away, and about to connect."""
        self._settings = settings
        self._phase = Phase.AWAY
        self._session = 0
        self._open_at = now
        self._open_by = 0.0
        self._pause = Pause(settings.backoff_s, settings.backoff_max_s, rng)
        self._why = ""
        self._token = 0
        self._fetch: Fetch | None = None
        self._fetch_by = 0.0
        self._next = NOTHING  # gathered, not sent
        self._next_bytes = 0
        self._flight: Flight | None = None
        self._room: int | None = None  # what the queue said that it would take
        self._halve = 0  # >0: send at most so many, looking for the one that the store refuses
        self._store_since: float | None = None  # since when the store is away
        self._store_pause = Pause(settings.store_backoff_s, settings.store_backoff_max_s, rng)
        self._full_since: float | None = None
        self._look: int | None = None
        self._look_by = 0.0
        self._look_at = 0.0
        self._held = False
        self._draining = False
        self._drained = False
        self._told = IntakeHealth(IntakeState.AWAY)

    # -- the three calls ------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; what to do about it."""
        effects: list[Effect] = []
        self._take(event, now, effects)
        self._turn(now, effects)
        return effects

    def next_deadline(self) -> float:
        """When `handle_timeout` should be called, if no event comes before; infinite: never."""
        at = math.inf
        if self._phase is Phase.OPENING:
            at = self._open_by
        elif self._may_open():
            at = self._open_at
        if self._fetch is not None:
            at = min(at, self._fetch_by)
        if self._flight is not None:
            at = min(at, self._flight.by)
        if self._look is not None:
            at = min(at, self._look_by)
        elif self._may_look():
            at = min(at, self._look_at)
        return min(at, self._kept_until())

    def handle_timeout(self, now: float) -> list[Effect]:
        """Take the passing of time; a spurious call changes nothing."""
        effects: list[Effect] = []
        opening = self._phase is Phase.OPENING and now >= self._open_by
        if opening or (self._fetch is not None and now >= self._fetch_by):
            self._lose("the broker does not answer", now, effects, refused=False)
        if self._flight is not None and self._flight.sent and now >= self._flight.by:
            self._store_gone(self._flight.token, "the store does not answer", now)
        if self._look is not None and now >= self._look_by:
            self._store_gone(self._look, "the store does not answer", now)
        self._turn(now, effects)
        return effects

    # -- what others may read -------------------------------------------------------------------

    @property
    def kept(self) -> int:
        """How many messages are here and not acknowledged."""
        return len(self._next) + (0 if self._flight is None else len(self._flight.batch))

    @property
    def health(self) -> IntakeHealth:
        """How the source stands."""
        if self._draining:
            return IntakeHealth(IntakeState.DRAINING)
        if self._store_since is not None:
            return IntakeHealth(IntakeState.STORE_AWAY, self._why)
        if self._full_since is not None:
            return IntakeHealth(IntakeState.FULL)
        if self._phase is not Phase.OPEN:
            return IntakeHealth(IntakeState.AWAY, self._why)
        return IntakeHealth(IntakeState.CONSUMING)

    # -- events -----------------------------------------------------------------------------------

    def _take(self, event: Event, now: float, effects: list[Effect]) -> None:
        match event:
            case Opened():
                if event.session == self._session and self._phase is Phase.OPENING:
                    self._phase = Phase.OPEN
            case Lost():
                if event.session == self._session:
                    self._lose(event.why, now, effects, refused=event.refused)
            case Fetched():
                self._fetched(event)
            case DrainAsked():
                self._draining = True
            case _:
                self._answered(event, now, effects)

    def _answered(
        self, event: Received | Crowded | Unfit | Looked | StoreAway, now: float, effects: list[Effect]
    ) -> None:
        match event:
            case Received():
                self._received(event, effects)
            case Crowded():
                self._crowded(event, now)
            case Unfit():
                self._unfit(event, now)
            case Looked():
                self._looked(event, now, effects)
            case StoreAway():
                self._store_gone(event.token, event.why, now)

    def _lose(self, why: str, now: float, effects: list[Effect], *, refused: bool) -> None:
        """The connection is gone, and what it brought is the broker's again; a call to the store is still heard."""
        if self._phase is Phase.AWAY:
            return
        self._why = why
        self._open_at = now + (self._settings.backoff_max_s if refused else self._pause.next_s())
        self._close(effects)

    def _close(self, effects: list[Effect]) -> None:
        self._phase = Phase.AWAY
        self._fetch = None
        self._held = False
        self._keep(NOTHING)
        if self._flight is not None and not self._flight.sent:
            self._flight = None
        effects.append(Close(self._session))

    def _fetched(self, event: Fetched) -> None:
        if self._fetch is None or self._fetch.token != event.token:
            return
        self._fetch = None
        self._pause.reset()
        if event.batch:
            self._keep(self._next.join(event.batch))

    def _received(self, event: Received, effects: list[Effect]) -> None:
        flight = self._flight
        if flight is None or flight.token != event.token:
            return
        self._flight = None
        self._store_back()
        marks = flight.batch.marks
        ours = bool(marks) and all(event.moved.get(part) == mark.next for part, mark in marks.items())
        if event.moved and not ours:
            self._moved(flight, event.moved, effects)
            return
        if self._halve:
            self._halve *= 2 if self._halve < self._settings.batch_max else 0
        if self._lives(flight):
            effects.append(Done(flight.batch))

    def _moved(self, flight: Flight, moved: Mapping[str, int], effects: list[Effect]) -> None:
        """Others were faster in some parts: nothing is written, and the rest goes again."""
        if not self._lives(flight):
            return
        marks = flight.batch.marks
        away = {part: at for part, at in moved.items() if part not in marks or marks[part].next != at}
        rest = flight.batch.without(frozenset(moved))
        self._keep(rest.join(self._next.without(frozenset(away))))
        if away:
            effects.append(Seek(away))

    def _crowded(self, event: Crowded, now: float) -> None:
        flight = self._sent(event.token)
        if flight is None:
            return
        self._store_back()
        if self._return(flight) and 0 < event.left < len(flight.batch):
            self._room = event.left
        else:
            self._fill(event.retry_in_s, now)

    def _unfit(self, event: Unfit, now: float) -> None:
        flight = self._sent(event.token)
        if flight is None:
            return
        if not self._lives(flight):
            self._flight = None
        elif flight.raw:
            self._store_gone(event.token, event.why, now)
        elif len(flight.batch) == 1:
            flight.sent, flight.raw, flight.by = False, True, now
        else:
            self._halve = len(flight.batch) // 2
            self._return(flight)

    def _looked(self, event: Looked, now: float, effects: list[Effect]) -> None:
        if self._look != event.token:
            return
        self._look = None
        self._store_back()
        if event.left > 0:
            self._full_since = None
            self._room = event.left
            self._hold(effects, held=False)
        else:
            self._fill(event.retry_in_s, now)
            self._hold(effects, held=True)

    def _store_gone(self, token: int, why: str, now: float) -> None:
        flight = self._sent(token)
        if flight is None and self._look != token:
            return
        self._why = why
        self._store_since = now if self._store_since is None else self._store_since
        self._look_at = now + self._store_pause.next_s()
        if flight is None:
            self._look = None
        elif self._lives(flight):
            flight.sent, flight.again, flight.by = False, True, self._look_at
        else:
            self._flight = None

    # -- parts of them ----------------------------------------------------------------------------

    def _sent(self, token: int) -> Flight | None:
        """The flight whose answer this is, if it is still awaited."""
        flight = self._flight
        return flight if flight is not None and flight.token == token and flight.sent else None

    def _lives(self, flight: Flight) -> bool:
        """Whether the connection that brought it is there."""
        return self._phase is Phase.OPEN and flight.session == self._session

    def _return(self, flight: Flight) -> bool:
        """Nothing of it is written: it is the first of what is to be sent."""
        self._flight = None
        lives = self._lives(flight)
        if lives:
            self._keep(flight.batch.join(self._next))
        return lives

    def _keep(self, batch: Batch) -> None:
        self._next = batch
        self._next_bytes = batch.body_bytes

    def _store_back(self) -> None:
        self._store_since = None
        self._store_pause.reset()

    def _fill(self, retry_in_s: float, now: float) -> None:
        self._full_since = now if self._full_since is None else self._full_since
        self._look_at = now + min(max(retry_in_s, self._settings.full_min_s), self._settings.full_max_s)

    def _hold(self, effects: list[Effect], *, held: bool) -> None:
        if self._phase is Phase.OPEN and self._held != held:
            self._held = held
            effects.append(Hold(held))

    # -- each turn --------------------------------------------------------------------------------

    def _turn(self, now: float, effects: list[Effect]) -> None:
        if now >= self._kept_until():
            self._give_back(effects)
            self._open_at = now
            self._close(effects)
        if not self._draining:
            self._send(now, effects)
            self._connect(now, effects)
            self._ask(now, effects)
        if self.health != self._told:
            self._told = self.health
            effects.append(Tell(self._told))
        if self._draining:
            self._finish(effects)

    def _kept_until(self) -> float:
        """When messages that wait for the store or the queue go back, and what the connection has read ahead."""
        if self._flight is not None and self._flight.sent:
            return math.inf
        since = self._full_since if self._store_since is None else self._store_since
        return math.inf if since is None or self._phase is Phase.AWAY else since + self._settings.keep_s

    def _give_back(self, effects: list[Effect]) -> None:
        if self._flight is not None:
            effects.append(Back(self._flight.batch))
            self._flight = None
        if self._next:
            effects.append(Back(self._next))
            self._keep(NOTHING)

    def _finish(self, effects: list[Effect]) -> None:
        if self._flight is not None and self._flight.sent:
            if self._next:
                effects.append(Back(self._next))
                self._keep(NOTHING)
            return
        self._give_back(effects)
        if self._phase is not Phase.AWAY:
            self._close(effects)
        if not self._drained:
            self._drained = True
            effects.append(Drained())

    def _send(self, now: float, effects: list[Effect]) -> None:
        flight = self._flight
        if flight is None and self._next and not self._waits():
            bounds = (self._settings.batch_max, self._room, self._halve)
            head, rest = self._next.split(min(bound for bound in bounds if bound))
            self._keep(rest)
            self._room = None
            self._token += 1
            flight = self._flight = Flight(self._token, head, self._session, now)
        elif flight is None or flight.sent or now < flight.by:
            return
        flight.sent, flight.by = True, now + self._settings.answer_s
        effects.append(Receive(flight.token, flight.batch, flight.again, flight.raw))

    def _connect(self, now: float, effects: list[Effect]) -> None:
        if self._may_open() and now >= self._open_at:
            self._phase = Phase.OPENING
            self._session += 1
            self._open_by = now + self._settings.answer_s
            effects.append(Open(self._session))
        most = self._settings.batch_max - len(self._next)
        roomy = most > 0 and self._next_bytes < self._settings.bytes_max
        if self._phase is Phase.OPEN and self._fetch is None and roomy and not self._waits():
            self._token += 1
            self._fetch = Fetch(self._token, most, self._settings.wait_s)
            self._fetch_by = now + self._settings.wait_s + self._settings.answer_s
            effects.append(self._fetch)

    def _ask(self, now: float, effects: list[Effect]) -> None:
        if self._look is None and self._may_look() and now >= self._look_at:
            self._token += 1
            self._look = self._token
            self._look_by = now + self._settings.answer_s
            effects.append(Look(self._token))

    def _waits(self) -> bool:
        return self._store_since is not None or self._full_since is not None

    def _may_open(self) -> bool:
        return self._phase is Phase.AWAY and self._flight is None and not self._waits() and not self._draining

    def _may_look(self) -> bool:
        return self._waits() and self._flight is None and not self._draining
