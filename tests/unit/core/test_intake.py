"""What a source does next, one situation at a time."""

import math
import random

from headrace.core.intake import IntakeCore
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
from headrace.core.message import Batch, Message

SETTINGS = IntakeSettings(batch_max=10, bytes_max=1000)


def some(first: int, last: int, size: int = 1) -> Batch:
    """Messages of a broker that counts for us."""
    numbers = range(first, last + 1)
    return Batch(tuple(Message("s", str(n), body=b"x" * size) for n in numbers), tuple(numbers))


def records(part: str, known: int | None, first: int, last: int) -> Batch:
    """Records of one partition of Kafka."""
    messages = tuple(Message("s", str(n), part) for n in range(first, last + 1))
    return Batch(messages, tuple(range(len(messages))), {part: known})


class Source:
    """A core, its clock and what it asked for last."""

    def __init__(self, settings: IntakeSettings = SETTINGS) -> None:
        self.now = 100.0
        self.core = IntakeCore(settings, random.Random(1), self.now)
        self.asked: list[Effect] = []
        self.all: list[Effect] = []

    def hear(self, event: Event) -> list[Effect]:
        return self._note(self.core.handle(event, self.now))

    def wait(self, until: float | None = None) -> list[Effect]:
        self.now = self.core.next_deadline() if until is None else until
        return self._note(self.core.handle_timeout(self.now))

    def _note(self, effects: list[Effect]) -> list[Effect]:
        self.asked = [effect for effect in effects if not isinstance(effect, Tell)]
        self.all += effects
        return self.asked

    def last(self, kind: type[Fetch] | type[Receive] | type[Look]) -> int:
        return next(effect.token for effect in reversed(self.all) if isinstance(effect, kind))

    def open(self) -> "Source":
        assert self.wait() == [Open(1)]
        assert self.hear(Opened(1)) == [Fetch(1, 10, 0.5)]
        return self

    def fetched(self, batch: Batch) -> list[Effect]:
        return self.hear(Fetched(self.last(Fetch), batch))

    def received(self, moved: dict[str, int] | None = None) -> list[Effect]:
        return self.hear(Received(self.last(Receive), moved or {}))

    def away(self) -> list[Effect]:
        return self.hear(StoreAway(self.last(Receive), "no store"))


def test_it_acknowledges_after_the_commit_and_fetches_meanwhile() -> None:
    source = Source().open()
    assert source.fetched(some(1, 3)) == [Receive(2, some(1, 3)), Fetch(3, 10, 0.5)]
    assert source.fetched(some(4, 5)) == [Fetch(4, 8, 0.5)], "what comes meanwhile gathers"
    assert source.fetched(some(6, 6)) == [Fetch(5, 7, 0.5)]
    assert source.hear(Received(1, {})) == [], "that is no answer to what is asked"
    assert source.received() == [Done(some(1, 3)), Receive(6, some(4, 6))]
    assert source.core.kept == 3


def test_it_fetches_again_when_nothing_came_and_no_more_than_it_may_keep() -> None:
    source = Source().open()
    assert source.fetched(Batch()) == [Fetch(2, 10, 0.5)]
    source.fetched(some(1, 10))
    assert source.fetched(some(11, 20)) == []
    assert source.core.kept == 20
    source = Source().open()
    source.fetched(some(1, 1))
    assert source.fetched(some(2, 2, size=1000)) == [], "as many bytes as may be kept"
    assert source.received()[-1] == Fetch(5, 10, 0.5)


def test_a_lost_connection_comes_back_after_growing_pauses() -> None:
    source = Source()
    source.wait()
    pauses = list[float]()
    for session in range(1, 15):
        assert source.hear(Lost(session, "refused")) == [Close(session)]
        assert source.core.health == IntakeHealth(IntakeState.AWAY, "refused")
        assert source.hear(Lost(session, "again")) == [], "once is enough"
        at = source.now
        assert source.wait() == [Open(session + 1)]
        pauses.append(source.now - at)
    for number, pause in enumerate(pauses):
        assert min(0.1 * 2**number, 30) / 2 <= round(pause, 6) <= min(0.1 * 2**number, 30)
    source.hear(Opened(15))
    source.fetched(Batch())
    source.hear(Lost(15, "gone"))
    assert source.core.next_deadline() - source.now <= 0.1, "a fetch that worked begins anew"


def test_a_refusal_is_not_retried_before_long() -> None:
    source = Source()
    source.wait()
    source.hear(Lost(1, "wrong password", refused=True))
    assert source.core.next_deadline() == source.now + 30


def test_what_a_lost_connection_brought_is_the_brokers_again() -> None:
    source = Source().open()
    source.fetched(some(1, 3))
    source.fetched(some(4, 5))
    assert source.hear(Lost(1, "gone")) == [Close(1)]
    assert source.core.kept == 3, "what is with the store"
    assert source.wait(source.now + 1) == [], "it opens when the store has answered"
    assert source.received() == [Open(2)], "and the commit is not acknowledged on another connection"
    assert source.hear(Opened(1)) == []
    assert source.hear(Fetched(3, some(4, 5))) == []
    assert source.hear(Opened(2)) == [Fetch(5, 10, 0.5)]


def test_a_broker_that_does_not_answer_is_left() -> None:
    source = Source()
    source.wait()
    assert source.wait(source.now + 29) == []
    assert source.wait() == [Close(1)]
    assert source.core.health.why == "the broker does not answer"
    source.wait()
    source.hear(Opened(2))
    assert source.wait(source.now + 30.4) == []
    assert source.wait() == [Close(2)]


def test_while_the_store_is_away_the_same_batch_is_repeated() -> None:
    source = Source().open()
    source.fetched(some(1, 3))
    source.fetched(some(4, 5))
    batch, begun = some(1, 3), source.now
    assert source.away() == []
    assert source.core.health == IntakeHealth(IntakeState.STORE_AWAY, "no store")
    assert source.wait() == [Receive(2, batch, again=True)]
    assert source.now - begun <= 0.1
    source.fetched(some(6, 6))
    assert source.last(Fetch) == 4, "nothing more is fetched"
    pauses = list[float]()
    while source.now < begun + 30:
        at = source.now
        asked = source.away()
        if asked:
            break
        asked = source.wait()
        pauses.append(source.now - at)
        if asked != [Receive(2, batch, again=True)]:
            break
    assert source.now == begun + 30
    assert source.asked == [Back(batch), Back(some(4, 6)), Close(1)]
    assert max(pauses) <= 5
    assert source.core.kept == 0
    assert [type(effect) for effect in source.wait()] == [Look]
    assert source.hear(StoreAway(source.last(Look), "still")) == []
    source.wait()
    assert source.hear(Looked(source.last(Look), 100, 0)) == [Open(2)], "the store is back"


def test_what_is_being_asked_is_not_given_back() -> None:
    source = Source().open()
    source.fetched(some(1, 3))
    source.fetched(some(4, 13))
    source.away()
    begun = source.now
    assert source.wait(begun + 29) == [Receive(2, some(1, 3), again=True)]
    assert source.wait(begun + 31) == [], "the store may be taking it"
    assert source.away() == [Back(some(1, 3)), Back(some(4, 13)), Close(1)]


def test_a_store_that_was_back_is_asked_soon_again() -> None:
    source = Source().open()
    source.fetched(some(1, 1))
    for _ in range(5):
        source.away()
        source.wait()
    source.received()
    source.fetched(some(2, 2))
    source.away()
    assert source.core.next_deadline() - source.now <= 0.1


def test_a_look_that_is_not_answered_found_no_store() -> None:
    source = Source().open()
    source.fetched(some(1, 1))
    source.hear(Crowded(2, 0, 1))
    source.wait()
    begun = source.now
    while source.core.health.state is not IntakeState.STORE_AWAY:
        source.wait()
    assert source.now == begun + 30
    assert source.core.health.why == "the store does not answer"


def test_a_late_answer_counts_and_is_not_repeated() -> None:
    source = Source().open()
    source.fetched(some(1, 3))
    source.hear(Fetched(3, Batch()))
    assert source.wait(source.now + 30) == []
    assert source.core.health == IntakeHealth(IntakeState.STORE_AWAY, "the store does not answer")
    assert source.hear(Crowded(2, 0, 1)) == [], "that answer is too late to say anything"
    assert source.hear(Unfit(2, "")) == []
    assert source.received()[0] == Done(some(1, 3))
    assert source.hear(Received(2, {})) == []
    assert source.hear(StoreAway(2, "late")) == []
    assert source.core.health.state is IntakeState.CONSUMING


def test_a_queue_takes_as_many_as_it_has_room_for() -> None:
    source = Source().open()
    source.fetched(some(1, 9))
    assert source.hear(Crowded(2, 4, 3)) == [Receive(4, some(1, 4))]
    assert source.hear(Crowded(4, 4, 3)) == [], "it says that it has room and does not take it"
    assert source.core.health.state is IntakeState.FULL
    assert source.wait() == [Look(5)]
    assert source.now == 103.0
    assert source.hear(Looked(5, 2, 1)) == [Receive(6, some(1, 2))]
    assert source.received() == [Done(some(1, 2)), Receive(7, some(3, 9))]


def test_a_full_queue_holds_the_source_and_gives_back_what_waits_too_long() -> None:
    source = Source().open()
    source.fetched(some(1, 2))
    source.hear(Crowded(2, 0, 0))
    assert source.fetched(some(3, 3)) == [], "nothing more is fetched"
    assert source.wait() == [Look(4)]
    assert source.now == 100.5, "not sooner than that"
    assert source.hear(Looked(4, 0, 60)) == [Hold(held=True)]
    assert source.wait() == [Look(5)]
    assert source.now == 105.5, "nor later"
    looks = 0
    while source.now < 130:
        assert source.hear(Looked(source.last(Look), 0, 60)) == []
        source.wait()
        looks += 1
    given_back = source.asked.index(Back(some(1, 3)))
    assert source.asked[given_back + 1] == Close(1), "and what the connection has read ahead with it"
    assert source.core.health.state is IntakeState.FULL
    assert looks == 5
    assert source.core.kept == 0
    source.wait()
    assert source.hear(Looked(source.last(Look), 3, 0)) == [Open(2)]
    assert source.hear(Opened(2)) == [Fetch(source.last(Fetch), 10, 0.5)]
    assert source.fetched(some(1, 5))[0] == Receive(source.last(Receive), some(1, 3))


def test_a_source_that_lost_its_broker_waits_for_room_before_it_opens() -> None:
    source = Source().open()
    source.fetched(some(1, 2))
    source.hear(Crowded(2, 0, 1))
    source.hear(Lost(1, "gone"))
    source.wait()
    assert source.hear(Looked(source.last(Look), 0, 1)) == []
    assert source.wait() == [Look(source.last(Look))]
    assert source.hear(Looked(source.last(Look), 1, 1)) == [Open(2)]


def test_a_message_that_the_store_refuses_is_found_and_kept_raw() -> None:
    source = Source().open()
    source.fetched(some(1, 4))
    assert source.hear(Unfit(2, "bad")) == [Receive(4, some(1, 2))]
    assert source.hear(Unfit(4, "bad")) == [Receive(5, some(1, 1))]
    assert source.received() == [Done(some(1, 1)), Receive(6, some(2, 3))]
    assert source.hear(Unfit(6, "bad")) == [Receive(7, some(2, 2))]
    assert source.hear(Unfit(7, "bad")) == [Receive(7, some(2, 2), raw=True)]
    assert source.received() == [Done(some(2, 2)), Receive(8, some(3, 4))]
    source.received()
    source.fetched(some(5, 14))
    assert source.hear(Received(source.last(Receive), {}))[0] == Done(some(5, 8))
    assert source.hear(Received(source.last(Receive), {}))[0] == Done(some(9, 14)), "then all together again"


def test_a_letter_that_the_store_refuses_waits() -> None:
    source = Source().open()
    source.fetched(some(1, 1))
    source.hear(Unfit(2, "bad"))
    assert source.hear(Unfit(2, "worse")) == []
    assert source.core.health == IntakeHealth(IntakeState.STORE_AWAY, "worse")
    assert source.wait() == [Receive(2, some(1, 1), again=True, raw=True)]


def test_answers_for_a_connection_that_is_gone_change_nothing() -> None:
    for answer in (
        Crowded(2, 0, 1),
        Crowded(2, 1, 1),
        Unfit(2, "bad"),
        StoreAway(2, "no store"),
        Received(2, {"0": 9}),
    ):
        source = Source().open()
        source.fetched(some(1, 3))
        source.hear(Lost(1, "gone"))
        asked = source.hear(answer)
        assert not any(isinstance(effect, Done | Back | Receive | Seek) for effect in asked)
        assert source.core.kept == 0


# --- Kafka -------------------------------------------------------------------------------------


def test_a_part_that_another_member_has_read_on_is_left_to_it() -> None:
    source = Source().open()
    source.fetched(records("0", 5, 5, 6).join(records("1", 0, 0, 1)))
    source.fetched(records("0", 7, 7, 8).join(records("1", 2, 2, 2)))
    rest, more = records("1", 0, 0, 1), records("1", 2, 2, 2)
    assert source.received({"0": 20})[:2] == [Seek({"0": 20}), Receive(5, rest.join(more))]


def test_a_part_that_stands_where_ours_ends_needs_no_seek() -> None:
    source = Source().open()
    source.fetched(records("0", 5, 5, 6).join(records("1", 0, 0, 1)))
    source.fetched(records("0", 7, 7, 8))
    assert source.received({"0": 7})[0] == Receive(5, records("1", 0, 0, 1).join(records("0", 7, 7, 8)))


def test_our_own_commit_whose_answer_was_lost_is_a_commit() -> None:
    source = Source().open()
    source.fetched(records("0", 5, 5, 6))
    source.away()
    source.wait()
    assert source.received({"0": 7})[0] == Done(records("0", 5, 5, 6))


def test_a_batch_without_marks_is_not_acknowledged_where_something_moved() -> None:
    source = Source().open()
    source.fetched(some(1, 1))
    assert not any(isinstance(effect, Done) for effect in source.received({"0": 9}))


# --- the end -----------------------------------------------------------------------------------


def test_a_drain_finishes_the_commit_and_gives_the_rest_back() -> None:
    source = Source().open()
    source.fetched(some(1, 3))
    source.fetched(some(4, 5))
    assert source.hear(DrainAsked()) == [Back(some(4, 5))]
    assert source.core.health.state is IntakeState.DRAINING
    assert source.fetched(some(6, 6)) == [Back(some(6, 6))]
    assert source.received() == [Done(some(1, 3)), Close(1), Drained()]
    assert source.core.next_deadline() == math.inf
    assert source.hear(DrainAsked()) == []


def test_a_drain_ends_whatever_it_waits_for() -> None:
    source = Source()
    assert source.hear(DrainAsked()) == [Drained()], "before the beginning"
    source = Source()
    source.wait()
    assert source.hear(DrainAsked()) == [Close(1), Drained()], "while it connects"
    source = Source().open()
    source.fetched(some(1, 3))
    source.hear(DrainAsked())
    assert source.away() == [Back(some(1, 3)), Close(1), Drained()], "without a store"
    source = Source().open()
    source.fetched(some(1, 3))
    source.hear(DrainAsked())
    assert source.wait(source.now + 30) == [Back(some(1, 3)), Close(1), Drained()], "without an answer"
    source = Source().open()
    source.fetched(some(1, 3))
    source.hear(Crowded(2, 0, 1))
    source.wait()
    assert source.hear(DrainAsked()) == [Back(some(1, 3)), Close(1), Drained()], "while the queue is full"
    source.wait()
    assert source.core.next_deadline() == math.inf, "nor does it ask any more"


def test_health_is_told_when_it_changes() -> None:
    source = Source().open()
    source.fetched(some(1, 1))
    source.away()
    source.wait()
    source.received()
    told = [effect.health.state for effect in source.all if isinstance(effect, Tell)]
    assert told == [IntakeState.CONSUMING, IntakeState.STORE_AWAY, IntakeState.CONSUMING]
