"""The clock of a source, which stands still while nobody takes from it."""

from headrace.core.consumed import PARTS, Consumed

WINDOW_S = 160.0


def told(clock: Consumed, begin: int, end: int, every: int = 10) -> Consumed:
    """Somebody takes from then to then, and says so now and then."""
    for at in range(begin, end, every):
        clock = clock.after([(at, at + every)], WINDOW_S)
    return Consumed.read(clock.document())


def test_a_break_of_days_does_not_count() -> None:
    clock = told(Consumed(), 1_000, 1_100)
    assert clock.past(WINDOW_S) is None
    clock = told(clock, 500_000, 500_050)
    assert clock.past(WINDOW_S) is None, "what came just before it may still be given again"
    clock = told(clock, 500_050, 500_080)
    assert clock.past(WINDOW_S) == 1_020
    clock = told(clock, 500_080, 500_170)
    assert clock.past(WINDOW_S) == 500_010


def test_short_breaks_do_not_begin_it_anew() -> None:
    clock = Consumed()
    for begin in range(0, 600, 60):
        clock = told(clock, begin, begin + 50)
    assert 350 < (clock.past(WINDOW_S) or 0) <= 400


def test_several_processes_make_it_no_faster() -> None:
    clock = Consumed()
    for at in range(0, 100, 10):
        for late in (0, 3, 5):
            clock = clock.after([(max(0, at + late - 10), at + late)], WINDOW_S)
    assert clock.taken_s == 95
    assert clock.after([(20, 60)], WINDOW_S).taken_s == 95, "told late, or again"
    assert clock.after([(200, 190)], WINDOW_S).taken_s == 95, "it had not settled yet"


def test_few_marks_are_kept() -> None:
    clock = told(Consumed(), 0, 5_000, 1)
    assert len(clock.marks) <= PARTS + 2
    assert 4_820 < (clock.past(WINDOW_S) or 0) <= 4_840
