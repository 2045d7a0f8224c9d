"""Answers that come late, twice or for nobody, and deadlines to the instant."""

import json
import uuid
from collections.abc import Sequence
from typing import TypeVar

import pytest

from headrace.core.feed import Position
from headrace.core.model import FeedPage, Update, UpdateKind
from headrace.core.session import SessionCore
from headrace.core.session_events import (
    CONNECTION,
    Authenticate,
    Close,
    FrameReceived,
    Grant,
    Granted,
    News,
    Open,
    Opened,
    PageRead,
    Read,
    ReadFailed,
    Release,
    SessionEffect,
    SessionLimits,
    ShutdownAsked,
    Write,
    Written,
)
from headrace.core.states import JobState
from headrace.core.wire import CloseCode

JOB = uuid.UUID(int=0x0193_0000_0000_7000_8000_0000_0000_0001)
E = TypeVar("E")


def only(effects: Sequence[SessionEffect], kind: type[E]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def frame(**members: object) -> FrameReceived:
    return FrameReceived(json.dumps(members))


def connected(grant: Grant | None = None, **limits: float) -> SessionCore:
    core = SessionCore(SessionLimits(**limits), 0.0)  # type: ignore[arg-type]
    core.handle(frame(type="connect", token="t"), 0.0)
    core.handle(Granted(CONNECTION, grant or Grant(reads_all=True)), 0.0)
    core.handle(Written(), 0.0)
    return core


def subscribe(core: SessionCore, now: float = 0.0, ident: str = "a", **more: object) -> list[SessionEffect]:
    return core.handle(frame(type="subscribe", id=ident, topic=f"job:{JOB}", **more), now)


def page(end: int, *offsets: int) -> FeedPage:
    updates = tuple(Update(offset, UpdateKind.ITEM, 1, str(offset), 0.0) for offset in offsets)
    return FeedPage("e", end, updates, None, JobState.RUNNING)


def spoken(core: SessionCore, effects: Sequence[SessionEffect], now: float = 0.0) -> list[dict[str, object]]:
    """The frames among `effects` and those that wait behind them."""
    frames: list[dict[str, object]] = []
    while writes := only(effects, Write):
        frames += [json.loads(write.text) for write in writes]
        effects = core.handle(Written(), now)
    return frames


# --- answers -----------------------------------------------------------------------------------


def test_a_token_that_is_checked_after_the_subscription_went_opens_nothing() -> None:
    core = connected()
    (asked,) = only(subscribe(core, token="mine"), Authenticate)
    core.handle(frame(type="unsubscribe", id="a"), 1.0)
    (again,) = only(subscribe(core, 2.0, token="other"), Authenticate)
    assert core.handle(Granted(asked.ref, Grant(reads_all=True)), 3.0) == []
    (opened,) = only(core.handle(Granted(again.ref, Grant(reads_all=True)), 4.0), Open)
    assert opened.ref == again.ref


def test_a_page_that_nobody_asked_for_is_not_told() -> None:
    core = connected()
    (asked,) = only(subscribe(core, position="e:0"), Open)
    assert core.handle(PageRead(asked.ref, page(2, 1, 2)), 0.0) == []
    effects = core.handle(Opened(asked.ref, True, Position("e", 0)), 0.0)
    assert [told["type"] for told in spoken(core, effects)] == ["subscribed"]


def test_a_page_that_comes_twice_is_told_once() -> None:
    core = connected()
    (asked,) = only(subscribe(core, position="e:0"), Open)
    effects = core.handle(Opened(asked.ref, True, Position("e", 0)), 0.0)
    frames = spoken(core, effects)
    for _ in range(2):
        frames += spoken(core, core.handle(PageRead(asked.ref, page(2, 1, 2)), 0.0))
    assert [told.get("position") for told in frames] == ["e:0", "e:1", "e:2"]


def test_news_while_a_page_is_read_is_read_after_it() -> None:
    core = connected()
    (asked,) = only(subscribe(core, position="e:0"), Open)
    (read,) = only(core.handle(Opened(asked.ref, True, Position("e", 0)), 0.0), Read)
    assert core.handle(News(asked.ref), 0.0) == []
    (again,) = only(core.handle(PageRead(asked.ref, page(1, 1)), 0.0), Read)
    assert (read.after, again.after) == (0, 1)
    assert not only(core.handle(PageRead(asked.ref, page(1)), 0.0), Read)


def test_a_page_that_does_not_reach_the_end_is_followed_by_the_next_one() -> None:
    core = connected()
    (asked,) = only(subscribe(core, position="e:0"), Open)
    core.handle(Opened(asked.ref, True, Position("e", 0)), 0.0)
    (read,) = only(core.handle(PageRead(asked.ref, page(5, 1, 2)), 0.0), Read)
    assert read.after == 2


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(AssertionError):
        connected().handle("written", 0.0)  # type: ignore[arg-type]


def test_a_refusal_leaves_what_was_said_before_it() -> None:
    core = connected()
    (asked,) = only(subscribe(core, token="mine", position="e:0"), Authenticate)
    core.handle(Granted(asked.ref, Grant(reads_all=True, expires_at=5.0)), 0.0)
    effects = core.handle(Opened(asked.ref, True, Position("e", 0)), 0.0)
    core.handle(PageRead(asked.ref, page(2, 1, 2)), 0.0)
    core.handle_timeout(5.0)
    assert [told["type"] for told in spoken(core, effects)] == ["subscribed", "update", "update", "error"]


def test_nothing_more_is_said_of_a_feed_that_was_unsubscribed() -> None:
    core = connected()
    (asked,) = only(subscribe(core, position="e:0"), Open)
    effects = core.handle(Opened(asked.ref, True, Position("e", 0)), 0.0)
    core.handle(PageRead(asked.ref, page(2, 1, 2)), 0.0)
    assert core.queued_bytes > 0
    assert core.handle(frame(type="unsubscribe", id="a"), 0.0) == [Release(asked.ref)]
    assert core.queued_bytes == 0
    assert [told["type"] for told in spoken(core, effects)] == ["subscribed"]  # it was under way


# --- refreshed tokens --------------------------------------------------------------------------


def test_a_subscription_with_a_token_of_its_own_outlives_a_narrower_token_of_the_connection() -> None:
    core = connected()
    (asked,) = only(subscribe(core, token="mine"), Authenticate)
    core.handle(Granted(asked.ref, Grant(jobs=frozenset({JOB.bytes}))), 0.0)
    core.handle(frame(type="refresh", token="less"), 0.0)
    effects = core.handle(Granted(CONNECTION, Grant()), 0.0)
    assert not only(effects, Release)
    assert [told["type"] for told in spoken(core, effects)] == ["refreshed"]


@pytest.mark.parametrize("good", [True, False])
def test_a_subscription_whose_own_token_is_still_checked_waits_for_that(good: bool) -> None:
    core = connected()
    core.handle(frame(type="refresh", token="less"), 0.0)
    (asked,) = only(subscribe(core, token="mine"), Authenticate)
    effects = core.handle(Granted(CONNECTION, Grant()), 0.0)
    assert not only(effects, Release)
    assert not only(effects, Open)
    assert [told["type"] for told in spoken(core, effects)] == ["refreshed"]
    effects = core.handle(Granted(asked.ref, Grant(jobs=frozenset({JOB.bytes})) if good else None), 0.0)
    assert [effect.ref for effect in effects if isinstance(effect, Open if good else Release)] == [asked.ref]


def test_a_refresh_asks_nothing_of_the_store() -> None:
    core = connected()
    (asked,) = only(subscribe(core, position="e:0"), Open)
    spoken(core, core.handle(Opened(asked.ref, True, Position("e", 0)), 0.0))  # its first page is being read
    core.handle(frame(type="refresh", token="mine", id="a"), 0.0)
    effects = core.handle(Granted(asked.ref, Grant(reads_all=True)), 0.0)
    assert not only(effects, Read)
    assert [told["type"] for told in spoken(core, effects)] == ["refreshed"]


def test_a_refresh_that_is_refused_ends_the_subscription_and_says_so_once() -> None:
    core = connected()
    (asked,) = only(subscribe(core), Open)
    core.handle(frame(type="refresh", token="bad", id="a"), 0.0)
    effects = core.handle(Granted(asked.ref, None, "token-expired"), 0.0)
    assert only(effects, Release) == [Release(asked.ref)]
    assert [told["type"] for told in spoken(core, effects)] == ["error"]


def test_a_token_that_is_refreshed_before_it_was_checked_opens_the_feed_once_both_are() -> None:
    core = connected()
    (first,) = only(subscribe(core, token="mine"), Authenticate)
    (second,) = only(core.handle(frame(type="refresh", token="newer", id="a"), 0.0), Authenticate)
    assert (first.ref, second.token) == (second.ref, "newer")
    opens: list[Open] = []
    for expires_at in (50.0, 90.0):
        effects = core.handle(Granted(first.ref, Grant(reads_all=True, expires_at=expires_at)), 0.0)
        opens += only(effects, Open)
        spoken(core, effects)
    assert [effect.ref for effect in opens] == [first.ref]


def test_nothing_is_checked_for_a_subscription_that_is_unknown() -> None:
    effects = connected().handle(frame(type="refresh", token="t", id="unknown"), 0.0)
    assert not only(effects, Authenticate)
    assert len(effects) == 1


# --- closing -----------------------------------------------------------------------------------


def test_a_frame_that_breaks_the_protocol_has_no_other_effect_than_the_close() -> None:
    for core, event in (
        (connected(), frame(type="connect", token="again")),
        (connected(frames_burst=1, frames_per_s=0.0), frame(type="refresh", token="again")),
        (SessionCore(SessionLimits(), 0.0), frame(type="refresh", token="early")),
    ):
        assert [type(effect) for effect in core.handle(event, 0.0)] == [Close]


def test_a_close_says_what_was_wrong_or_what_its_code_means() -> None:
    (close,) = connected().handle(frame(type="connect"), 0.0)
    assert close == Close(CloseCode.BAD_FRAME, "bad-frame: connect comes once")
    (close,) = connected().handle(ShutdownAsked(), 0.0)
    assert close == Close(CloseCode.SHUTDOWN, "shutdown: the server is stopping")


def test_a_close_is_the_last_word_whatever_still_waits() -> None:
    core = connected(queued_bytes_max=200)
    (asked,) = only(subscribe(core, position="e:0"), Open)
    core.handle(Opened(asked.ref, True, Position("e", 0)), 0.0)
    core.handle(PageRead(asked.ref, page(9, *range(1, 10))), 0.0)
    assert core.queued_bytes > 0  # and the rest of the feed is still to be read
    assert [type(effect) for effect in core.handle(ShutdownAsked(), 0.0)] == [Close]
    assert core.queued_bytes == 0
    for event in (frame(type="nonsense"), Written(), News(asked.ref), ShutdownAsked()):
        assert core.handle(event, 1.0) == []
    assert core.handle_timeout(1e9) == []


@pytest.mark.parametrize(
    ("expires_at", "age_s", "writing", "code"),
    [
        (5.0, 5.0, True, CloseCode.SLOW),
        (5.0, 5.0, False, CloseCode.EXPIRED),
        (None, 5.0, False, CloseCode.AGED),
    ],
    ids=lambda case: getattr(case, "name", None),
)
def test_of_several_reasons_to_close_one_is_told_and_nothing_else_done(
    expires_at: float | None, age_s: float, writing: bool, code: CloseCode
) -> None:
    core = connected(Grant(reads_all=True, expires_at=expires_at), age_s=age_s, write_s=5.0)
    (asked,) = only(subscribe(core, token="mine"), Authenticate)
    core.handle(Granted(asked.ref, Grant(reads_all=True, expires_at=5.0)), 0.0)
    if writing:
        core.handle(Opened(asked.ref, True, Position("e", 0)), 0.0)
    (close,) = core.handle_timeout(5.0)
    assert isinstance(close, Close)
    assert close.code is code


def test_who_has_not_even_connected_is_silent_before_it_is_aged() -> None:
    (close,) = SessionCore(SessionLimits(), 0.0, age_s=10.0).handle_timeout(10.0)
    assert isinstance(close, Close)
    assert close.code is CloseCode.SILENT


# --- deadlines ---------------------------------------------------------------------------------


def test_nothing_is_said_while_the_connections_own_token_is_checked() -> None:
    core = SessionCore(SessionLimits(), 0.0)
    core.handle(frame(type="connect", token="t"), 0.0)
    assert core.next_deadline() == SessionLimits().age_s
    assert core.handle_timeout(60.0) == []


def test_the_token_of_the_connection_is_a_deadline() -> None:
    core = connected(Grant(reads_all=True, expires_at=20.0))
    assert core.next_deadline() == 20.0
    assert core.handle_timeout(19.9) == []
    (close,) = core.handle_timeout(20.0)
    assert isinstance(close, Close)
    assert close.code is CloseCode.EXPIRED


def test_the_token_of_a_subscription_is_a_deadline_of_its_own() -> None:
    core = connected(Grant(reads_all=True, expires_at=24.0))
    (asked,) = only(subscribe(core, token="mine"), Authenticate)
    core.handle(Granted(asked.ref, Grant(reads_all=True, expires_at=20.0)), 0.0)
    assert core.next_deadline() == 20.0
    assert core.handle_timeout(19.9) == []
    effects = core.handle_timeout(20.0)
    assert only(effects, Release) == [Release(asked.ref)]
    assert [told["type"] for told in spoken(core, effects)] == ["error"]
    assert core.next_deadline() == 24.0


def test_a_refused_read_is_a_deadline_and_is_tried_again_once() -> None:
    core = connected(retry_s=3.0)
    (asked,) = only(subscribe(core), Open)
    core.handle(ReadFailed(asked.ref), 1.0)
    assert core.next_deadline() == 4.0
    assert core.handle_timeout(3.9) == []
    assert core.handle_timeout(4.0) == [asked]
    assert core.handle_timeout(4.0) == []


def test_a_read_that_failed_after_the_feed_was_open_goes_on_where_it_was() -> None:
    core = connected()
    (asked,) = only(subscribe(core, position="e:0"), Open)
    effects = core.handle(Opened(asked.ref, True, Position("e", 0)), 0.0)
    spoken(core, effects)
    spoken(core, core.handle(PageRead(asked.ref, page(2, 1, 2)), 0.0))
    (read,) = only(core.handle(News(asked.ref), 1.0), Read)
    core.handle(ReadFailed(asked.ref), 2.0)
    assert core.handle_timeout(3.0) == [read]
    assert read.after == 2
