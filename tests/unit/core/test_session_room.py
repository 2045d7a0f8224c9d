"""What a live connection asks the store for, and what it must not."""

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
    assert core.queued_bytes < (READS_MAX + 1) * 10_200
    asked: list[SessionEffect] = []
    for _ in range(READS_MAX + 1):
        asked += core.handle(Written(), 0.0)
    assert any(isinstance(effect, Open | Read) for effect in asked)


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
