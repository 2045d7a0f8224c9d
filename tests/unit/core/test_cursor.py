from hypothesis import given
from hypothesis import strategies as st

from headrace.core.cursor import Cursor
from headrace.core.feed import Position
from headrace.core.model import FeedPage, Update, UpdateKind
from headrace.core.states import JobState


def update(
    offset: int, kind: UpdateKind = UpdateKind.ITEM, attempt: int = 1, at: float = 0.0, data: str = "1"
) -> Update:
    return Update(offset, kind, attempt, data, at)


def page(end: int, *updates: Update, progress: Update | None = None, epoch: str = "e") -> FeedPage:
    return FeedPage(epoch, end, updates, progress, JobState.RUNNING)


def test_only_what_is_new_is_taken() -> None:
    cursor = Cursor(Position("e", 2))
    taken = cursor.take(page(4, update(2), update(3), update(4)))
    assert [each.offset for each in taken.updates] == [3, 4]
    assert not taken.lost
    assert not taken.more


def test_taking_does_not_move_it_and_advancing_does() -> None:
    cursor = Cursor(Position("e", 2))
    assert cursor.take(page(3, update(3))) == cursor.take(page(3, update(3)))
    assert str(cursor.advance(update(3))) == "e:3"
    assert cursor.take(page(3, update(3))).updates == ()


def test_a_page_that_does_not_reach_the_end_asks_for_more_and_holds_progress_back() -> None:
    cursor = Cursor(Position("e", 0))
    progress = update(9, UpdateKind.PROGRESS)
    taken = cursor.take(page(9, update(1), update(2), progress=progress))
    assert taken.more
    assert progress not in taken.updates


def test_lost_places() -> None:
    at = Position("e", 2)
    assert Cursor(at).take(page(3, update(3), epoch="f")).lost
    assert Cursor(at).take(page(1)).lost
    assert Cursor(at).take(page(4, update(4))).lost
    assert Cursor(at).take(page(5, update(3), update(5))).lost
    assert Cursor(at).take(page(4)).lost


def test_progress_comes_last_once_and_keeps_the_position() -> None:
    cursor = Cursor(Position("e", 1))
    progress = update(1, UpdateKind.PROGRESS, at=5.0, data="a")
    taken = cursor.take(page(2, update(2), progress=progress))
    assert [each.kind for each in taken.updates] == [UpdateKind.ITEM, UpdateKind.PROGRESS]
    for each in taken.updates:
        cursor.advance(each)
    assert str(cursor.position) == "e:2"
    assert cursor.take(page(2, progress=progress)).updates == ()
    newer = update(2, UpdateKind.PROGRESS, at=5.0, data="b")
    assert cursor.take(page(2, progress=newer)).updates == (newer,)


def test_older_progress_is_no_news_but_that_of_a_new_attempt_is() -> None:
    cursor = Cursor(Position("e", 1))
    cursor.advance(update(1, UpdateKind.PROGRESS, attempt=2, at=5.0, data="a"))
    for attempt, at in ((2, 4.0), (1, 9.0)):
        assert cursor.take(page(1, progress=update(1, UpdateKind.PROGRESS, attempt, at, "b"))).updates == ()
    assert cursor.take(page(1, progress=update(1, UpdateKind.PROGRESS, 3, 1.0, "a"))).updates != ()


def test_no_progress_after_the_end() -> None:
    cursor = Cursor(Position("e", 1))
    taken = cursor.take(page(2, update(2, UpdateKind.END), progress=update(1, UpdateKind.PROGRESS)))
    assert [each.kind for each in taken.updates] == [UpdateKind.END]


@given(
    end=st.integers(0, 40), start=st.integers(0, 40), reads=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 7)))
)
def test_each_update_once_and_in_order_whatever_the_pages(end: int, start: int, reads: list[tuple[int, int]]) -> None:
    start = min(start, end)
    cursor, seen = Cursor(Position("e", start)), []
    reads += [(back, 7) for back in [0] * 10]
    for back, limit in reads:
        after = max(0, cursor.position.offset - back)  # a shared read may begin earlier
        offsets = range(after + 1, min(after + limit, end) + 1)
        taken = cursor.take(page(end, *(update(offset) for offset in offsets)))
        if taken.lost:
            assert offsets.stop <= cursor.position.offset + 1 <= end  # it held nothing new, so it could not tell
            continue
        for each in taken.updates:
            cursor.advance(each)
            seen.append(each.offset)
    assert seen == list(range(start + 1, end + 1))
