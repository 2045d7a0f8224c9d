"""One live connection: its dialogue, its bounds, its deadlines, and slow readers under random schedules."""

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.feed import Position
from headrace.core.model import FeedPage, JobId, Update, UpdateKind
from headrace.core.session import SessionCore
from headrace.core.session_events import (
    CONNECTION,
    Authenticate,
    Awaited,
    Close,
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
    Release,
    SessionEffect,
    SessionEvent,
    SessionLimits,
    ShutdownAsked,
    Write,
    Written,
)
from headrace.core.states import JobState
from headrace.core.wire import CloseCode

FEEDS: Any = json.loads((Path(__file__).resolve().parents[3] / "wire" / "feeds.json").read_text("utf-8"))
EPOCH = FEEDS["epoch"]
JOBS = [uuid.UUID(int=0x0193_0000_0000_7000_8000_0000_0000_0000 + n).bytes for n in range(200)]
ALL = Grant(reads_all=True)
LIMITS = SessionLimits()
E = TypeVar("E")


@dataclass
class Feed:
    """A job's feed as a store holds it."""

    updates: list[Update] = field(default_factory=list)
    progress: Update | None = None

    @property
    def end(self) -> int:
        return len(self.updates)

    @property
    def ended(self) -> bool:
        return bool(self.updates) and self.updates[-1].kind is UpdateKind.END

    def add(self, kind: UpdateKind = UpdateKind.ITEM, data: str = "0") -> None:
        self.updates.append(Update(self.end + 1, kind, 1, data, 0.0))

    def page(self, after: int, limit: int) -> FeedPage:
        state = JobState.SUCCEEDED if self.ended else JobState.RUNNING
        return FeedPage(EPOCH, self.end, tuple(self.updates[after : after + limit]), self.progress, state)

    def opened(self, ref: int, position: Position | None) -> Opened:
        if position is not None and position.resumes(EPOCH, self.end):
            return Opened(ref, recovered=True, position=position, ended=self.ended and position.offset == self.end)
        end = self.end - 1 if self.ended else self.end
        return Opened(ref, recovered=False, position=Position(EPOCH, end), snapshot='{"job":{}}')


class Client:
    """A core with a client, a store and a transport around it, all of them obedient."""

    def __init__(self, limits: SessionLimits = LIMITS, grant: Grant | None = ALL, *, reads_frames: bool = True) -> None:
        self.core = SessionCore(limits, 0.0)
        self.now = 0.0
        self.reads_frames = reads_frames
        self.feeds: dict[JobId, Feed] = {}
        self.frames: list[dict[str, Any]] = []
        self.effects: list[SessionEffect] = []
        self.refs: dict[JobId, int] = {}
        self.grants: dict[str | None, Grant | None] = {None: None, "all": ALL}
        self.grants["token"] = grant

    def post(self, event: SessionEvent) -> None:
        self._perform(self.core.handle(event, self.now))

    def pass_to(self, now: float) -> None:
        self.now = now
        self._perform(self.core.handle_timeout(now))

    def say(self, **frame: Any) -> None:
        self.post(FrameReceived(json.dumps(frame)))

    def connect(self) -> "Client":
        self.say(type="connect", token="token")
        return self

    def subscribe(self, job: JobId, ident: str = "a", **more: Any) -> None:
        self.say(type="subscribe", id=ident, topic=f"job:{uuid.UUID(bytes=job)}", **more)

    def take(self) -> list[dict[str, Any]]:
        """The frames since the last time."""
        frames, self.frames = self.frames, []
        return frames

    def of(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def closed(self) -> CloseCode | None:
        closes = self.of(Close)
        assert len(closes) < 2
        return closes[0].code if closes else None

    def _perform(self, effects: list[SessionEffect]) -> None:
        for effect in effects:
            self.effects.append(effect)
            match effect:
                case Write(text):
                    self.frames.append(json.loads(text))
                    if self.reads_frames:
                        self.post(Written())
                case Authenticate(ref, token):
                    self.post(Granted(ref, self.grants.get(token), "unauthorized"))
                case Open(ref, job, position):
                    self.refs[job] = ref
                    if job in self.feeds:
                        self.post(self.feeds[job].opened(ref, position))
                case Read(ref, job, after, limit):
                    self.post(PageRead(ref, self.feeds[job].page(after, limit)))
                case _:
                    pass


def feed_of(count: int) -> Feed:
    feed = Feed()
    for told in FEEDS["updates"][:count]:
        feed.add(UpdateKind(told["kind"]), json.dumps(told["data"]))
    return feed


# --- the dialogue ------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", FEEDS["readers"], ids=lambda reader: str(reader["name"]))
def test_what_a_reader_is_sent(reader: dict[str, Any]) -> None:
    client = Client().connect()
    assert [frame["type"] for frame in client.take()] == ["connected"]
    client.feeds[JOBS[0]] = feed_of(reader["grown"])
    client.subscribe(JOBS[0], **({} if reader["position"] is None else {"position": reader["position"]}))
    for count in range(reader["grown"] + 1, len(FEEDS["updates"]) + 1):
        client.feeds[JOBS[0]] = feed_of(count)
        client.post(News(client.refs[JOBS[0]]))
    subscribed, *updates = client.take()
    assert subscribed["type"] == "subscribed"
    assert subscribed["recovered"] is reader["recovered"]
    assert ("snapshot" in subscribed) is reader["snapshot"]
    assert subscribed["position"] == reader["from"]
    assert subscribed.get("ended", False) is reader["ended"]
    assert [frame["position"] for frame in updates] == [f"{EPOCH}:{offset}" for offset in reader["offsets"]]
    told = [FEEDS["updates"][offset - 1] for offset in reader["offsets"]]
    assert [(frame["kind"], frame["data"]) for frame in updates] == [(each["kind"], each["data"]) for each in told]
    assert len(client.of(Release)) == 1  # after the end, nothing is followed


def test_nothing_before_connected() -> None:
    for frame in ({"type": "subscribe", "id": "a", "topic": f"job:{uuid.UUID(bytes=JOBS[0])}"}, {"type": "x"}):
        client = Client()
        client.say(**frame)
        assert client.closed is CloseCode.BAD_FRAME
    client = Client().connect()
    client.connect()
    assert client.closed is CloseCode.BAD_FRAME


def test_a_connection_without_a_valid_credential_is_closed() -> None:
    assert Client(grant=None).connect().closed is CloseCode.UNAUTHORIZED
    client = Client()
    client.core.handle(FrameReceived('{"type":"connect","token":"t"}'), 0.0)
    (close,) = client.core.handle(Granted(CONNECTION, None, "token-expired"), 0.0)
    assert isinstance(close, Close)
    assert close.code is CloseCode.EXPIRED


def test_a_grant_that_had_expired_on_arrival_is_none() -> None:
    client = Client(grant=Grant(reads_all=True, expires_at=0.0)).connect()
    assert client.closed is CloseCode.UNAUTHORIZED


def test_the_connections_token_covers_its_jobs_alone() -> None:
    client = Client(grant=Grant(jobs=frozenset({JOBS[0]}))).connect()
    client.feeds = {JOBS[0]: feed_of(1), JOBS[1]: feed_of(1)}
    client.subscribe(JOBS[0], "a")
    client.subscribe(JOBS[1], "b")
    _, subscribed, error = client.take()
    assert subscribed["id"] == "a"
    assert (error["type"], error["id"], error["problem"]["status"]) == ("error", "b", 403)


def test_a_subscription_may_bring_its_own_token() -> None:
    client = Client(grant=Grant(jobs=frozenset({JOBS[0]}))).connect()
    client.feeds[JOBS[1]] = feed_of(1)
    client.grants |= {"mine": Grant(jobs=frozenset({JOBS[1]}), expires_at=50.0), "other": Grant(jobs=frozenset())}
    client.subscribe(JOBS[1], "a", token="other")
    client.subscribe(JOBS[1], "b", token="invalid")
    client.subscribe(JOBS[1], "c", token="mine")
    statuses = {frame["id"]: frame["problem"]["status"] for frame in client.frames if frame["type"] == "error"}
    assert statuses == {"a": 403, "b": 401}
    assert client.take()[-1]["type"] == "subscribed"
    client.pass_to(50.0)
    (error,) = client.take()[-1:]
    assert (error["id"], error["problem"]["type"]) == ("c", "urn:headrace:problem:token-expired")
    assert client.closed is None


def test_refresh() -> None:
    client = Client(grant=Grant(jobs=frozenset({JOBS[0]}), expires_at=60.0)).connect()
    client.feeds[JOBS[0]] = feed_of(1)
    client.subscribe(JOBS[0])
    client.grants["longer"] = Grant(jobs=frozenset({JOBS[0]}), expires_at=120.0)
    client.now = 30.0
    client.say(type="refresh", token="longer")
    assert client.take()[-1] == {"type": "refreshed", "expires_in_ms": 90_000}
    client.say(type="refresh", token="longer", id="a")
    assert client.take()[-1] == {"type": "refreshed", "id": "a", "expires_in_ms": 90_000}
    client.say(type="refresh", token="longer", id="unknown")
    assert client.take()[-1]["problem"]["status"] == 404
    client.pass_to(60.0)
    assert client.closed is None
    client.pass_to(120.0)
    assert client.closed is CloseCode.EXPIRED


def test_a_refresh_that_covers_less_ends_what_it_does_not_cover() -> None:
    client = Client().connect()
    client.feeds = {JOBS[0]: feed_of(1), JOBS[1]: feed_of(1)}
    client.subscribe(JOBS[0], "a")
    client.subscribe(JOBS[1], "b")
    client.grants["less"] = Grant(jobs=frozenset({JOBS[1]}))
    client.say(type="refresh", token="less")
    assert [frame["id"] for frame in client.take() if frame["type"] == "error"] == ["a"]
    client.say(type="refresh", token="nonsense")
    assert client.closed is CloseCode.UNAUTHORIZED


def test_a_job_that_is_not_seen_yet() -> None:
    client = Client().connect()
    client.subscribe(JOBS[0])
    ref = client.refs[JOBS[0]]
    client.post(Awaited(ref))
    client.feeds[JOBS[0]] = feed_of(1)
    client.post(feed_of(1).opened(ref, None))
    assert [frame["type"] for frame in client.take()] == ["connected", "pending", "subscribed"]
    client.subscribe(JOBS[1], "b")
    client.post(Missed(client.refs[JOBS[1]]))
    assert client.take()[-1]["problem"]["type"] == "urn:headrace:problem:unknown-job"


def test_ids_are_unique_while_they_live() -> None:
    client = Client().connect()
    client.feeds[JOBS[0]] = feed_of(1)
    client.subscribe(JOBS[0])
    client.subscribe(JOBS[0])
    assert client.take()[-1]["problem"]["status"] == 409
    client.say(type="unsubscribe", id="a")
    client.say(type="unsubscribe", id="never")
    client.subscribe(JOBS[0])
    assert client.take()[-1]["type"] == "subscribed"


def test_late_answers_for_a_former_subscription_say_nothing() -> None:
    client = Client().connect()
    client.subscribe(JOBS[0])
    former = client.refs[JOBS[0]]
    client.say(type="unsubscribe", id="a")
    client.subscribe(JOBS[1])
    client.take()
    for event in (Opened(former, True, Position(EPOCH, 1)), Awaited(former), Missed(former), News(former)):
        client.post(event)
    client.post(PageRead(former, feed_of(3).page(0, 10)))
    assert client.take() == []
    assert client.closed is None


def test_a_lost_place_is_answered_with_a_snapshot() -> None:
    client = Client().connect()
    client.feeds[JOBS[0]] = feed_of(4)
    client.subscribe(JOBS[0], position=f"{EPOCH}:4")
    client.take()
    client.feeds[JOBS[0]] = feed_of(2)  # an older backup was restored
    client.post(News(client.refs[JOBS[0]]))
    (again,) = client.take()
    assert (again["type"], again["recovered"], again["position"]) == ("subscribed", False, f"{EPOCH}:2")


# --- bounds ------------------------------------------------------------------------------------


def test_topics_are_bounded() -> None:
    client = Client(SessionLimits(topics_max=3)).connect()
    for n in range(4):
        client.feeds[JOBS[n]] = feed_of(1)
        client.subscribe(JOBS[n], str(n))
    assert [frame["id"] for frame in client.take() if frame["type"] == "error"] == ["3"]
    client.say(type="unsubscribe", id="0")
    client.subscribe(JOBS[3], "3")
    assert client.take()[-1]["type"] == "subscribed"


def test_frames_of_the_client_are_bounded_in_rate() -> None:
    client = Client(SessionLimits(frames_burst=5, frames_per_s=2.0)).connect()
    for _ in range(4):
        client.say(type="unsubscribe", id="x")
    assert client.closed is None
    client.now = 1.0
    client.say(type="unsubscribe", id="x")
    client.say(type="unsubscribe", id="x")
    assert client.closed is None
    client.say(type="unsubscribe", id="x")
    assert client.closed is CloseCode.FLOOD


def test_frames_too_large_and_binary_ones() -> None:
    for frame, code in ((" " * 16_385, CloseCode.TOO_LARGE), (b"{}", CloseCode.BAD_FRAME)):
        client = Client().connect()
        client.post(FrameReceived(frame))
        assert client.closed is code


def test_a_reader_that_reads_nothing_costs_a_bounded_queue() -> None:
    limits = SessionLimits(queued_bytes_max=10_000, page=50)
    client = Client(limits, reads_frames=False).connect()
    client.post(Written())
    feed = client.feeds[JOBS[0]] = Feed()
    client.subscribe(JOBS[0], position=f"{EPOCH}:0")
    for _ in range(1_000):
        feed.add(data='"' + "x" * 500 + '"')
        client.post(News(client.refs[JOBS[0]]))
        assert client.core.queued_bytes < limits.queued_bytes_max + 1_000
    asked = len(client.of(Read))
    client.post(News(client.refs[JOBS[0]]))
    assert len(client.of(Read)) == asked  # while there is no room, the store is left alone


def test_a_page_that_has_no_room_is_let_in_by_parts() -> None:
    limits = SessionLimits(queued_bytes_max=10_000, page=100)
    client = Client(limits, reads_frames=False).connect()
    client.post(Written())
    feed = client.feeds[JOBS[0]] = Feed()
    for _ in range(100):
        feed.add(data='"' + "x" * 1_000 + '"')
    feed.progress = Update(feed.end, UpdateKind.PROGRESS, 1, "7", 0.0)
    client.subscribe(JOBS[0], position=f"{EPOCH}:0")
    assert client.core.queued_bytes < limits.queued_bytes_max + 1_200
    client.reads_frames = True
    client.post(Written())
    updates = [frame for frame in client.frames if frame["type"] == "update"]
    assert [frame["position"] for frame in updates[:-1]] == [f"{EPOCH}:{n}" for n in range(1, 101)]
    assert (updates[-1]["kind"], updates[-1]["data"]) == ("progress", 7)


def test_progress_that_finds_no_room_comes_when_there_is_some() -> None:
    client = Client(SessionLimits(queued_bytes_max=1_000), reads_frames=False).connect()
    client.post(Written())
    feed = client.feeds[JOBS[0]] = Feed()
    feed.add(data='"' + "x" * 2_000 + '"')
    feed.add(data='"' + "x" * 2_000 + '"')
    feed.progress = Update(feed.end, UpdateKind.PROGRESS, 1, "7", 0.0)
    client.subscribe(JOBS[0], position=f"{EPOCH}:0")
    client.reads_frames = True
    client.post(Written())
    assert [frame.get("kind") for frame in client.frames[2:]] == ["item", "item", "progress"]


def test_a_slow_reader_is_left_the_latest_progress_and_all_else() -> None:
    client = Client(reads_frames=False).connect()
    client.post(Written())
    feed = client.feeds[JOBS[0]] = Feed()
    client.subscribe(JOBS[0], position=f"{EPOCH}:0")
    for n in range(100):
        if n % 10 == 0:
            feed.add()
        feed.progress = Update(feed.end, UpdateKind.PROGRESS, 1, str(n), float(n))
        client.post(News(client.refs[JOBS[0]]))
    assert client.core.queued_bytes < 2_000
    client.reads_frames = True
    client.post(Written())
    updates = [frame for frame in client.frames if frame["type"] == "update"]
    assert [frame["position"] for frame in updates if frame["kind"] == "item"] == [f"{EPOCH}:{n}" for n in range(1, 11)]
    assert [frame["data"] for frame in updates if frame["kind"] == "progress"][-1] == 99
    assert updates[-1]["kind"] == "progress"
    assert len(updates) <= 12


def test_at_most_so_many_reads_are_under_way() -> None:
    core = SessionCore(LIMITS, 0.0)
    core.handle(FrameReceived('{"type":"connect","token":"t"}'), 0.0)
    core.handle(Granted(CONNECTION, ALL), 0.0)
    core.handle(Written(), 0.0)
    asked = []
    for n in range(30):
        topic = f"job:{uuid.UUID(bytes=JOBS[n])}"
        asked += core.handle(FrameReceived(json.dumps({"type": "subscribe", "id": str(n), "topic": topic})), 0.0)
    refs = [effect.ref for effect in asked if isinstance(effect, Open)]
    assert len(refs) == 8
    more = core.handle(Missed(refs[0]), 0.0)
    assert len([effect for effect in more if isinstance(effect, Open)]) == 1


# --- deadlines ---------------------------------------------------------------------------------


def test_who_does_not_connect_is_closed() -> None:
    client = Client()
    assert client.core.next_deadline() == LIMITS.connect_s
    client.pass_to(LIMITS.connect_s - 0.1)
    assert client.closed is None
    client.pass_to(LIMITS.connect_s)
    assert client.closed is CloseCode.SILENT


def test_who_does_not_read_is_asked_to_come_back() -> None:
    client = Client(reads_frames=False).connect()
    assert client.core.next_deadline() == LIMITS.write_s
    client.pass_to(LIMITS.write_s)
    assert client.closed is CloseCode.SLOW
    assert client.core.queued_bytes == 0


def test_silence_is_broken_by_heartbeats() -> None:
    client = Client().connect()
    client.take()
    assert client.core.next_deadline() == LIMITS.heartbeat_s
    client.pass_to(LIMITS.heartbeat_s)
    assert client.take() == [{"type": "heartbeat"}]
    client.pass_to(LIMITS.heartbeat_s + 1)
    assert client.take() == []


def test_a_connection_has_an_age_limit() -> None:
    client = Client(SessionLimits(age_s=100.0)).connect()
    client.pass_to(99.0)
    assert client.closed is None
    client.pass_to(100.0)
    assert client.closed is CloseCode.AGED


def test_the_server_stops() -> None:
    client = Client().connect()
    client.post(ShutdownAsked())
    assert client.closed is CloseCode.SHUTDOWN
    assert client.core.next_deadline() is None
    assert client.core.handle(News(1), 1.0) == []
    assert client.core.handle_timeout(1e9) == []


def test_a_read_that_the_store_refused_is_tried_again() -> None:
    core = SessionCore(LIMITS, 0.0)
    core.handle(FrameReceived('{"type":"connect","token":"t"}'), 0.0)
    core.handle(Granted(CONNECTION, ALL), 0.0)
    core.handle(Written(), 0.0)
    frame = {"type": "subscribe", "id": "a", "topic": f"job:{uuid.UUID(bytes=JOBS[0])}"}
    (open_,) = core.handle(FrameReceived(json.dumps(frame)), 0.0)
    assert isinstance(open_, Open)
    assert core.handle(ReadFailed(open_.ref), 1.0) == []
    assert core.handle(News(open_.ref), 1.5) == []
    assert core.next_deadline() == 2.0
    assert core.handle_timeout(2.0) == [open_]
    read = next(e for e in core.handle(feed_of(2).opened(open_.ref, None), 2.0) if isinstance(e, Read))
    core.handle(ReadFailed(open_.ref), 3.0)
    assert [e for e in core.handle_timeout(4.0) if isinstance(e, Read)] == [read]


def test_a_spurious_timeout_changes_nothing() -> None:
    client = Client().connect()
    before = client.core.next_deadline()
    client.pass_to(0.1)
    assert client.core.next_deadline() == before
    assert client.closed is None


def test_a_reason_fits_into_a_close_frame() -> None:
    for frame in ('{"type":"connect","token":"' + "é" * 9_000 + '"}', "[]", '{"type":"' + "é" * 500 + '"}'):
        client = Client()
        client.post(FrameReceived(frame))
        assert len(client.of(Close)[0].reason.encode()) <= 123


# --- random schedules --------------------------------------------------------------------------

STEPS = st.lists(
    st.sampled_from(["item", "log", "progress", "news", "answer", "answer", "written", "written", "fail", "tick"]),
    max_size=120,
)


class Schedule:
    """A core whose store and transport answer when the schedule says so."""

    def __init__(self, limits: SessionLimits, feed: Feed, position: str) -> None:
        self.core = SessionCore(limits, 0.0)
        self.feed = feed
        self.now = 0.0
        self.asked: list[Open | Read] = []
        self.sent: list[dict[str, Any]] = []
        self.writing = False
        topic = f"job:{uuid.UUID(bytes=JOBS[0])}"
        self.perform(self.core.handle(FrameReceived('{"type":"connect","token":"t"}'), 0.0))
        self.perform(self.core.handle(Granted(CONNECTION, ALL), 0.0))
        frame = {"type": "subscribe", "id": "a", "topic": topic, "position": position}
        self.perform(self.core.handle(FrameReceived(json.dumps(frame)), 0.0))

    def perform(self, effects: list[SessionEffect]) -> None:
        for effect in effects:
            assert not isinstance(effect, Close)
            if isinstance(effect, Write):
                assert not self.writing
                self.writing = True
                self.sent.append(json.loads(effect.text))
            elif isinstance(effect, Open | Read):
                assert not self.asked  # one subscription, one question at a time
                self.asked.append(effect)

    def news(self) -> None:
        self.perform(self.core.handle(News(1), self.now))

    def answer(self, *, fail: bool = False) -> None:
        asked = self.asked.pop()
        event: SessionEvent
        if fail:
            event = ReadFailed(asked.ref)
        elif isinstance(asked, Open):
            event = self.feed.opened(asked.ref, asked.position)
        else:
            event = PageRead(asked.ref, self.feed.page(asked.after, asked.limit))
        self.perform(self.core.handle(event, self.now))

    def written(self) -> None:
        self.writing = False
        self.perform(self.core.handle(Written(), self.now))

    def tick(self) -> None:
        self.now += 0.5
        self.perform(self.core.handle_timeout(self.now))
        deadline = self.core.next_deadline()
        assert deadline is not None
        assert deadline > self.now  # or the shell would call it again and again

    def step(self, step: str) -> None:
        match step:
            case "item" | "log":
                self.feed.add(UpdateKind(step))
            case "progress":
                self.feed.progress = Update(self.feed.end, UpdateKind.PROGRESS, 1, str(len(self.sent)), self.now)
            case "news":
                self.news()
            case "answer" | "fail" if self.asked:
                self.answer(fail=step == "fail")
            case "written" if self.writing:
                self.written()
            case _:
                self.tick()

    def settle(self) -> None:
        """The reader reads and the store answers until nothing is left."""
        for _ in range(10 * self.feed.end + 50):
            if self.asked:
                self.answer()
            if self.writing:
                self.written()
            self.tick()


@given(steps=STEPS, room=st.integers(300, 3_000), page=st.integers(1, 5), start=st.integers(0, 3))
def test_every_numbered_update_once_and_in_order_whatever_the_schedule(
    steps: list[str], room: int, page: int, start: int
) -> None:
    limits = SessionLimits(queued_bytes_max=room, page=page, write_s=1e6, age_s=1e9, heartbeat_s=1e6)
    run = Schedule(limits, feed_of(3), f"{EPOCH}:{start}")
    for step in steps:
        run.step(step)
        assert run.core.queued_bytes <= room + 400  # the one frame that found room is let in whole
    run.feed.add(UpdateKind.END, '{"state":"succeeded","result":1}')
    run.feed.progress = None
    run.news()
    run.settle()
    numbered = [frame for frame in run.sent if frame["type"] == "update" and frame["kind"] != "progress"]
    assert [frame["position"] for frame in numbered] == [f"{EPOCH}:{n}" for n in range(start + 1, run.feed.end + 1)]
    assert numbered[-1]["kind"] == "end"
