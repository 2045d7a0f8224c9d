"""A relay against a naive outbox and broker, whatever happens to either, in whatever order."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from headrace.core.event import Event as Sent
from headrace.core.event import Outgoing
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
    RelaySettings,
    Reset,
    Send,
    Settle,
    Settled,
    SettleFailed,
    Unsent,
    Woken,
)
from tests.effort import effort

SETTINGS = RelaySettings(
    window=5,
    load_max=6,
    known_max=14,
    key_known_max=2,
    settle_max=4,
    refusals_max=3,
    refused_known_max=3,
    refused_pause_s=4,
    answer_s=8,
)
KEYS = (None, None, "a", "a", "b", "c")
SEEDS, STEPS = effort(60, at_night=300), 250


class Outbox:
    """Events in the order of their commits, a broker that takes them or does not, and the one who sends."""

    def __init__(self, seed: int, relay: RelaySettings = SETTINGS) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.core = RelayCore(relay, random.Random(seed), 0.0)
        self.one_per_key = relay.one_per_key
        self.made = 0
        self.rows: dict[int, Outgoing] = {}  # in the outbox
        self.held_back: list[Outgoing] = []  # written, and committed later
        self.refused: set[int] = set()
        self.parked: set[int] = set()
        self.flying: dict[int, Outgoing] = {}
        self.confirmed: list[int] = []
        self.before: dict[int, set[int]] = {}  # those of its key that were committed when an event was written
        self.handing = False
        self.load: tuple[Load, tuple[Outgoing, ...], bool, int | None] | None = None
        self.load_by = 0.0
        self.settle: Settle | None = None
        self.settle_by = 0.0
        self.until = -1.0
        self.away = False  # the connection is lost, and nothing was confirmed since
        self.draining = self.drained = False

    # -- effects

    def hear(self, event: Event) -> None:
        self.do(self.core.handle(event, self.now))

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert not self.drained
            match effect:
                case Send(events):
                    self.send(events)
                case Load():
                    self.read(effect)
                case Settle():
                    assert self.settle is None or self.now >= self.settle_by
                    assert len(effect.done) <= SETTINGS.settle_max
                    assert set(effect.done) <= set(self.confirmed), "deleted before it was confirmed"
                    self.settle, self.settle_by = effect, self.now + SETTINGS.answer_s
                case Reset():
                    self.flying.clear()
                case Drained():
                    assert self.draining
                    self.drained = True
                case _:
                    pass

    def send(self, events: tuple[Outgoing, ...]) -> None:
        assert self.now < self.until, "another may be sending"
        assert not self.draining
        for out in events:
            assert out.place not in self.confirmed, "sent again"
            assert out.place not in self.flying
            assert out.place not in self.parked
            key = out.event.key
            if key is not None:
                parked = self.parked | (self.core._gone & self.refused)  # or will be
                over = parked.union(self.confirmed)
                if self.one_per_key:
                    assert all(other.event.key != key for other in self.flying.values()), "one of a key at a time"
                else:
                    over |= self.flying.keys()
                before = self.before[out.place]
                assert before <= over, f"{out.place} is sent before {sorted(before - over)}"
            self.flying[out.place] = out
        assert len(self.flying) <= SETTINGS.window
        assert not self.away or len(events) == 1, "a probe is one"
        assert not self.handing, "given while it is being given something"
        self.handing = True

    def read(self, load: Load) -> None:
        assert self.now < self.until
        assert self.load is None or self.now >= self.load_by
        assert 0 < load.limit <= SETTINGS.load_max
        there = [
            row
            for place, row in sorted(self.rows.items())
            if place > load.after and place not in self.parked and row.event.key not in load.without
        ]
        settled = min((out.place for out in self.held_back), default=self.made + 1) - 1
        self.load = (load, tuple(there[: load.limit]), len(there) > load.limit, settled)
        self.load_by = self.now + SETTINGS.answer_s

    # -- the outbox

    def publishes(self) -> None:
        late = self.rng.randrange(6)
        for number in range(self.rng.randint(1, 6)):
            self.made += 1
            key = self.rng.choice(KEYS)
            out = Outgoing(self.made, Sent(bytes(16), "s", "t", key))
            rows = [] if key is None else self.rows.values()
            self.before[out.place] = {row.place for row in rows if row.event.key == key}
            if number == late:
                self.held_back.append(out)
            else:
                self.rows[out.place] = out
        self.hear(Woken())

    def commits_late(self) -> None:
        if self.held_back:
            out = self.held_back.pop(self.rng.randrange(len(self.held_back)))
            self.rows[out.place] = out
            self.hear(Woken())

    def loads(self, works: float = 0.8) -> None:
        if self.load is not None:
            (load, events, more, settled), self.load = self.load, None
            well = self.rng.random() < works
            self.hear(Loaded(load.token, events, more, settled) if well else LoadFailed(load.token, "away"))

    def settles(self, whats: Sequence[str] = ("works", "works", "answer is lost", "fails")) -> None:
        if self.settle is None:
            return
        settle, self.settle = self.settle, None
        what = self.rng.choice(whats)
        if what != "fails":
            for place in settle.done:
                self.rows.pop(place, None)
            self.parked |= {refusal.place for refusal in settle.refused if refusal.parked}
            assert self.parked <= self.refused
        self.hear(Settled(settle.token) if what == "works" else SettleFailed(settle.token, "away"))

    # -- the broker

    def has_them(self) -> None:
        if self.handing:
            self.handing = False
            self.hear(Handed())

    def sent(self) -> dict[int, Outgoing]:
        """What the broker may answer."""
        return self.flying

    def some(self) -> list[int]:
        """Some of it."""
        return self.rng.sample(sorted(self.flying), self.rng.randint(1, len(self.flying)))

    def first(self) -> Outgoing:
        """One of it, and no other of its key before it."""
        sent = list(self.sent().values())
        out = self.rng.choice(sent)
        return next(each for each in sent if each is out or each.event.key == out.event.key is not None)

    def confirms(self) -> None:
        if self.sent():
            self.confirm(self.some())

    def confirm(self, places: list[int]) -> None:
        parked = self.parked | (self.core._gone & self.refused)  # or will be
        over = parked.union(self.confirmed, places)
        for place in places:
            if self.flying.pop(place).event.key is not None:
                assert self.before[place] <= over, f"{place} is there before {sorted(self.before[place] - over)}"
        self.confirmed += places
        self.away = False
        self.hear(Confirmed(tuple(places)))

    def refuses(self) -> None:
        if self.sent():
            out = self.first()
            del self.flying[out.place]
            self.refused.add(out.place)
            self.away = False
            self.hear(Refused(out.place, "no"))
            self.rest_waits(out)

    def defers(self) -> None:
        if self.sent():
            out = self.first()
            self.away = False
            self.defer(out.place)
            self.rest_waits(out)

    def defer(self, place: int) -> None:
        del self.flying[place]
        crowded = self.core._rows.crowded and not self.core._rows.is_held(place)
        self.hear(Deferred((place,), "not now"))
        self.away = (self.away or crowded) and not self.sent()

    def rest_waits(self, first: Outgoing) -> None:
        """What comes after it of its key is not taken either; here there is none."""

    def loses(self) -> None:
        if self.sent():
            self.lose(self.some())

    def lose(self, places: list[int]) -> None:
        for place in places:
            del self.flying[place]
        self.away = not self.sent()  # else one that was sent before may still be answered
        self.hear(Unsent(tuple(places), "closed"))

    def hears_what_is_long_over(self) -> None:
        place = self.rng.randint(0, self.made + 2)
        if place not in self.flying and place not in self.rows:
            for event in (Confirmed((place,)), Refused(place, ""), Unsent((place,), ""), Deferred((place,), "")):
                self.hear(event)
        for stale in (Loaded(10**6, (), True), LoadFailed(10**6, ""), Settled(10**6), SettleFailed(10**6, "")):
            self.hear(stale)

    # -- who sends

    def appoints(self) -> None:
        if not self.draining:
            self.until = self.now + self.rng.choice((0.5, 3.0, 1000.0, 1000.0, 1000.0))
            self.hear(Appointed(self.until))

    def dismisses(self) -> None:
        if self.until > self.now:
            self.until = self.now
            self.hear(Dismissed())

    def waits(self) -> None:
        at = self.core.next_deadline()
        self.now += min(max(at - self.now, 0.0), 60.0) * self.rng.choice((0.5, 1.0, 1.0, 1.0))
        self.do(self.core.handle_timeout(self.now))

    def drains(self) -> None:
        self.draining = True
        self.hear(DrainAsked())

    # -- what always holds

    def steps(self) -> None:
        """Whatever happens."""
        actions = {
            self.publishes: 3, self.commits_late: 2, self.loads: 6, self.settles: 5, self.has_them: 8, self.confirms: 6,
            self.refuses: 1, self.defers: 1, self.loses: 1, self.hears_what_is_long_over: 1, self.appoints: 1,
            self.dismisses: 0.2, self.waits: 3,
        }  # fmt: skip
        for _ in range(STEPS):
            self.rng.choices(list(actions), list(actions.values()))[0]()
            assert self.core.known <= SETTINGS.known_max
            assert self.core.flying <= SETTINGS.window
            self.a_timeout_too_early_changes_nothing()

    def a_timeout_too_early_changes_nothing(self) -> None:
        for _ in range(4):
            if self.now < self.core.next_deadline():
                assert self.core.handle_timeout(self.now) == []
                return
            self.do(self.core.handle_timeout(self.now))
        raise AssertionError("a deadline that is over leads to nothing")

    def ends(self, *, heals: bool) -> None:
        """Once all is well again, every event is confirmed or parked, and leaves the outbox; and a drain ends."""
        while self.held_back:
            self.commits_late()
        if heals:
            for _ in range(4 * (self.made + 200)):
                if self.rows.keys() <= self.parked:
                    break
                self.heal()
            assert self.rows.keys() <= self.parked
        self.drains()
        for _ in range(20):
            if self.drained:
                return
            self.heal()
        raise AssertionError("it does not end")

    def heal(self) -> None:
        if self.until <= self.now and not self.draining:
            self.appoints()
        elif self.sent():
            self.confirm(list(self.sent()))
        elif self.handing:
            self.has_them()
        elif self.load:
            self.loads(1.0)
        elif self.settle:
            self.settles(["works"])
        else:
            self.waits()


class Log(Outbox):
    """A broker that keeps a key in order by itself: what it was given ends together.

    It may be given more when all but the last batch has ended; it is not given what was decided before something ended
    otherwise than confirmed.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed, replace(SETTINGS, one_per_key=False))
        self.pending: list[int] = []  # decided, and the sink does not have it yet
        self.last: list[int] = []
        self.stale = False

    def do(self, effects: list[Effect]) -> None:
        if any(isinstance(effect, Reset) for effect in effects):
            self.pending = []
        super().do(effects)

    def send(self, events: tuple[Outgoing, ...]) -> None:
        super().send(events)
        self.pending, self.stale = [out.place for out in events], False

    def has_them(self) -> None:
        if self.pending and self.stale:
            back, self.pending = tuple(self.pending), []
            for place in back:
                del self.flying[place]
            self.handing = False
            self.hear(Handed(back))
        elif self.pending:
            self.last, self.pending = self.pending, []
        elif self.flying.keys() <= set(self.last):
            super().has_them()

    def sent(self) -> dict[int, Outgoing]:
        return {place: out for place, out in self.flying.items() if place not in self.pending}

    def some(self) -> list[int]:
        sent = list(self.sent())
        return sent[: self.rng.randint(1, len(sent))]

    def refuses(self) -> None:
        self.stale = self.stale or bool(self.sent())
        super().refuses()

    def defer(self, place: int) -> None:
        self.stale = True
        super().defer(place)

    def lose(self, places: list[int]) -> None:
        self.stale = True
        super().lose(places)

    def rest_waits(self, first: Outgoing) -> None:
        rest = [place for place, out in self.sent().items() if out.event.key == first.event.key is not None]
        if rest and self.rng.random() < 0.5:  # the connection was lost meanwhile
            self.lose(list(self.sent()))
        else:
            for place in rest:
                self.defer(place)

    def loses(self) -> None:
        if self.sent():
            self.lose(list(self.sent()))


@pytest.mark.parametrize("kind", [Outbox, Log])
def test_whatever_happens_nothing_is_lost_and_keys_keep_their_order(kind: Callable[[int], Outbox]) -> None:
    for seed in range(SEEDS):
        outbox = kind(seed)
        try:
            outbox.steps()
            outbox.ends(heals=seed % 4 != 0)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
