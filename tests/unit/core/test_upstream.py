"""One process's side of an upstream."""

import pytest

from headrace.core.breaker import Breaker, CallCounts
from headrace.core.fleet import SLICE_S, BreakerState, Fleet, Said, Terms
from headrace.core.upstream import Refusal, Refused, Ticket, UpstreamCore

TERMS = Terms(
    Breaker(
        sliding_window_size=10,
        minimum_number_of_calls=4,
        slow_call_duration_threshold=2,
        wait_duration_in_open_state=5,
        permitted_number_of_calls_in_half_open_state=2,
    )
)


class Pair:
    """A process and the document."""

    def __init__(self, terms: Terms = TERMS) -> None:
        self.core = UpstreamCore("a", terms, 0.0)
        self.terms = terms
        self.now = 0.0
        self.text: str | None = None
        self.speak()

    def speak(self) -> None:
        said = self.core.said(self.now)
        fleet = Fleet.of(self.text, self.now)
        told = fleet.hear(said, self.terms)
        self.text = fleet.text
        self.core.told(told, self.now, said)

    def call(self, *, failed: bool | None = False, took: float = 0.0, permit: str | None = None) -> None:
        ticket = self.core.acquire(self.now, permit)
        assert isinstance(ticket, Ticket), ticket
        self.now += took
        self.core.end(ticket, self.now, failed=failed)

    def refused(self) -> Refused:
        answer = self.core.acquire(self.now)
        assert isinstance(answer, Refused)
        return answer


def test_it_opens_at_once_by_itself_and_says_so() -> None:
    pair = Pair()
    for _ in range(3):
        pair.call(failed=True)
    assert pair.core.state is BreakerState.CLOSED, "not enough calls"
    pair.call(failed=False)
    assert pair.refused() == Refused(Refusal.OPEN, 5, reason="3 of 4 calls failed (75 %, threshold 50 %)")
    assert pair.core.due(pair.now)
    pair.speak()
    assert Fleet.of(pair.text, 0).state is BreakerState.OPEN
    assert not pair.core.due(pair.now)


def test_what_others_counted_counts_here() -> None:
    pair = Pair()
    other = UpstreamCore("b", TERMS, 0)
    pair.call(failed=True)
    fleet = Fleet.of(pair.text, 0)
    ticket = other.acquire(0)
    assert isinstance(ticket, Ticket)
    said = other.said(0)
    other.told(fleet.hear(said, TERMS), 0, said)
    for _ in range(2):
        ticket = other.acquire(0)
        assert isinstance(ticket, Ticket)
        other.end(ticket, 0, failed=True)
    fleet.hear(other.said(0), TERMS)
    pair.core.told(fleet.tell("a", TERMS), 0)
    pair.call(failed=False)
    assert pair.core.state is BreakerState.OPEN, "1 of 2 here, 2 of 2 there"


def test_a_call_that_says_nothing_is_no_outcome() -> None:
    pair = Pair()
    for _ in range(20):
        pair.call(failed=None)
    assert not pair.core.due(pair.now + 100), "there is nothing to say"


def test_slow_calls_open_it() -> None:
    pair = Pair()
    for _ in range(4):
        pair.call(took=2.5)
    assert pair.core.state is BreakerState.OPEN
    assert "took longer than 2 s" in pair.core.reason


def test_a_success_of_another_generation_closes_nothing() -> None:
    pair = Pair()
    slow = [pair.core.acquire(pair.now) for _ in range(9)]
    for _ in range(4):
        pair.call(failed=True)
    pair.speak()
    pair.now += 5
    pair.core.ask_permits(pair.now, 1)
    pair.speak()
    assert pair.core.state is BreakerState.HALF_OPEN
    for ticket in slow:
        assert isinstance(ticket, Ticket)
        pair.core.end(ticket, pair.now, failed=False)
    pair.speak()
    assert pair.core.state is BreakerState.HALF_OPEN
    assert pair.core.counts == CallCounts(), "nor does it count later"


def test_probes_close_it_and_there_is_a_ramp() -> None:
    pair = Pair()
    for _ in range(4):
        pair.call(failed=True)
    pair.speak()
    assert not pair.core.ask_permits(pair.now, 2), "too early"
    pair.now += 5
    assert pair.refused().ask
    assert pair.core.ask_permits(pair.now, 5)
    pair.speak()
    assert pair.core.free_permits == 2, "as many as are permitted"
    kept = pair.core.take_permit()
    first = pair.core.acquire(pair.now, kept)
    assert isinstance(first, Ticket)
    assert pair.core.acquire(pair.now, kept) == Refused(Refusal.FULL, 1, reason="its attempt has a call under way"), (
        "one call at a time"
    )
    pair.core.end(first, pair.now, failed=False)
    pair.call(permit=kept)
    pair.call()
    assert pair.refused().why is Refusal.PROBING
    assert kept is not None
    pair.core.end_permit(kept, failed=False)
    pair.core.end_permit(kept, failed=True)  # repeated
    pair.speak()
    assert pair.core.state is BreakerState.CLOSED
    assert pair.core.ramp_from == pair.now


def test_permits_that_nobody_uses_are_given_back() -> None:
    pair = Pair()
    for _ in range(4):
        pair.call(failed=True)
    pair.speak()
    pair.now += 5
    pair.core.ask_permits(pair.now, 2)
    pair.speak()
    pair.core.drop_free_permits(pair.now + 0.9, 1)
    assert pair.core.free_permits == 2
    pair.core.drop_free_permits(pair.now + 1, 1)
    pair.now += 1
    assert pair.core.due(pair.now), "others wait for them"
    pair.speak()
    assert not Fleet.of(pair.text, pair.now).permits
    assert pair.core.due(pair.now) is False
    pair.core.ask_permits(pair.now, 1)
    pair.speak()
    assert list(Fleet.of(pair.text, pair.now).permits) == ["a/3"]


def test_without_the_fleet_it_stays_open() -> None:
    pair = Pair()
    for _ in range(4):
        pair.call(failed=True)
    pair.now += 3_600
    assert pair.refused().ask
    assert not pair.core.ask_permits(pair.now, 1), "the fleet has not heard that it is open"


def test_forced_open_and_disabled() -> None:
    pair = Pair()
    fleet = Fleet.of(pair.text, 0)
    fleet.force("open")
    pair.core.told(fleet.tell("a", TERMS), 0)
    assert pair.refused().reason == "by hand"
    assert not pair.refused().ask
    fleet.force("disable")
    pair.core.told(fleet.tell("a", TERMS), 0)
    for _ in range(50):
        pair.call(failed=True)
    assert pair.core.state is BreakerState.DISABLED


def test_slots_are_asked_for_ahead_and_lapse() -> None:
    pair = Pair(Terms(None, 3))
    assert pair.refused() == Refused(Refusal.FULL, 1, ask=True, reason="3 calls are under way")
    pair.core.slots.waiting = 1
    assert pair.core.due(pair.now)
    pair.speak()
    pair.core.slots.waiting = 0
    tickets = [pair.core.acquire(pair.now) for _ in range(3)]
    assert all(isinstance(each, Ticket) for each in tickets)
    assert pair.refused().why is Refusal.FULL
    ticket = tickets[0]
    assert isinstance(ticket, Ticket)
    pair.core.end(ticket, pair.now, failed=None)
    pair.call()
    pair.now += SLICE_S
    assert pair.refused().why is Refusal.FULL, "its slice is not its own any more"
    pair.speak()
    pair.call()


@pytest.mark.parametrize("count", [1, 7])
def test_a_slice_that_is_not_used_goes_back(count: int) -> None:
    pair = Pair(Terms(None, 7))
    pair.core.slots.waiting = count
    pair.speak()
    pair.core.slots.waiting = 0
    assert Fleet.of(pair.text, pair.now).slots == 7
    pair.now += 11
    assert pair.core.due(pair.now)
    pair.speak()
    pair.now += 1
    assert pair.core.due(pair.now)
    pair.speak()
    assert Fleet.of(pair.text, pair.now).slots == 0
    pair.now += 100
    assert not pair.core.due(pair.now)


def broken(pair: Pair) -> None:
    for _ in range(4):
        pair.call(failed=True)
    pair.speak()
    pair.now += 5
    pair.core.ask_permits(pair.now, 2)
    pair.speak()


def test_a_failure_of_another_generation_does_not_count_once_it_is_closed_again() -> None:
    pair = Pair()
    late = [pair.core.acquire(pair.now) for _ in range(9)]
    broken(pair)
    for _ in range(2):
        pair.call()
    pair.speak()
    assert pair.core.state is BreakerState.CLOSED
    for ticket in late:
        assert isinstance(ticket, Ticket)
        pair.core.end(ticket, pair.now, failed=True)
    assert pair.core.state is BreakerState.CLOSED
    assert pair.core.said(pair.now).counts == CallCounts()


def test_a_permit_that_was_granted_to_others_is_of_no_use() -> None:
    pair = Pair()
    broken(pair)
    kept = pair.core.take_permit()
    assert kept is not None
    pair.now += 8
    assert pair.core.acquire(pair.now, kept) == Refused(Refusal.PROBING, 1, True, pair.core.reason), "not heard of"
    pair.now += 100
    fleet = Fleet.of(pair.text, pair.now)
    fleet.hear(Said("b", permits=("b/1", "b/2")), TERMS)
    pair.text = fleet.text
    pair.speak()
    assert isinstance(pair.core.acquire(pair.now, kept), Refused)


def test_an_old_look_at_the_document_changes_nothing() -> None:
    pair = Pair()
    old = Fleet.of(pair.text, 0).tell("a", TERMS)
    broken(pair)
    pair.core.told(old, pair.now)
    assert pair.core.state is BreakerState.HALF_OPEN


def test_permits_that_are_not_named_any_more_are_free_for_others() -> None:
    pair = Pair()
    broken(pair)
    pair.core.drop_free_permits(pair.now + 1, 1)
    pair.speak()
    fleet = Fleet.of(pair.text, pair.now)
    assert fleet.hear(Said("b", permits=("b/1", "b/2")), TERMS).permits == {"b/1", "b/2"}


def test_calls_from_before_the_fleet_was_heard_of_count() -> None:
    core = UpstreamCore("a", TERMS, 0)
    tickets = [core.acquire(0) for _ in range(4)]
    for ticket in tickets[:2]:
        assert isinstance(ticket, Ticket)
        core.end(ticket, 0, failed=True)
    fleet = Fleet.of(None, 0)
    said = core.said(0)
    core.told(fleet.hear(said, TERMS), 0, said)
    for ticket in tickets[2:]:
        assert isinstance(ticket, Ticket)
        core.end(ticket, 0, failed=True)
    assert core.state is BreakerState.OPEN
    assert fleet.hear(core.said(0), TERMS).state is BreakerState.OPEN
