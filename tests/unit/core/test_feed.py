import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import PositionLost
from headrace.core.feed import Position, merge
from headrace.core.model import Update, UpdateKind

ITEM, STATE, PROGRESS, END = UpdateKind.ITEM, UpdateKind.STATE, UpdateKind.PROGRESS, UpdateKind.END


def update(offset: int, kind: UpdateKind = ITEM, at: float = 0.0, data: str = "") -> Update:
    return Update(offset, kind, 1, data, at)


# --- positions ---------------------------------------------------------------------------------


@given(st.from_regex(r"[0-9a-z]{1,32}", fullmatch=True), st.integers(0, 10**18 - 1))
def test_a_position_survives_its_text(epoch: str, offset: int) -> None:
    position = Position(epoch, offset)
    assert Position.parse(str(position)) == position


@given(st.text())
def test_any_text_is_a_position_or_refused(text: str) -> None:
    try:
        position = Position.parse(text)
    except PositionLost:
        return
    assert str(position) == text


@pytest.mark.parametrize(
    "text", ["", ":", "a:", ":1", "a:-1", "a:01", "a:1 ", "a:1\n", "A:1", "a:1:2", "a:٣", "é:1", "a:" + "9" * 19]
)
def test_what_is_no_position_is_lost(text: str) -> None:
    with pytest.raises(PositionLost):
        Position.parse(text)


def test_a_position_resumes_within_its_epoch_up_to_the_end() -> None:
    assert Position("a", 3).resumes("a", 3)
    assert Position("a", 0).resumes("a", 3)
    assert not Position("a", 4).resumes("a", 3)
    assert not Position("b", 3).resumes("a", 3)


# --- merge -------------------------------------------------------------------------------------


def test_nothing_merges_to_nothing() -> None:
    assert merge(5, [], []) == []


def test_history_and_live_overlap() -> None:
    history, live = [update(2), update(3)], [update(3), update(4)]
    assert merge(1, history, live) == [update(2), update(3), update(4)]


def test_what_the_reader_has_is_left_out() -> None:
    assert merge(3, [update(2), update(3)], [update(3)]) == []


@pytest.mark.parametrize(("after", "offsets"), [(0, [2]), (1, [2, 4]), (0, [1, 3]), (5, [7]), (0, [1, 2, 5])], ids=str)
def test_a_gap_is_told(after: int, offsets: list[int]) -> None:
    assert merge(after, [], [update(offset) for offset in offsets]) is None


def test_the_latest_progress_stands_where_it_was_made() -> None:
    early, late = update(1, PROGRESS, 1.0, "1"), update(1, PROGRESS, 2.0, "2")
    assert merge(0, [update(1), early], [late, early, update(2)]) == [update(1), late, update(2)]
    assert merge(1, [], [early, late]) == [late]
    assert merge(1, [late], []) == [late]


def test_of_equal_progress_the_later_told_counts() -> None:
    assert merge(1, [update(1, PROGRESS, 1.0, "1")], [update(1, PROGRESS, 1.0, "2")]) == [update(1, PROGRESS, 1.0, "2")]


@pytest.mark.parametrize("kind", [STATE, END])
def test_progress_goes_when_its_attempt_has_ended(kind: UpdateKind) -> None:
    assert merge(0, [update(1), update(2, kind)], [update(1, PROGRESS)]) == [update(1), update(2, kind)]


def test_progress_after_a_state_stays() -> None:
    assert merge(0, [update(1, STATE)], [update(1, PROGRESS)]) == [update(1, STATE), update(1, PROGRESS)]


def test_progress_from_before_the_position_is_old() -> None:
    assert merge(3, [update(2, PROGRESS)], [update(4)]) == [update(4)]


def test_progress_beyond_the_end_shows_a_gap() -> None:
    assert merge(1, [update(2)], [update(4, PROGRESS)]) is None
    assert merge(1, [], [update(2, PROGRESS)]) is None


@given(st.data())
def test_however_it_is_told_each_update_comes_once_in_order(data: st.DataObject) -> None:
    end = data.draw(st.integers(0, 12))
    after = data.draw(st.integers(0, end))
    told = [update(offset, data.draw(st.sampled_from([ITEM, STATE]))) for offset in range(1, end + 1)]
    history = told[: data.draw(st.integers(0, end))]
    live = data.draw(st.lists(st.sampled_from(told), max_size=20)) if told else []
    progress = [update(data.draw(st.integers(0, end)), PROGRESS, at) for at in range(data.draw(st.integers(0, 3)))]
    merged = merge(after, history, [*live, *progress])
    seen = sorted({one.offset for one in [*history, *live] if one.offset > after})
    whole = seen == list(range(after + 1, after + len(seen) + 1))
    if merged is None:
        assert not whole or any(one.offset > after + len(seen) for one in progress)
        return
    assert whole
    assert [one.offset for one in merged if one.kind is not PROGRESS] == seen
    assert [one.offset for one in merged] == sorted(one.offset for one in merged)
    assert sum(one.kind is PROGRESS for one in merged) <= 1
