"""Browsers of the simulated world: each follows several jobs over one connection, as the protocol's page says.

Invariant: a browser keeps the last position of every job, and brings it whenever it comes back.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.core.feed import Position
from headrace.core.ids import as_uuid
from headrace.core.model import JobId, Update, UpdateKind
from headrace.core.wire import CloseCode, dump
from headrace.testing.sim import events as e
from headrace.testing.sim.lines import GONE, Line

if TYPE_CHECKING:
    from headrace.testing.sim.live import Live

COMES_BACK: dict[int, tuple[float, float]] = {  # after how long, as the protocol's page advises
    CloseCode.SHUTDOWN: (0, 5),
    CloseCode.EXPIRED: (0, 0.5),
    CloseCode.SILENT: (1, 5),
    CloseCode.SLOW: (0, 2),
    CloseCode.AGED: (0, 0.1),
    CloseCode.FLOOD: (5, 15),
    CloseCode.UNAVAILABLE: (1, 10),
    CloseCode.UNAUTHORIZED: (0, 1),
}
GONE_THEN = (0.1, 3)
CONNECT_S = 15.0  # of the protocol's time
SHAKY, SELDOM, HALF = 0.02, 0.1, 0.5


@dataclass(slots=True, eq=False)
class Followed:
    """One job that a browser follows; `id` names its subscription of the moment."""

    job: JobId
    name: str  # the reader that it is, among all readers
    position: Position | None = None
    id: str | None = None
    brought: Position | None = None
    known: bool = False  # the store had it when it was asked for
    done: bool = False


class Browser:
    """Somebody's page, on a machine of their own."""

    def __init__(self, live: "Live", name: str) -> None:
        """It connects when it has something to follow."""
        self._live = live
        self._world = world = live.world
        self._timeline = world.timeline
        self._pace_s = world.scenario.pace_s
        self._rng = rng = world.rng(f"live {name}")
        self.name = name
        self.followed: dict[JobId, Followed] = {}
        self._capacity = rng.choice((1, 2, 4, 8))
        self._reads_all = rng.random() < HALF
        self._ttl_s = None if rng.random() < HALF else rng.uniform(5, 60) * self._pace_s
        self._gap_s = rng.choice((0, 0, 0, 0.05)) * self._pace_s  # between two frames that it takes
        self._line: Line | None = None
        self._dialling = False  # it will
        self._connected = False
        self._token_bad = False
        self._topics_max = 0
        self._covered: set[JobId] = set()  # by the connection's token
        self._silence_s = 0.0
        self._heard_at = 0.0
        self._busy_until = 0.0
        self._taking = False
        self._ids: dict[str, Followed] = {}
        self._let_go: set[str] = set()  # ids of which something may be under way
        self._twice: set[str] = set()  # ids that it asked for twice
        self._last_id = 0

    # -- what it is asked -------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether it follows as many jobs as it ever will."""
        return len(self.followed) >= self._capacity

    @property
    def done(self) -> bool:
        """Whether it has seen every end."""
        return all(followed.done for followed in self.followed.values())

    def follow(self, job: JobId) -> None:
        """Follow one more job, from now, from its first update, or from a place that never was."""
        if job in self.followed:
            return
        followed = self.followed[job] = Followed(job, f"{self.name}.{len(self.followed) + 1}")
        fate = self._rng.random()
        if fate < HALF:
            followed.position = Position(self._world.server.backend.epoch, 0)
            self._world.tell(e.Stood(followed.name, job, followed.position, recovered=False))
        elif fate > 1 - SHAKY:
            followed.position = Position("other", 7)
        if self._connected:
            self._subscribe()
        elif self._line is None:
            self._dial_in(0.0)

    def disconnect(self) -> str:
        """The network troubles it, or it is busy; in words."""
        line, rng = self._line, self._rng
        if line is None:
            return "is not connected"
        match rng.choice(("cut", "silent", "busy", "leave", "shutdown")):
            case "cut":
                line.break_off()
                return "is disconnected"
            case "silent":
                line.fall_silent(rng.uniform(5, 60) * self._pace_s if rng.random() < HALF else None)
                return "is cut off, and nobody is told"
            case "busy":
                busy_s = rng.uniform(1, 30) * self._pace_s
                self._busy_until = line.busy_until = self._timeline.now + busy_s
                return f"reads nothing for {busy_s:.1f} s"
            case "leave":
                self._leave()
                return "closes its connection"
            case _:
                self._live.shut_down(line.node)
                return f"is told by {line.node} to come back, as all others are"

    # -- connecting -------------------------------------------------------------------------------

    def _dial_in(self, seconds: float) -> None:
        if not self._dialling:
            self._dialling = True
            self._timeline.after(seconds, self._dial)

    def _dial(self) -> None:
        self._dialling = False
        if self.done or self._world.closing:
            return
        self._line = line = self._live.dial()
        if line is None:
            self._dial_in(self._pace_s)
            return
        line.on_news, line.on_cut = self._news, partial(self._ended, GONE)
        line.busy_until = self._busy_until
        self._covered = set(self.followed)
        self._token_bad = self._rng.random() < SHAKY
        self._world.tell(e.Dialled(self.name, line.number, line.node.name))
        line.say(dump({"type": "connect", "token": "sim.bad" if self._token_bad else self._token(None)}))
        self._heard_at, self._silence_s = self._timeline.now, CONNECT_S * self._pace_s
        self._watch(line)

    def _watch(self, line: Line) -> None:
        """A connection on which nothing comes is dead."""
        if self._line is not line:
            return
        now = self._timeline.now
        due = self._heard_at + self._silence_s
        if now >= due and now >= self._busy_until and not line.unread:
            self._leave()
        else:
            self._timeline.at(max(due, self._busy_until, now + 0.1 * self._silence_s), partial(self._watch, line))

    def _leave(self) -> None:
        line = self._line
        if line is not None:
            line.leave()
            self._ended(GONE)

    def _ended(self, code: int) -> None:
        line, self._line = self._line, None
        self._connected = False
        for followed in self._ids.values():
            followed.id = None
        self._ids.clear()
        self._let_go.clear()
        self._twice.clear()
        if line is None:
            return
        self._world.tell(e.HungUp(self.name, line.number, code))
        if code == CloseCode.UNAUTHORIZED and not self._token_bad:
            self._puzzled("it is refused although its token is good")
        low, high = COMES_BACK.get(code, GONE_THEN)
        self._dial_in(self._rng.uniform(low, high) * self._pace_s)

    # -- asking -----------------------------------------------------------------------------------

    def _say(self, type_: str, **members: object) -> None:
        assert self._line is not None
        said = {name: value for name, value in members.items() if value is not None}
        self._line.say(dump({"type": type_, **said}))

    def _token(self, followed: Followed | None) -> str:
        """For the connection, or for one job."""
        jobs = list(self.followed) if followed is None else [followed.job]
        return self._live.token(None if self._reads_all and followed is None else jobs, self._ttl_s)

    def _subscribe(self) -> None:
        """Ask for all that is not asked for, as far as there is room."""
        for followed in self.followed.values():
            if not followed.done and followed.id is None and len(self._ids) < self._topics_max:
                self._ask(followed)

    def _ask(self, followed: Followed) -> None:
        self._last_id += 1
        followed.id = name = str(self._last_id)
        self._ids[name] = followed
        followed.brought = followed.position
        followed.known = self._world.server.state(followed.job) is not None
        # What it began to follow after it connected is not covered by the connection's token.
        own = not self._reads_all and (followed.job not in self._covered or self._rng.random() < SELDOM)
        token = self._token(followed) if own else None
        position = None if followed.position is None else str(followed.position)
        self._say("subscribe", id=name, topic=f"job:{as_uuid(followed.job)}", position=position, token=token)
        if token is not None:
            self._plan_refresh(self._ttl_s, name)

    def _plan_refresh(self, left_s: float | None, name: str | None) -> None:
        """In time, mostly."""
        if left_s is not None:
            after_s = left_s * self._rng.uniform(0.5, 1.05)
            self._timeline.after(after_s, partial(self._refresh, self._line, name))

    def _refresh(self, line: Line | None, name: str | None) -> None:
        if self._line is not line or not self._connected:
            return
        followed = None if name is None else self._ids.get(name)
        if name is None or followed is not None:
            self._say("refresh", id=name, token=self._token(followed))

    # -- hearing ----------------------------------------------------------------------------------

    def _news(self) -> None:
        if self._taking:
            return
        if self._gap_s > 0 or self._timeline.now < self._busy_until:
            self._taking = True
            self._timeline.at(max(self._timeline.now + self._gap_s, self._busy_until), self._take)
        else:
            self._take()

    def _take(self) -> None:
        self._taking = False
        line = self._line
        while line is not None and self._line is line and line.unread and self._timeline.now >= self._busy_until:
            self._heard_at = self._timeline.now
            taken = line.take()
            if isinstance(taken, int):
                self._ended(taken)
            else:
                self._hear(taken)
            if self._gap_s > 0:
                break
        if self._line is not None and self._line.unread:
            self._news()

    def _hear(self, text: str) -> None:
        frame: dict[str, Any] = json.loads(text)
        match frame["type"]:
            case "connected":
                self._connected = True
                self._topics_max = frame["topics_max"]
                self._silence_s = 2 * frame["heartbeat_ms"] / 1000
                self._plan_refresh(_left_s(frame), None)
                self._subscribe()
            case "subscribed" | "update" | "pending" | "error" if frame.get("id") in self._ids:
                self._told(self._ids[frame["id"]], frame, text)
            case "subscribed" | "update" | "pending" if frame["id"] in self._let_go:
                pass  # it was under way
            case "error":
                self._refused(frame)
            case "refreshed":
                self._plan_refresh(_left_s(frame), frame.get("id"))
            case "heartbeat":
                pass
            case _:
                self._puzzled(f"it does not expect {text[:200]}")

    def _told(self, followed: Followed, frame: dict[str, Any], text: str) -> None:
        match frame["type"]:
            case "subscribed":
                self._stands(followed, frame)
            case "update":
                self._sees(followed, frame, text)
            case "error":
                self._forget(followed)
                self._lost(followed, frame["problem"]["type"])
            case _:
                pass

    def _stands(self, followed: Followed, frame: dict[str, Any]) -> None:
        position, recovered = Position.parse(frame["position"]), frame["recovered"]
        followed.position = position
        self._world.tell(e.Stood(followed.name, followed.job, position, recovered))
        if recovered != ("snapshot" not in frame) or (recovered and position != followed.brought):
            self._puzzled(f"it brought {followed.brought} and is told {json.dumps(frame)[:300]}")
        if frame.get("ended"):
            self._finish(followed)
            return
        fate = self._rng.random()
        roomy = self._topics_max > 2 * len(self.followed)  # asked for twice, it may take two places
        if fate < SHAKY and followed.id is not None and roomy:
            self._twice.add(followed.id)
            self._say("subscribe", id=followed.id, topic=f"job:{as_uuid(followed.job)}")
        elif fate < 2 * SHAKY:
            self._say("unsubscribe", id=followed.id)
            self._forget(followed)
            self._subscribe()

    def _sees(self, followed: Followed, frame: dict[str, Any], text: str) -> None:
        kind = UpdateKind(frame["kind"])
        followed.position = position = Position.parse(frame["position"])
        data = text[text.index('"data":') + len('"data":') : -1]  # as it was written
        at = datetime.fromisoformat(frame["at"]).timestamp()
        update = Update(position.offset, kind, frame["attempt"], data, at)
        self._world.tell(e.Saw(followed.name, followed.job, update))
        if kind is UpdateKind.END:
            self._finish(followed)

    def _finish(self, followed: Followed) -> None:
        followed.done = True
        name = followed.id
        self._forget(followed)
        if name is not None and name not in self._twice:
            self._let_go.discard(name)  # nothing comes after the end
        if self.done:
            self._leave()
        else:
            self._subscribe()

    def _forget(self, followed: Followed) -> None:
        if followed.id is not None:
            self._ids.pop(followed.id, None)
            self._let_go.add(followed.id)
            followed.id = None

    def _lost(self, followed: Followed, problem: str) -> None:
        """A subscription was refused, or ended by the server."""
        code = problem.rpartition(":")[2]
        if code == "unknown-job":
            if followed.known and self._world.server.state(followed.job) is not None:
                self._puzzled(f"job {followed.job.hex()} is said to be unknown")
            self._finish(followed)
        elif code == "token-expired" and self._ttl_s is not None:
            self._subscribe()
        else:
            self._puzzled(f"a subscription is refused: {problem}")

    def _refused(self, frame: dict[str, Any]) -> None:
        code = frame["problem"]["type"].rpartition(":")[2]
        if code not in {"subscription-exists", "unknown-subscription"} and frame.get("id") not in self._let_go:
            self._puzzled(f"it is told {json.dumps(frame)[:300]}")

    def _puzzled(self, text: str) -> None:
        self._world.tell(e.Puzzled(self.name, text))


def _left_s(frame: dict[str, Any]) -> float | None:
    left_ms = frame.get("expires_in_ms")
    return None if left_ms is None else left_ms / 1000
