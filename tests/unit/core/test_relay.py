"""What a relay does next, one situation at a time."""

import math
import random
from dataclasses import replace

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

SETTINGS = RelaySettings(window=4, load_max=10, known_max=20, key_known_max=3, refused_known_max=3)


def out(place: int, key: str | None = None, failures: int = 0) -> Outgoing:
    return Outgoing(place, Sent(bytes(16), "sink", "target", key), failures)


class Sink:
    """A core, its clock, and what it asked for."""

    def __init__(self, settings: RelaySettings = SETTINGS) -> None:
        self.now = 100.0
        self.core = RelayCore(settings, random.Random(1), self.now)
        self.all: list[Effect] = []
        self.hands = True  # each Send is taken at once

    def hear(self, event: Event) -> list[Effect]:
        return self._note(self.core.handle(event, self.now))

    def wait(self, until: float | None = None) -> list[Effect]:
        self.now = self.core.next_deadline() if until is None else until
        return self._note(self.core.handle_timeout(self.now))

    def _note(self, effects: list[Effect]) -> list[Effect]:
        self.all += effects
        if self.hands and any(isinstance(effect, Send) for effect in effects):
            return [*self._shown(effects), *self.hear(Handed())]
        return self._shown(effects)

    @staticmethod
    def _shown(effects: list[Effect]) -> list[Effect]:
        return [effect for effect in effects if not isinstance(effect, Tell)]

    def last(self, kind: type[Load] | type[Settle]) -> int:
        return next(effect.token for effect in reversed(self.all) if isinstance(effect, kind))

    def appoint(self, *events: Outgoing, more: bool = False) -> list[Effect]:
        assert self.hear(Appointed(1000)) == [Load(1, 0, 10, 4 << 20, ())]
        return self.load(*events, more=more)

    def load(self, *events: Outgoing, more: bool = False) -> list[Effect]:
        return self.hear(Loaded(self.last(Load), events, more))

    def settled(self) -> list[Effect]:
        return self.hear(Settled(self.last(Settle)))

    def waits(self) -> list[int]:
        """What is sent next, where the outbox has nothing new."""
        while not (sent := places(self.wait())):
            if isinstance(self.all[-1], Load):
                self.load()
        return sent


def places(effects: list[Effect]) -> list[int]:
    return [event.place for effect in effects if isinstance(effect, Send) for event in effect.events]


def only(effects: list[Effect], kind: type[Effect]) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, kind)]


def test_nothing_is_done_before_it_is_appointed() -> None:
    sink = Sink()
    assert sink.hear(Woken()) == []
    assert sink.core.next_deadline() == math.inf
    assert sink.core.health.state is RelayState.STANDBY


def test_it_sends_confirms_and_settles() -> None:
    sink = Sink()
    assert sink.appoint(out(1), out(2)) == [Send((out(1), out(2)))]
    assert sink.hear(Confirmed((1,))) == [], "deletes gather"
    assert sink.wait() == [Settle(2, (1,), ())]
    assert round(sink.now - 100, 6) == 0.02
    assert sink.hear(Confirmed((2,))) == []
    assert sink.settled() == [Settle(3, (2,), ())], "nothing is under way: at once"
    assert sink.settled() == []
    assert sink.core.known == 0
    assert sink.hear(Confirmed((2,))) == [], "twice is once"


def test_a_window_of_events_is_under_way_at_most() -> None:
    sink = Sink()
    assert places(sink.appoint(*(out(n) for n in range(1, 9)))) == [1, 2, 3, 4]
    assert places(sink.hear(Confirmed((2, 3)))) == [5, 6]
    assert sink.core.flying == 4


def test_a_key_has_one_event_under_way_and_keeps_its_order() -> None:
    sink = Sink()
    assert places(sink.appoint(out(1, "a"), out(2, "a"), out(3, "b"), out(4))) == [1, 3, 4]
    assert places(sink.hear(Confirmed((3, 4)))) == []
    assert places(sink.hear(Confirmed((1,)))) == [2]


def test_where_the_broker_keeps_the_order_a_key_has_any_number() -> None:
    sink = Sink(replace(SETTINGS, one_per_key=False))
    assert places(sink.appoint(out(1, "a"), out(2, "a"), out(3, "a"))) == [1, 2, 3]


def test_a_late_commit_goes_before_what_waits() -> None:
    sink = Sink()
    sink.appoint(out(3, "a"), out(4, "a"))
    assert sink.wait() == [Load(2, 0, 10, 4 << 20, ())], "once a second from the beginning"
    assert sink.now == 101
    assert places(sink.load(out(1, "a"), out(3, "a"), out(4, "a"))) == []
    assert places(sink.hear(Confirmed((3,)))) == [1]
    assert places(sink.hear(Confirmed((1,)))) == [4]


def test_reading_goes_on_where_it_ended() -> None:
    sink = Sink()
    asked = sink.appoint(*(out(n) for n in range(1, 11)), more=True)
    assert only(asked, Load) == [Load(2, 10, 10, 4 << 20, ())]
    assert sink.load(*(out(n) for n in range(11, 21)), more=True) == [], "as many are known as may be"
    asked = sink.hear(Confirmed((1, 2, 3, 4)))
    assert only(asked, Load) == [], "they are in the outbox still"
    sink.wait()
    assert only(sink.settled(), Load) == [], "a small page can wait while many are under way"
    sink.hear(Confirmed((5, 6)))
    sink.wait()
    assert only(sink.settled(), Load) == [Load(5, 20, 6, 4 << 20, ())]
    sink.load(more=False)
    assert only(sink.hear(Woken()), Load) == [Load(6, 20, 6, 4 << 20, ())]


def test_what_was_confirmed_while_it_was_read_is_not_sent_again() -> None:
    sink = Sink()
    sink.appoint(out(1), out(2))
    sink.hear(Woken())
    sink.hear(Confirmed((1, 2)))
    sink.settled()
    assert sink.load(out(1), out(2)) == [], "an answer from before"
    sink.hear(Woken())
    assert sink.load() == []
    assert sink.core._gone == set(), "and no longer remembered than need be"


def test_what_is_confirmed_and_still_in_the_outbox_is_not_sent_again() -> None:
    sink = Sink()
    sink.appoint(out(1), out(2))
    sink.hear(Confirmed((1, 2)))
    for _ in range(3):
        sink.hear(Woken())
        assert places(sink.load(out(1), out(2))) == [], "the settle is not answered yet"


def test_what_was_parked_while_it_was_read_is_not_sent_again() -> None:
    sink = Sink()
    sink.appoint(out(1, failures=9))
    sink.hear(Woken())
    sink.hear(Refused(1, "too large"))
    sink.settled()
    assert sink.load(out(1, failures=9)) == []


def test_a_look_for_late_commits_does_not_move_the_place() -> None:
    sink = Sink()
    sink.appoint(*(out(n) for n in range(1, 6)))
    sink.now = 101.0
    assert only(sink.hear(Woken()), Load) == [Load(2, 0, 10, 4 << 20, ())], "first what is late"
    assert only(sink.load(out(1)), Load) == [Load(3, 5, 10, 4 << 20, ())], "then what was asked for"
    assert sink.hear(LoadFailed(3, "no store")) == []
    assert sink.wait() == [Load(4, 5, 10, 4 << 20, ())]


def test_a_busy_key_leaves_room_for_others() -> None:
    sink = Sink()
    asked = sink.appoint(*(out(n, "a") for n in range(1, 11)), more=True)
    assert places(asked) == [1]
    assert only(asked, Load) == [Load(2, 10, 10, 4 << 20, ("a",))], "three of it are enough"
    assert places(sink.load(out(20, "b"))) == [20]
    for place in (1, 2):
        assert places(sink.hear(Confirmed((place,)))) == [place + 1]
    sink.hear(Confirmed((20,)))
    sink.wait()
    sink.settled()
    asked = sink.hear(Confirmed((3,)))
    assert only(asked, Load) == [Load(4, 0, 10, 4 << 20, ())], "the rest of it, from the beginning"
    assert places(sink.load(*(out(n, "a") for n in range(4, 11)))) == [4]


def test_a_refused_event_waits_and_its_key_with_it() -> None:
    sink = Sink()
    sink.appoint(out(1, "a"), out(2, "a"), out(3))
    assert places(sink.hear(Refused(1, "no queue"))) == []
    assert sink.core.known == 2, "what follows stays in the outbox"
    sink.hear(Confirmed((3,)))
    assert Settle(2, (3,), (Refusal(1, "no queue", parked=False),)) in sink.all
    assert sink.hear(Refused(1, "again")) == [], "it is not under way"
    sink.settled()
    begun = sink.now
    while not places(sink.wait()):
        assert sink.now <= begun + 0.5
        if isinstance(sink.all[-1], Load):
            sink.load()
    assert places(sink.all) == [1, 3, 1]
    sink.hear(Confirmed((1,)))
    sink.wait()
    while sink.core._load is None:
        sink.wait()
    assert places(sink.load(out(2, "a"))) == [2]


def test_an_event_that_is_refused_too_often_is_parked() -> None:
    sink = Sink()
    sink.appoint(out(1, "a", failures=8), out(2, "a"))
    sink.hear(Refused(1, "too large"))
    assert Settle(2, (), (Refusal(1, "too large", parked=False),)) in sink.all
    sink.settled()
    sink.waits()
    assert sink.now <= 160
    sink.hear(Refused(1, "too large"))
    assert sink.all[-1] == Settle(sink.last(Settle), (), (Refusal(1, "too large", parked=True),))
    assert sink.core.known == 0


def test_when_too_many_are_refused_the_next_are_parked_at_once() -> None:
    sink = Sink()
    sink.appoint(*(out(n) for n in range(1, 5)))
    for place in range(1, 5):
        sink.hear(Refused(place, "no queue"))
    refusals = [refusal for effect in sink.all if isinstance(effect, Settle) for refusal in effect.refused]
    sink.settled()
    refusals += [refusal for effect in sink.all if isinstance(effect, Settle) for refusal in effect.refused][1:]
    assert {refusal.place for refusal in refusals if refusal.parked} == {4}


def test_large_events_are_read_and_kept_by_their_bytes() -> None:
    def large(place: int) -> Outgoing:
        return Outgoing(place, Sent(bytes(16), "sink", "target", body=bytes(10)))

    sink = Sink(replace(SETTINGS, known_bytes_max=20, refused_bytes_max=10))
    effects = sink.appoint(large(1), large(2), more=True)
    assert (places(effects), only(effects, Load)) == ([1, 2], []), "there is room for more events, and none for bytes"
    sink.hear(Refused(1, "too large"))
    sink.hear(Refused(2, "too large"))
    sink.settled()
    refusals = [refusal for effect in sink.all if isinstance(effect, Settle) for refusal in effect.refused]
    assert [(refusal.place, refusal.parked) for refusal in refusals] == [(1, False), (2, True)]
    assert sink.last(Load) == 2, "what is parked has left room"


def test_what_the_sink_was_not_given_is_decided_anew() -> None:
    sink = Sink(replace(SETTINGS, one_per_key=False))
    assert places(sink.appoint(out(1, "k"))) == [1]
    sink.hands = False
    sink.hear(Woken())
    assert places(sink.load(out(2, "k"))) == [2]
    sink.hear(Refused(1, "no"))
    assert places(sink.hear(Handed((2,)))) == []
    assert sink.core.flying == 0
    sink.settled()
    assert sink.waits() == [1], "before what comes after it"
    assert sink.hear(Unsent((1,), "lost")) == []
    assert sink.hear(Handed()) == []
    assert sink.waits() == [1], "a probe"
    assert places(sink.hear(Handed((1,)))) == [1], "a probe again"


def test_a_lost_connection_counts_against_no_event_and_is_probed() -> None:
    sink = Sink()
    sink.appoint(*(out(n) for n in range(1, 7)))
    assert sink.hear(Unsent((1, 2), "closed")) == []
    assert sink.core.health == RelayHealth(RelayState.SINK_AWAY, "closed")
    at = sink.core.next_deadline()
    assert sink.hear(Unsent((3, 4), "closed")) == []
    assert sink.core.next_deadline() == at, "that is one loss"
    pauses = list[float]()
    for number in range(12):
        begun = sink.now
        asked = sink.waits()
        pauses.append(sink.now - begun)
        probe = number % 6 + 1
        assert asked == [probe], "one alone, by turns"
        assert sink.hear(Unsent((probe,), "refused")) == []
    for number, pause in enumerate(pauses):
        longest = min(0.5 * 2**number, 60)
        assert longest / 2 <= round(pause, 6) <= longest
    sink.waits()
    assert places(sink.hear(Confirmed((1,)))) == [2, 3, 4, 5], "then all"
    assert not any(effect.refused for effect in sink.all if isinstance(effect, Settle))


def test_a_deferred_event_waits_alone_and_the_sink_is_well() -> None:
    sink = Sink()
    effects = sink.appoint(out(1), out(2, "a"), out(3, "a"), out(4), out(5, "a"))
    assert places(effects) == [1, 2, 4]
    assert sink.hear(Deferred((1, 2), "the queue is full")) == []
    assert sink.core.health == RelayHealth(RelayState.SENDING, "the queue is full"), "it sends, and says what waits"
    assert places(sink.hear(Confirmed((4,)))) == [], "those of its key wait too"
    sink.settled()
    for length in (0.5, 1.0, 2.0, 4.0, 8.0):
        before = sink.now
        sink.load(out(1), out(2, "a"), out(3, "a"), out(5, "a"))
        tried = list[int]()
        while len(tried) < 2:
            tried += places(sink.wait())
            assert sink.now - before <= length + 1
        assert sorted(tried) == [1, 2]
        sink.hear(Deferred((1, 2), "the queue is full"))
    assert not any(effect.refused for effect in sink.all if isinstance(effect, Settle)), "it counts against none"


def test_when_too_many_are_deferred_the_sink_waits() -> None:
    sink = Sink()
    sink.appoint(*(out(n) for n in range(1, 7)))
    sink.hear(Deferred((1, 2, 3), "full"))
    assert sink.core.health.state is RelayState.SENDING
    sink.hear(Deferred((4,), "full"))
    assert sink.core.health == RelayHealth(RelayState.SINK_AWAY, "full")


def test_nothing_is_given_while_the_sink_is_being_given_something() -> None:
    sink = Sink()
    sink.hands = False
    assert places(sink.appoint(out(1))) == [1]
    sink.hear(Woken())
    assert sink.load(out(2)) == []
    assert places(sink.hear(Handed())) == [2]


def test_what_may_still_be_committed_is_read_before_what_comes_after_it() -> None:
    sink = Sink()
    sink.appoint()
    sink.hear(Woken())
    sink.hear(Loaded(sink.last(Load), (out(10),), more=False, settled=4))
    sink.hear(Woken())
    assert only([sink.all[-1]], Load) == [Load(sink.last(Load), 4, 10, 4 << 20, ())]
    sink.hear(Loaded(sink.last(Load), (out(5), out(10), out(12)), more=False, settled=12))
    sink.hear(Woken())
    assert only([sink.all[-1]], Load) == [Load(sink.last(Load), 12, 10, 4 << 20, ())]


def test_a_page_of_what_is_known_is_not_read_again_before_something_has_left() -> None:
    sink = Sink()
    page = tuple(out(n) for n in range(5, 9))
    sink.appoint()
    sink.hear(Woken())
    for _ in range(2):
        sink.hear(Loaded(sink.last(Load), page, more=True, settled=4))
    count = len(only(sink.all, Load))
    sink.hear(Confirmed((5, 6, 7, 8)))
    assert len(only(sink.all, Load)) == count
    sink.settled()
    assert len(only(sink.all, Load)) == count + 1


def test_a_refusal_shows_that_the_sink_is_there() -> None:
    sink = Sink()
    sink.appoint(out(1), out(2))
    sink.hear(Unsent((1, 2), "closed"))
    assert places(sink.wait()) == [1]
    assert places(sink.hear(Refused(1, "no queue"))) == [2]


def test_a_broker_that_does_not_answer_is_left() -> None:
    sink = Sink()
    sink.appoint(out(1))
    while Reset() not in sink.wait():
        assert sink.now < 130
        if isinstance(sink.all[-1], Load):
            sink.load(out(1))
    assert sink.now == 130
    assert sink.core.health == RelayHealth(RelayState.SINK_AWAY, "the broker does not answer")
    assert Settle in [type(effect) for effect in sink.hear(Confirmed((1,)))], "a late answer counts"


def test_another_process_sends_from_then_on() -> None:
    sink = Sink()
    sink.appoint(*(out(n, "a") for n in range(1, 4)))
    assert sink.hear(Dismissed()) == []
    assert sink.core.known == 1, "what is under way"
    sink.hear(Confirmed((1,)))
    sink.settled()
    assert sink.hear(Woken()) == []
    assert sink.core.next_deadline() == math.inf
    asked = sink.hear(Appointed(2000))
    assert only(asked, Load) == [Load(sink.last(Load), 0, 10, 4 << 20, ())], "everything is read anew"
    assert places(sink.load(out(3, "a"))) == [3]


def test_without_a_renewal_nothing_is_sent() -> None:
    sink = Sink()
    sink.hear(Appointed(101))
    sink.load(out(1), *(out(n, "a") for n in range(2, 5)))
    sink.now = 101.0
    assert places(sink.hear(Confirmed((2,)))) == [], "it is over when an event is heard first"
    sink = Sink()
    sink.hear(Appointed(101))
    sink.hear(Appointed(102))
    sink.load(out(1, "a"), out(2, "a"))
    sink.now = 101.5
    assert places(sink.hear(Confirmed((1,)))) == [2], "a renewal goes on"
    assert places(sink.hear(Unsent((2,), "closed"))) == []
    sink.now = 102.0
    sink.wait(102.0)
    assert sink.core.known == 1, "the confirmed one, until it has left"
    assert sink.hear(Loaded(sink.last(Load), (out(9),), False)) == []
    assert sink.hear(Appointed(102)) == [], "that was too late"


def test_while_the_store_is_away_it_asks_again() -> None:
    sink = Sink()
    sink.hear(Appointed(1000))
    pauses = list[float]()
    for _ in range(10):
        assert sink.hear(LoadFailed(sink.last(Load), "no store")) == []
        assert sink.core.health == RelayHealth(RelayState.STORE_AWAY, "no store")
        begun = sink.now
        assert isinstance(sink.wait()[0], Load)
        pauses.append(sink.now - begun)
    for number, pause in enumerate(pauses):
        longest = min(0.1 * 2**number, 5)
        assert longest / 2 <= round(pause, 6) <= longest
    sink.load(out(1))
    assert sink.core.health.state is RelayState.SENDING
    sink.hear(Confirmed((1,)))
    assert sink.hear(SettleFailed(sink.last(Settle), "no store")) == []
    assert sink.hear(SettleFailed(sink.last(Settle), "late")) == []
    while not only(asked := sink.wait(), Settle):
        if only(asked, Load):
            sink.load(out(1))
    assert sink.all[-1] == Settle(sink.last(Settle), (1,), ()), "the same again"
    assert sink.hear(Settled(1)) == []


def test_a_store_that_does_not_answer_is_away() -> None:
    sink = Sink()
    sink.hear(Appointed(1000))
    assert sink.wait() == []
    assert sink.now == 130
    assert sink.core.health.why == "the store does not answer"
    assert sink.hear(Loaded(1, (out(1),), False)) == [], "too late"
    sink.wait()
    sink.load(out(1))
    sink.hear(Confirmed((1,)))
    at = sink.now
    while sink.now < at + 30:
        sink.wait()
        if isinstance(sink.all[-1], Load):
            sink.load()
    assert sink.core.health.why == "the store does not answer"
    assert sink.core.known == 1


def test_refusals_that_were_not_stored_are_told_again() -> None:
    sink = Sink()
    sink.appoint(out(1))
    sink.hear(Refused(1, "no queue"))
    settle = next(effect for effect in sink.all if isinstance(effect, Settle))
    sink.hear(SettleFailed(settle.token, "no store"))
    while not only(asked := sink.wait(), Settle):
        if only(asked, Load):
            sink.load()
    assert sink.all[-1] in [replace(settle, token=token) for token in range(99)]


def test_pauses_begin_anew_when_it_went_well() -> None:
    sink = Sink()
    sink.appoint(out(1), out(2))
    for _ in range(5):
        sink.hear(Unsent((1, 2), "closed"))
        sink.waits()
    sink.hear(Confirmed((1,)))
    sink.hear(Unsent((2,), "closed"))
    assert sink.core.next_deadline() - sink.now <= 0.5
    sink = Sink()
    sink.hear(Appointed(1000))
    for _ in range(5):
        sink.hear(LoadFailed(sink.last(Load), "no store"))
        sink.wait()
    sink.load()
    sink.hear(Woken())
    sink.hear(LoadFailed(sink.last(Load), "no store"))
    assert sink.core.next_deadline() - sink.now <= 0.1


def test_what_was_read_in_another_appointment_does_not_count() -> None:
    sink = Sink()
    sink.hear(Appointed(1000))
    sink.hear(Dismissed())
    assert sink.hear(Appointed(2000)) == [], "one answer at a time"
    asked = sink.load(out(1), out(2))
    assert asked == [Load(2, 0, 10, 4 << 20, ())], "another may have sent them"
    assert places(sink.load(out(2))) == [2]


def test_a_drain_waits_for_what_is_under_way() -> None:
    sink = Sink()
    sink.appoint(out(1, "a"), out(2, "a"))
    assert sink.hear(DrainAsked()) == []
    assert sink.hear(DrainAsked()) == []
    assert sink.hear(Confirmed((1,))) == [Settle(2, (1,), ())]
    assert sink.hear(Settled(2)) == [Drained()]
    assert sink.core.next_deadline() == math.inf
    assert sink.hear(Woken()) == []


def test_a_drain_ends_whatever_it_waits_for() -> None:
    assert Sink().hear(DrainAsked()) == [Drained()]
    sink = Sink()
    sink.appoint(out(1))
    sink.hear(DrainAsked())
    sink.now = 120
    sink.hear(Confirmed((1,)))
    sink.hear(SettleFailed(sink.last(Settle), "no store"))
    while not only(sink.wait(), Drained):
        assert sink.now < 130
        if isinstance(sink.all[-1], Settle):
            sink.hear(SettleFailed(sink.last(Settle), "no store"))
    assert sink.now == 130


def test_health_is_told_when_it_changes() -> None:
    sink = Sink()
    sink.appoint(out(1))
    sink.hear(Unsent((1,), "closed"))
    sink.hear(Dismissed())
    told = [effect.health.state for effect in sink.all if isinstance(effect, Tell)]
    assert told == [RelayState.SENDING, RelayState.SINK_AWAY, RelayState.STANDBY]
