"""Browsers are served as the protocol says."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.core.wire import CloseCode
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.testing.sim.lines import Line
    from headrace.testing.sim.world import World

ANSWERED_S = 60.0  # of the protocol's time, once everything is well
CONTROL_BYTES = 2_000  # answers to what the browser itself asked; the rate of that is bounded
SLACK_S = 1.5
LATE = 1.1  # clocks of machines drift


@dataclass(slots=True)
class Served:
    """One connection as its process shows it."""

    line: "Line"
    connected: bool = False
    writing: bool = False
    closing: bool = False
    sent_at: float = 0.0
    write_at: float = 0.0
    asked: dict[str, float] = field(default_factory=dict[str, float])  # subscriptions without an answer, since when


class BrowsersAreServed(Checker):
    """Frames one at a time and none after the close; answers, heartbeats, bounds; and nothing is left behind."""

    name = "browsers are served"

    def __init__(self, world: "World") -> None:
        """Nobody is connected."""
        super().__init__(world)
        self._served: dict[int, Served] = {}
        self._well_at = float("inf")

    def hears(self) -> Hearing:
        """What connections do, and what browsers find."""
        return {
            e.Linked: self._linked,
            e.Heard: self._heard,
            e.Framed: self._framed,
            e.Taken: self._taken,
            e.Closing: self._closing,
            e.Unlinked: self._unlinked,
            e.Puzzled: lambda puzzled: self.fail(f"{puzzled.reader}: {puzzled.text}"),
            e.Fault: self._fault,
        }

    @property
    def _now(self) -> float:
        return self.world.timeline.now

    def _fault(self, _: e.Fault) -> None:
        if not self.world.troubled:
            self._well_at = min(self._well_at, self._now)

    def _linked(self, event: e.Linked) -> None:
        self._served[event.line] = Served(self.world.live.lines[event.line])

    def _heard(self, event: e.Heard) -> None:
        served = self._served[event.line]
        self._bounded(served)
        frame = json.loads(event.text)
        if frame["type"] == "subscribe":
            served.asked.setdefault(frame["id"], self._now)
        elif frame["type"] == "unsubscribe":
            served.asked.pop(frame["id"], None)

    def _framed(self, event: e.Framed) -> None:
        served, text = self._served[event.line], event.text
        if served.closing:
            self.fail(f"connection {event.line} sent a frame after its close: {text[:100]}")
        if served.writing:
            self.fail(f"connection {event.line} sent a frame while another was under way: {text[:100]}")
        self._regular(served)
        served.writing, served.write_at = True, self._now
        if text.startswith('{"type":"connected"'):
            served.connected = True
        elif text.startswith(ANSWERS):
            asked_at = served.asked.pop(json.loads(text).get("id", ""), None)
            if asked_at is not None:
                self._answered(served, asked_at)

    def _taken(self, event: e.Taken) -> None:
        served = self._served[event.line]
        self._bounded(served)
        served.writing, served.sent_at = False, self._now

    def _closing(self, event: e.Closing) -> None:
        served = self._served[event.line]
        self._regular(served)
        served.closing = True
        line, limits, code = served.line, self.world.live.limits, CloseCode(event.code)
        since = self._now - limits.write_s * LATE - SLACK_S
        if code is CloseCode.SLOW and not (
            line.given_up or line.busy_until > since or self._stood_still(served, since)
        ):
            self.fail(f"connection {event.line} is closed as slow, and its browser reads")
        if code is CloseCode.SILENT and not (line.given_up or self._stood_still(served, self._now - limits.connect_s)):
            self.fail(f"connection {event.line} is closed as silent, and its browser had connected")
        if code in {CloseCode.BAD_FRAME, CloseCode.TOO_LARGE, CloseCode.FLOOD}:
            self.fail(f"connection {event.line} is closed with {code.value}, and its browser keeps to the protocol")

    def _unlinked(self, event: e.Unlinked) -> None:
        del self._served[event.line]
        if event.left:
            self.fail(f"connection {event.line} has ended, and holds {event.left}")

    # -- bounds -----------------------------------------------------------------------------------

    def _stood_still(self, served: Served, since: float) -> bool:
        """Whether its process may not have run since then."""
        paused_until: float = served.line.node._paused_until  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return paused_until > since

    def _bounded(self, served: Served) -> None:
        """The bound, one frame, and what the browser asked for."""
        sizes, bound = served.line.queued, self.world.live.limits.queued_bytes_max
        if sizes and sum(sizes) - max(sizes) >= bound + CONTROL_BYTES:
            self.fail(f"for connection {served.line.number} wait {sum(sizes)} bytes, of {bound}; frames {sizes}")

    def _regular(self, served: Served) -> None:
        """Something is sent at least once in a heartbeat."""
        if not served.connected or served.writing:
            return
        heartbeat_s = self.world.live.limits.heartbeat_s * LATE + SLACK_S
        if self._now - served.sent_at > heartbeat_s and not self._stood_still(served, served.sent_at):
            self.fail(f"connection {served.line.number} sent nothing for {self._now - served.sent_at:.1f} s")

    def _answered(self, served: Served, asked_at: float) -> None:
        since = max(asked_at, self._well_at)
        if self._now - since > ANSWERED_S * self.world.scenario.pace_s and not served.line.given_up:
            self.fail(f"connection {served.line.number} has answered a subscription of {asked_at:.1f} s only now")

    # -- the end ----------------------------------------------------------------------------------

    def drained(self) -> None:
        """Every browser has seen its ends; nobody follows any more, and no reader remembers anyone."""
        for served in self._served.values():
            if not served.line.node.dead:
                self._regular(served)
                for asked_at in served.asked.values():
                    self._answered(served, asked_at)
        for browser in self.world.live.browsers:
            for followed in browser.followed.values():
                if not followed.done:
                    self.fail_of(followed.job, f"{followed.name} is at {followed.position} and has not seen the end")
        for api in self.world.apis:
            held = self.world.live.held(api)
            if held:
                self.fail(f"nobody follows on {api.node} any more, and its reader holds {held}")


ANSWERS = ('{"type":"subscribed"', '{"type":"pending"', '{"type":"error"')
