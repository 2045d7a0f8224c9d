"""Browsers of the simulated world: they get everything in spite of faults, and their checkers bite."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from headrace.core.model import FeedPage, JobId, UpdateKind
from headrace.core.outbox import Outbox
from headrace.core.session import SessionCore
from headrace.core.session_events import PageRead, SessionLimits
from headrace.core.wire import CloseCode
from headrace.runtime.reader import FeedReader
from headrace.testing.sim import clients, live, world
from headrace.testing.sim import events as e
from headrace.testing.sim.scenario import FaultKind, Scenario
from headrace.testing.sim.world import Report, World

LIMITS = SessionLimits(
    connect_s=10.0, heartbeat_s=3.0, write_s=3.0, age_s=20.0, retry_s=0.2, topics_max=100, queued_bytes_max=400, page=3
)
SERVED = "browsers are served"
WHOLE = "feeds are whole, in order, and end"
TROUBLE = {FaultKind.DISCONNECTS: 1.0}


class Seen:
    """What a world told."""

    def __init__(self) -> None:
        self.kinds: Counter[type] = Counter()
        self.codes: Counter[int] = Counter()
        self.texts: list[str] = []

    def __call__(self, _: float, event: e.Event) -> None:
        self.kinds[type(event)] += 1
        if isinstance(event, e.HungUp):
            self.codes[event.code] += 1
        elif isinstance(event, e.Framed):
            self.texts.append(event.text)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Report, Seen]]:
    """Runs a short world in which every followed job is followed by a browser."""

    def run(
        faults: dict[FaultKind, float] | None = None, *, seed: int = 1, limits: SessionLimits = LIMITS
    ) -> tuple[Report, Seen]:
        scenario = Scenario(
            seed=seed, pace_s=1.0, machines=2, trees=1, processes=2, slots=4, prefetch_max=0, suspects_max=2,
            apis=2, jobs=60, load_s=60.0, faults=faults or {},
        )  # fmt: skip
        monkeypatch.setattr(world, "draw", lambda *_, **__: scenario)
        monkeypatch.setattr(live, "draw_limits", lambda *_: limits)
        monkeypatch.setattr(clients, "FOLLOWED", 1.0)
        monkeypatch.setattr(live, "HALF", 1.0)
        seen = Seen()
        return World(seed, seen).run(), seen

    return run


def kept(report: Report) -> bool:
    return report.violation is None


@pytest.mark.parametrize("seed", range(1, 5))
def test_browsers_get_everything_whatever_befalls_their_connections(
    short: Callable[..., tuple[Report, Seen]], seed: int
) -> None:
    report, seen = short(TROUBLE | {FaultKind.TREE_CRASH: 0.8, FaultKind.STORE_DOWN: 0.5}, seed=seed)
    assert kept(report), report.violation
    assert seen.kinds[e.Saw] > 50
    assert seen.codes[1006] > 5


def test_a_browser_that_reads_nothing_is_closed_as_slow_and_comes_back(
    short: Callable[..., tuple[Report, Seen]],
) -> None:
    codes: Counter[int] = Counter()
    for seed in range(1, 8):
        report, seen = short(TROUBLE, seed=seed, limits=replace(LIMITS, write_s=1.0))
        assert kept(report), report.violation
        codes += seen.codes
    assert {CloseCode.SLOW, CloseCode.AGED, CloseCode.SHUTDOWN} <= codes.keys()


def test_a_seed_has_one_history_of_its_browsers(short: Callable[..., tuple[Report, Seen]]) -> None:
    (_, one), (_, other) = short(TROUBLE), short(TROUBLE)
    assert one.texts
    assert one.texts == other.texts


def found(short: Callable[..., tuple[Report, Seen]], promise: str, **how: Any) -> str:
    """What the first few worlds show to be broken."""
    for seed in range(1, 8):
        report, _ = short(TROUBLE, seed=seed, **how)
        if report.violation is not None:
            assert report.violation.name == promise, report.violation
            return report.violation.detail
    pytest.fail("nobody saw it")


def test_a_numbered_frame_that_is_dropped_for_want_of_room_is_missed(
    short: Callable[..., tuple[Report, Seen]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = SessionCore._page

    def drops(self: SessionCore, sub: Any, event: PageRead) -> None:
        page = event.page
        if sub.cursor is not None and self.queued_bytes >= self._limits.queued_bytes_max and page.updates:
            for update in page.updates:
                if update.offset == sub.cursor.position.offset + 1 and update.kind is not UpdateKind.END:
                    sub.cursor.advance(update)
        whole(self, sub, event)

    monkeypatch.setattr(SessionCore, "_page", drops)
    assert "was given" in found(short, WHOLE)


def test_a_listener_that_is_not_released_is_found(
    short: Callable[..., tuple[Report, Seen]], monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = FeedReader.follow

    def forgets(
        self: FeedReader, job: JobId, listener: Callable[[], None], *, patient: bool = False
    ) -> Callable[[], None]:
        follow(self, job, listener, patient=patient)
        return lambda: None

    monkeypatch.setattr(FeedReader, "follow", forgets)
    assert "its reader holds followed" in found(short, SERVED)


def test_a_connection_that_says_nothing_for_long_is_found(
    short: Callable[..., tuple[Report, Seen]], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = SessionCore.__init__

    def mute(self: SessionCore, limits: SessionLimits, *rest: Any) -> None:
        make(self, replace(limits, heartbeat_s=1e6), *rest)

    monkeypatch.setattr(SessionCore, "__init__", mute)
    assert "sent nothing for" in found(short, SERVED)


def test_a_close_as_slow_of_a_browser_that_reads_is_found(
    short: Callable[..., tuple[Report, Seen]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outbox, "written", lambda *_: None)
    assert "closed as slow, and its browser reads" in found(short, SERVED)


def test_what_waits_beyond_its_bound_is_found(
    short: Callable[..., tuple[Report, Seen]], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = SessionCore.__init__

    def hoards(self: SessionCore, limits: SessionLimits, *rest: Any) -> None:
        make(self, replace(limits, queued_bytes_max=1 << 30, page=100), *rest)

    monkeypatch.setattr(SessionCore, "__init__", hoards)
    assert "bytes, of 400" in found(short, SERVED)


def test_a_page_that_was_read_twice_is_seen(
    short: Callable[..., tuple[Report, Seen]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = SessionCore._page

    def repeats(self: SessionCore, sub: Any, event: PageRead) -> None:
        before = None if sub.cursor is None else sub.cursor.position
        whole(self, sub, event)
        page: FeedPage = event.page
        if before is not None and sub.cursor is not None and len(page.updates) > 1:
            sub.cursor.position = before

    monkeypatch.setattr(SessionCore, "_page", repeats)
    assert "was given" in found(short, WHOLE)
