"""The events that a relay knows: order within a key, and what is left in the outbox."""

import math

from headrace.core.event import Event, Outgoing
from headrace.core.relay_events import RelaySettings
from headrace.core.relay_rows import Rows


def out(place: int, key: str | None = "a", body: bytes = b"") -> Outgoing:
    return Outgoing(place, Event(bytes(16), "sink", "target", key, body=body))


def rows(*places: int, key_max: int = 3) -> Rows:
    made = Rows(RelaySettings(key_known_max=key_max))
    for place in places:
        made.add(out(place))
    return made


def take(from_rows: Rows, now: float = 0.0) -> int | None:
    taken = from_rows.take(1, now, now + 1)
    return taken[0].out.place if taken else None


def test_a_late_one_takes_the_room_of_the_last() -> None:
    known = rows(2, 3, 4)
    known.add(out(1))
    assert [place in known for place in (1, 2, 3, 4)] == [True, True, True, False]
    assert known.left_out == {"a"}
    assert take(known) == 1


def test_the_last_of_too_many_stays_in_the_outbox() -> None:
    known = rows(1, 2, 3, 4)
    assert (len(known), 4 in known) == (3, False)
    known.add(out(0))
    assert 0 not in known, "the outbox is read from the beginning later"


def test_a_key_comes_back_with_a_rewind_and_not_before() -> None:
    known = rows(1, 2, key_max=1)
    assert take(known) == 1
    assert known.remove([1]) == [1]
    assert known.wants_rewind
    known.add(out(3))
    assert take(known) is None, "two is still in the outbox"
    known.rewind()
    assert (known.left_out, known.wants_rewind) == (set(), False)
    known.add(out(2))
    assert take(known) == 2


def test_one_that_is_under_way_is_not_taken_twice() -> None:
    known = rows(1)
    known.add(out(2, None))
    assert (take(known), take(known), take(known)) == (1, 2, None)
    known.back([2])
    known.back([2])
    assert (take(known), take(known)) == (2, None)
    assert known.refuse(9) == 0


def test_one_that_was_refused_waits_for_its_time() -> None:
    known = rows(1, 2)
    assert take(known) == 1
    assert known.refuse(1) == 1
    known.pause(1, 5.0)
    assert take(known, 4.0) is None
    assert (known.paused, known.next_at(), 2 in known) == (1, 5.0, False)
    known.add(out(3, None))
    assert known.next_at() == -math.inf
    assert take(known, 4.0) == 3
    assert take(known, 5.0) == 1
    assert (known.paused, known.next_at()) == (0, math.inf)
    assert known.refuse(1) == 2
    known.pause(1, 9.0)
    assert known.remove([1, 7]) == [1]
    assert known.remove([1]) == []
    assert known.next_at() == math.inf
    assert known.wants_rewind


def test_two_tries_at_different_times_are_two() -> None:
    known = Rows(RelaySettings(key_known_max=3))
    known.add(out(1, None))
    for until in (5.0, 20.0):
        assert take(known, 5.0 if until > 5 else 0.0) == 1
        known.refuse(1)
        known.pause(1, until)
    known.back([1])
    assert take(known, 19.0) is None
    assert take(known, 20.0) == 1


def test_what_waits_is_forgotten_and_what_is_under_way_is_not() -> None:
    known = rows(1, 2, key_max=1)
    known.add(out(3, None))
    assert take(known) == 1
    known.forget_waiting()
    assert (len(known), known.left_out, known.next_at()) == (1, set(), math.inf)
    known.add(out(2))
    assert take(known) is None


def test_bytes_are_those_of_what_is_known() -> None:
    known = Rows(RelaySettings(key_known_max=2, refused_bytes_max=1_000))
    for place, size in ((4, 1), (6, 100), (1, 1_000), (5, 10)):  # 6 makes room, and 5 has none
        known.add(out(place, body=bytes(size)))
    known.add(out(7, None, bytes(10_000)))
    known.add(out(7, None, bytes(10_000)))
    assert known.bytes == 11_001
    assert [row.out.place for row in known.take(9, 0.0, 1.0)] == [1, 7]
    known.refuse(1)
    known.pause(1, 5.0)
    assert (known.bytes, known.crowded) == (11_000, True), "4 is left in the outbox"
    known.forget_waiting()
    assert (known.bytes, known.crowded) == (10_000, False)
    known.remove([7])
    assert known.bytes == 0


def pages(*places: int) -> Rows:
    """Of a sink that keeps the order itself, all of key a and under way."""
    made = Rows(RelaySettings(one_per_key=False))
    for place in places:
        made.add(out(place))
    assert [row.out.place for row in made.take(9, 0.0, 1.0)] == list(places)
    return made


def test_a_key_waits_for_one_that_was_refused_also_where_many_are_under_way() -> None:
    known = pages(1, 2, 3)
    known.add(out(4))
    assert known.refuse(1) == 1
    known.pause(1, 5.0)
    assert (4 in known, known.is_held(2), known.is_held(1)) == (False, True, False)
    assert known.defer(2) == 1
    known.pause(2, 4.0)
    known.back([3])
    assert (len(known), known.paused, known.left_out) == (1, 1, {"a"})
    known.add(out(5))
    assert take(known, 4.0) is None
    assert take(known, 5.0) == 1
    known.back([1])
    assert take(known, 5.0) == 1
    known.remove([1])
    assert known.wants_rewind


def test_of_two_that_were_refused_the_first_is_waited_for() -> None:
    known = pages(1, 2)
    for place, until in ((2, 3.0), (1, 5.0)):
        known.refuse(place)
        known.pause(place, until)
    assert (1 in known, 2 in known, known.paused) == (True, False, 1)
    assert take(known, 4.0) is None


def test_another_is_the_next_one_or_the_first() -> None:
    known = rows(1)
    known.add(out(2))  # waits for the first of its key
    known.add(out(3, None))
    known.add(out(4, None))
    for than, place in ((0, 1), (1, 3), (3, 4), (4, 1)):
        assert [row.out.place for row in known.take_another(than, 0.0, 1.0)] == [place]
        known.back([place])
    for place in (1, 3, 4):
        assert take(known) == place
    known = pages(1, 2)
    known.back([2])
    known.back([1])
    assert [row.out.place for row in known.take_another(1, 0.0, 1.0)] == [1], "nothing before the first of its key"
    known = rows(1, 2)
    assert [row.out.place for row in known.take_another(0, 0.0, 1.0)] == [1]
    assert known.take_another(0, 0.0, 1.0) == []
    assert known.next_at() == math.inf
