"""A relay against a naive outbox and broker, whatever happens to either, in whatever order."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.core.event import Event as Sent
from headrace.core.event import Outgoing
from headrace.core.relay import RelayCore
from headrace.core.relay_events import (
    Appointed,
    Confirmed,
    Dismissed,
    DrainAsked,
    Drained,
    Effect,
    Event,
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

SETTINGS = RelaySettings(
    window=5, load_max=6, known_max=14, key_known_max=2, settle_max=4, refusals_max=3, refused_known_max=3, answer_s=8
)
KEYS = st.sampled_from([None, None, "a", "a", "b", "c"])


class Outbox(RuleBasedStateMachine):
    """Events in the order of their commits, a broker that takes them or does not, and the one who sends."""

    def __init__(self, relay: RelaySettings = SETTINGS) -> None:
        super().__init__()
        self.now = 0.0
        self.core = RelayCore(relay, random.Random(0), 0.0)
        self.one_per_key = relay.one_per_key
        self.made = 0
        self.rows: dict[int, Outgoing] = {}  # in the outbox
        self.held_back: list[Outgoing] = []  # written, and committed later
        self.refused: set[int] = set()
        self.parked: set[int] = set()
        self.flying: dict[int, Outgoing] = {}
        self.confirmed: list[int] = []  # of each key those that were committed in order come in order
        self.late: set[int] = set()
        self.load: tuple[Load, tuple[Outgoing, ...], bool] | None = None
        self.load_by = 0.0
        self.settle: Settle | None = None
        self.settle_by = 0.0
        self.until = -1.0
        self.away = False  # the connection is lost, and nothing was confirmed since
        self.draining = self.drained = False
        self.steps = 0

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
            if key is not None and self.one_per_key:
                assert all(other.event.key != key for other in self.flying.values()), "one of a key at a time"
                parked = self.parked | (self.core._gone & self.refused)  # or will be
                over = parked.union(self.confirmed, self.late)
                before = {place for place, row in self.rows.items() if row.event.key == key and place < out.place}
                assert before <= over, f"{out.place} is sent before {sorted(before - over)}"
            self.flying[out.place] = out
        assert len(self.flying) <= SETTINGS.window
        assert not self.away or len(events) == 1, "a probe is one"

    def read(self, load: Load) -> None:
        assert self.now < self.until
        assert self.load is None or self.now >= self.load_by
        assert 0 < load.limit <= SETTINGS.load_max
        there = [
            row
            for place, row in sorted(self.rows.items())
            if place > load.after and place not in self.parked and row.event.key not in load.without
        ]
        self.load = (load, tuple(there[: load.limit]), len(there) > load.limit)
        self.load_by = self.now + SETTINGS.answer_s

    # -- the outbox

    @rule(keys=st.lists(KEYS, min_size=1, max_size=6), late=st.integers(0, 5))
    def publishes(self, keys: list[str | None], late: int) -> None:
        for number, key in enumerate(keys):
            self.made += 1
            out = Outgoing(self.made, Sent(bytes(16), "s", "t", key))
            if number == late:
                self.held_back.append(out)
            else:
                self.rows[out.place] = out
        self.hear(Woken())

    @precondition(lambda self: self.held_back)
    @rule()
    def commits_late(self) -> None:
        out = self.held_back.pop(0)
        self.rows[out.place] = out
        self.late.add(out.place)

    @precondition(lambda self: self.load)
    @rule(works=st.sampled_from([True, True, True, False]))
    def loads(self, works: bool) -> None:
        assert self.load is not None
        (load, events, more), self.load = self.load, None
        self.hear(Loaded(load.token, events, more) if works else LoadFailed(load.token, "away"))

    @precondition(lambda self: self.settle)
    @rule(what=st.sampled_from(["works", "works", "answer is lost", "fails"]))
    def settles(self, what: str) -> None:
        assert self.settle is not None
        settle, self.settle = self.settle, None
        if what != "fails":
            for place in settle.done:
                self.rows.pop(place, None)
            self.parked |= {refusal.place for refusal in settle.refused if refusal.parked}
            assert self.parked <= self.refused
        self.hear(Settled(settle.token) if what == "works" else SettleFailed(settle.token, "away"))

    # -- the broker

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def confirms(self, data: st.DataObject) -> None:
        places = data.draw(st.lists(st.sampled_from(sorted(self.flying)), min_size=1, unique=True))
        for place in places:
            del self.flying[place]
        self.confirmed += places
        self.away = False
        self.hear(Confirmed(tuple(places)))

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def refuses(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from(sorted(self.flying)))
        del self.flying[place]
        self.refused.add(place)
        self.away = False
        self.hear(Refused(place, "no"))

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def loses(self, data: st.DataObject) -> None:
        places = data.draw(st.lists(st.sampled_from(sorted(self.flying)), min_size=1, unique=True))
        for place in places:
            del self.flying[place]
        self.away = not self.flying  # else one that was sent before may still be answered
        self.hear(Unsent(tuple(places), "closed"))

    @rule(place=st.integers(0, 60))
    def hears_what_is_long_over(self, place: int) -> None:
        if place not in self.flying and place not in self.rows:
            for event in (Confirmed((place,)), Refused(place, ""), Unsent((place,), "")):
                self.hear(event)
        for stale in (Loaded(10**6, (), True), LoadFailed(10**6, ""), Settled(10**6), SettleFailed(10**6, "")):
            self.hear(stale)

    # -- who sends

    @precondition(lambda self: not self.draining)
    @rule(for_s=st.sampled_from([0.5, 3.0, 1000.0, 1000.0, 1000.0]))
    def appoints(self, for_s: float) -> None:
        self.until = self.now + for_s
        self.hear(Appointed(self.until))

    @precondition(lambda self: self.until > self.now and self.steps % 7 == 0)
    @rule()
    def dismisses(self) -> None:
        self.until = self.now
        self.hear(Dismissed())

    @rule(share=st.sampled_from([0.5, 1.0, 1.0, 1.0]))
    def waits(self, share: float) -> None:
        at = self.core.next_deadline()
        self.now += min(max(at - self.now, 0.0), 60.0) * share
        self.do(self.core.handle_timeout(self.now))

    @precondition(lambda self: self.steps > 60)
    @rule()
    def drains(self) -> None:
        self.draining = True
        self.hear(DrainAsked())

    # -- what always holds

    @invariant()
    def is_bounded(self) -> None:
        self.steps += 1
        assert self.core.known <= SETTINGS.known_max
        assert self.core.flying <= SETTINGS.window

    @invariant()
    def a_timeout_too_early_changes_nothing(self) -> None:
        for _ in range(4):
            if self.now < self.core.next_deadline():
                assert self.core.handle_timeout(self.now) == []
                return
            self.do(self.core.handle_timeout(self.now))
        raise AssertionError("a deadline that is over leads to nothing")

    def teardown(self) -> None:
        """Once all is well again, every event is confirmed or parked, and leaves the outbox; and a drain ends."""
        while self.held_back:
            self.commits_late()
        for _ in range(600):
            if self.draining or not self.rows.keys() - self.parked:
                break
            self.heal()
        if not self.draining:
            assert not self.rows.keys() - self.parked
            self.draining = True
            self.hear(DrainAsked())
        for _ in range(20):
            if self.drained:
                return
            self.heal()
        raise AssertionError("it does not end")

    def heal(self) -> None:
        if self.until <= self.now and not self.draining:
            self.appoints(1000.0)
        elif self.flying:
            places = tuple(self.flying)
            self.flying.clear()
            self.confirmed += places
            self.away = False
            self.hear(Confirmed(places))
        elif self.load:
            self.loads(works=True)
        elif self.settle:
            self.settles("works")
        else:
            self.waits(1.0)


class Log(Outbox):
    """A broker that keeps a key in order by itself."""

    def __init__(self) -> None:
        super().__init__(replace(SETTINGS, one_per_key=False))


def machine(kind: type[Outbox], examples: int) -> Any:
    case: Any = kind.TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=80, deadline=None)
    return case


TestOutbox: Callable[[], Any] = machine(Outbox, 150)
TestLog: Callable[[], Any] = machine(Log, 50)
