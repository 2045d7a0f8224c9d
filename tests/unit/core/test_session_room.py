"""What a live connection asks the store for, and what it must not."""

import pytest

from headrace.core.feed import Position
from headrace.core.model import FeedPage, Update, UpdateKind
from headrace.core.session import READS_MAX, SessionCore
from headrace.core.session_events import (
    CONNECTION,
    FrameReceived,
    Grant,
    Granted,
    Missed,
    News,
    Open,
    Opened,
    PageRead,
    Read,
    ReadFailed,
    SessionEffect,
    SessionLimits,
    Write,
    Written,
)
from headrace.core.states import JobState

JOB = "018f0000-0000-7000-8000-0000000000"


def connected(limits: SessionLimits | None = None) -> SessionCore:
    core = SessionCore(limits or SessionLimits(), 0.0)
    core.handle(FrameReceived('{"type":"connect","token":"t"}'), 0.0)
    core.handle(Granted(CONNECTION, Grant(reads_all=True)), 0.0)
    core.handle(Written(), 0.0)
    return core


def subscribe(core: SessionCore, number: int) -> list[SessionEffect]:
    frame = f'{{"type":"subscribe","id":"{number}","topic":"job:{JOB}{number:02x}"}}'
    return core.handle(FrameReceived(frame), 0.0)


def test_snapshots_wait_for_room() -> None:
    core = connected(SessionLimits(queued_bytes_max=10_000))
    opens = [effect for number in range(30) for effect in subscribe(core, number) if isinstance(effect, Open)]
    assert len(opens) == READS_MAX
    for effect in opens:
        following = core.handle(Opened(effect.ref, False, Position("e", 0), '"' + "x" * 10_000 + '"'), 0.0)
    assert not any(isinstance(effect, Open | Read) for effect in following)
    assert core.queued_bytes < 2 * 10_200
    asked: list[SessionEffect] = []
    for _ in range(READS_MAX + 1):
        asked += core.handle(Written(), 0.0)
    assert any(isinstance(effect, Open | Read) for effect in asked)


def test_snapshots_that_arrive_together_leave_the_bound_and_one_frame() -> None:
    core = connected(SessionLimits(queued_bytes_max=10_000))
    opens = [effect for number in range(READS_MAX) for effect in subscribe(core, number) if isinstance(effect, Open)]
    for effect in opens:
        core.handle(Opened(effect.ref, False, Position("e", 0), '"' + "x" * 9_900 + '"'), 0.0)
        assert core.queued_bytes < 10_000 + 10_200
    answered: set[int] = set()
    for _ in range(4 * READS_MAX):
        for effect in core.handle(Written(), 0.0):
            if isinstance(effect, Write):
                answered |= {number for number in range(READS_MAX) if f'"id":"{number}"' in effect.text}
            elif isinstance(effect, Open):
                core.handle(Opened(effect.ref, False, Position("e", 0), '"' + "x" * 9_900 + '"'), 0.0)
    assert len(answered) >= READS_MAX - 1  # the first was being written from the beginning


def test_jobs_past_their_retention_do_not_stop_the_others() -> None:
    core = connected()
    for number in range(READS_MAX):
        (opened,) = [effect for effect in subscribe(core, number) if isinstance(effect, Open)]
        (read,) = [e for e in core.handle(Opened(opened.ref, True, Position("e", 0)), 0.0) if isinstance(e, Read)]
        core.handle(Missed(read.ref), 0.0)
    assert any(isinstance(effect, Open) for effect in subscribe(core, 99))


def test_of_progress_that_waits_only_the_latest_is_sent() -> None:
    core = connected()
    (opened,) = [effect for effect in subscribe(core, 1) if isinstance(effect, Open)]
    core.handle(Opened(opened.ref, True, Position("e", 0)), 0.0)  # its frame is being written, and stays so
    for done in range(100):
        progress = Update(0, UpdateKind.PROGRESS, 1, f'{{"done":{done}}}', float(done))
        core.handle(PageRead(opened.ref, FeedPage("e", 0, (), progress, JobState.RUNNING)), 0.0)
        core.handle(News(opened.ref), 0.0)
        assert core.queued_bytes < 300
    (write,) = [effect for effect in core.handle(Written(), 0.0) if isinstance(effect, Write)]
    assert '{"done":99}' in write.text
    assert not core.handle(Written(), 0.0)


def test_reads_shrink_to_what_fits() -> None:
    core = connected(SessionLimits(queued_bytes_max=1_000))
    (opened,) = [effect for effect in subscribe(core, 1) if isinstance(effect, Open)]
    core.handle(Opened(opened.ref, True, Position("e", 0)), 0.0)
    updates = tuple(Update(n, UpdateKind.ITEM, 1, '"' + "x" * 600 + '"', 0.0) for n in range(1, 51))
    core.handle(PageRead(opened.ref, FeedPage("e", 50, updates, None, JobState.RUNNING)), 0.0)
    reads: list[Read] = []
    while not reads:
        reads += [effect for effect in core.handle(Written(), 0.0) if isinstance(effect, Read)]
    assert reads[0].limit == 4
    assert reads[0].after == 2


def opened(core: SessionCore, number: int = 1) -> int:
    """Subscribe from the feed's beginning; the first frame is being written, the first page being read."""
    (asked,) = [effect for effect in subscribe(core, number) if isinstance(effect, Open)]
    assert reads(core.handle(Opened(asked.ref, True, Position("e", 0)), 0.0))
    return asked.ref


def reads(effects: list[SessionEffect]) -> list[Read]:
    return [effect for effect in effects if isinstance(effect, Read)]


def items(first: int, last: int, size: int = 600) -> tuple[Update, ...]:
    data = f'"{"x" * size}"'
    return tuple(Update(n, UpdateKind.ITEM, 1, data, 0.0) for n in range(first, last + 1))


def page(end: int, *updates: Update) -> FeedPage:
    return FeedPage("e", end, updates, None, JobState.RUNNING)


def until_read(core: SessionCore) -> Read:
    """Let the reader read until the store is asked again."""
    for _ in range(100):
        if asked := reads(core.handle(Written(), 0.0)):
            return asked[0]
    raise AssertionError("the store was not asked again")


def test_news_does_not_let_more_reads_be_under_way() -> None:
    core = connected()
    refs = [opened(core, number) for number in range(READS_MAX)]
    for ref in refs[1:]:
        core.handle(News(ref), 0.0)
    assert not any(isinstance(effect, Open) for effect in subscribe(core, 99))
    assert any(isinstance(effect, Open) for effect in core.handle(PageRead(refs[0], page(0)), 0.0))


def test_feeds_that_waited_for_a_read_come_before_those_that_had_one() -> None:
    core = connected()
    refs = []
    for number in range(READS_MAX + 2):
        refs.append(opened(core, number))
        core.handle(PageRead(refs[-1], page(0)), 0.0)
    for ref in refs:  # the first ones are read at once, the last two find no turn
        core.handle(News(ref), 0.0)
    core.handle(News(refs[0]), 0.0)
    core.handle(News(refs[1]), 0.0)
    turns = [reads(core.handle(PageRead(ref, page(0)), 0.0)) for ref in refs[:4]]
    assert [[read.ref for read in turn] for turn in turns] == [[ref] for ref in (*refs[-2:], *refs[:2])]


def test_news_does_not_hasten_a_read_that_the_store_refused() -> None:
    core = connected()
    ref = opened(core)
    core.handle(ReadFailed(ref), 0.0)
    assert core.handle(News(ref), 0.5) == []
    assert [read.ref for read in reads(core.handle_timeout(1.0))] == [ref]


@pytest.mark.parametrize(("fit", "limit"), [(0, 2), (1, 2), (2, 4), (3, 6)])
def test_a_page_that_did_not_fit_is_followed_by_one_of_twice_what_did(fit: int, limit: int) -> None:
    core = connected(SessionLimits(queued_bytes_max=max(700 * fit, 700)))
    ref = opened(core)
    while fit == 0 and core.queued_bytes < 700:  # other answers take all the room meanwhile
        core.handle(FrameReceived('{"type":"refresh","token":"t","id":"unknown"}'), 0.0)
    core.handle(PageRead(ref, page(50, *items(1, 50))), 0.0)
    again = until_read(core)
    assert (again.after, again.limit) == (fit, limit)


def test_pages_grow_again_up_to_the_limit_while_they_fit() -> None:
    core = connected(SessionLimits(queued_bytes_max=2_000, page=10))
    ref = opened(core)
    core.handle(PageRead(ref, page(50, *items(1, 10))), 0.0)
    read, limits = until_read(core), []
    for _ in range(3):
        limits.append(read.limit)
        told = items(read.after + 1, read.after + read.limit, size=1)
        following = core.handle(PageRead(ref, page(50, *told)), 0.0)
        read = next(iter(reads(following)), None) or until_read(core)
    assert [*limits, read.limit] == [6, 10, 10, 10]


def test_at_the_bound_nothing_more_is_let_in_and_below_it_one_frame_is() -> None:
    def let_in(room: int) -> int:
        core = connected(SessionLimits(queued_bytes_max=room))
        core.handle(PageRead(opened(core), page(9, *items(1, 9))), 0.0)
        return core.queued_bytes

    one = let_in(2)
    assert (let_in(one), let_in(one + 1)) == (one, 2 * one)


def test_the_store_is_asked_when_less_than_half_of_the_room_is_taken() -> None:
    def asks(room: int) -> bool:
        core = connected(SessionLimits(queued_bytes_max=room))
        ref = opened(core)
        return bool(reads(core.handle(PageRead(ref, page(9, *items(1, 1))), 0.0)))

    core = connected()
    core.handle(PageRead(opened(core), page(1, *items(1, 1))), 0.0)
    taken = core.queued_bytes
    assert not asks(2 * taken)
    assert asks(2 * taken + 2)
