"""A look from the beginning that was dear is not made again at once."""

from headrace.stores.postgres.heads import Heads
from headrace.testing.clock import ManualClock


def test_a_dear_look_says_where_the_next_ones_begin() -> None:
    clock = ManualClock()
    heads = Heads[int](clock.now)
    assert heads.begin("kafka", 0) == 0
    began = clock.now()
    clock.advance(0.5)
    heads.looked("kafka", 99, 150, began)
    assert [heads.begin("kafka", after) for after in (0, 50, 120)] == [99, 99, 120]
    assert heads.begin("nats", 0) == 0
    clock.advance(9.9)
    assert heads.begin("kafka", 0) == 99
    clock.advance(0.2)
    assert heads.begin("kafka", 0) == 0


def test_a_cheap_one_or_one_in_the_middle_says_nothing() -> None:
    clock = ManualClock()
    heads = Heads[int](clock.now)
    heads.looked("kafka", 99, 150, clock.now())
    clock.advance(5)
    heads.looked("kafka", 99, 150, None)
    assert heads.begin("kafka", 0) == 0


def test_where_nothing_was_found_it_ends_where_the_last_one_stood() -> None:
    clock = ManualClock()
    heads = Heads[int](clock.now)
    began = clock.now()
    clock.advance(1)
    heads.looked("kafka", None, None, began)
    assert heads.begin("kafka", 0) == 0, "it may be somewhere"
    heads.looked("kafka", None, 150, None)
    heads.looked("kafka", None, 120, None)
    heads.looked("kafka", None, None, began)
    assert heads.begin("kafka", 0) == 150
