"""The serving side of the simulated live feed: production connections on the API processes, and who may read."""

import random
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from headrace.core.model import JobId
from headrace.core.session_events import Grant, Granted, SessionLimits
from headrace.core.wire import CloseCode
from headrace.runtime.live import Host, LiveConnection
from headrace.runtime.reader import FeedReader
from headrace.runtime.views import snapshot_view
from headrace.testing.sim import events as e
from headrace.testing.sim import strain_events as s
from headrace.testing.sim.browsers import Browser
from headrace.testing.sim.lines import Line
from headrace.testing.sim.remote import RemoteStore

if TYPE_CHECKING:
    from headrace.testing.sim.clients import Api
    from headrace.testing.sim.node import Machine, Node
    from headrace.testing.sim.world import World


class Live:
    """The live feed of one world: its browsers, and the lines that are open."""

    def __init__(self, world: "World") -> None:
        """Nobody follows yet."""
        self.world = world
        self.rng = rng = world.rng("live")
        self.limits = draw_limits(rng, world.scenario.pace_s)
        self.browsers: list[Browser] = []
        self.lines: dict[int, Line] = {}
        self._window = rng.choice((300, 3_000, 64 * 1024))
        self._latency_s = rng.choice((0.001, 0.02, 0.2))
        self._checked = rng.choice((0.0, 0.3))  # how often a credential is looked up in the store

    def takes(self) -> bool:
        """Whether the next job that somebody follows is followed by a browser."""
        return self.rng.random() < HALF

    def hurries(self) -> bool:
        """Whether a browser follows the next job before its producer is told that there is one."""
        return self.rng.random() < SELDOM

    def follow(self, job: JobId) -> None:
        """Let a browser follow this job too."""
        browser = self.browsers[-1] if self.browsers else None
        if browser is None or browser.full:
            browser = Browser(self, f"browser-{self.world.number('browser')}")
            self.browsers.append(browser)
        browser.follow(job)

    @property
    def done(self) -> bool:
        """Whether every browser has seen all ends, and every line is given up."""
        return all(browser.done for browser in self.browsers) and not self.open_lines()

    def open_lines(self) -> list[Line]:
        """Those that a process still serves."""
        return [line for line in self.lines.values() if not line.node.dead]

    def dial(self) -> Line | None:
        """A browser opens a connection to any API process; None: there is none."""
        apis = [api for api in self.world.apis if not api.node.dead]
        if not apis:
            return None
        api = self.rng.choice(apis)
        line = Line(self.world.number("line"), api.node, self.rng, self._latency_s, self._window)
        self.lines[line.number] = line
        line.node.on_death.append(lambda _: self._forget(line))
        self.world.timeline.after(self._latency_s, partial(self._accept, line, api.store, api.reader))
        return line

    def _forget(self, line: Line) -> None:
        self.lines.pop(line.number, None)

    def _accept(self, line: Line, store: RemoteStore, reader: FeedReader) -> None:
        if line.node.ending or line.silent:
            self._forget(line)
        else:
            line.node.spawn(self._serve(line, store, reader))

    def shut_down(self, node: "Node") -> None:
        """A process tells its browsers to come back."""
        for line in self.open_lines():
            if line.node is node and line.connection is not None:
                node.loop.call_soon(line.connection.shut_down)

    def held(self, api: "Api") -> str:
        """What the feed reader of a process remembers, in words; empty: nothing."""
        here = api.reader._loops.get(api.node.loop)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if here is None:
            return ""
        names = ("_followed", "_flights", "_snapshots", "_poller", "_forget")
        return ", ".join(name[1:] for name in names if getattr(here, name))

    # -- serving ----------------------------------------------------------------------------------

    async def _serve(self, line: Line, store: RemoteStore, reader: FeedReader) -> None:
        node, pending_s = line.node, 3.0  # as many looks whatever the pace

        async def authenticate(token: str | None) -> Granted:
            if self.rng.random() < self._checked:
                await store.queues()  # as the keys, which are in the store
            return self._granted(token, node)

        strained = self.world.scenario.strain is not None
        if strained and reader.pressure.closed:
            node.tell(s.TurnedAway(line.number, node.name))
            self._forget(line)
            line.turn_away(CloseCode.UNAVAILABLE)
            return
        host = Host(authenticate, lambda snapshot: snapshot_view(snapshot, "/headrace"), pending_s)
        line.connection = LiveConnection(line, reader, node.clock, host, self.limits, rng=self.rng)
        node.tell(e.Linked(line.number, node.name))
        try:
            with reader.pressure.watched() if strained else nullcontext():
                await line.connection.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it should not be
            node.surprise(error)
        node.tell(e.Unlinked(line.number, line.left()))
        self._forget(line)
        line.dropped()

    # -- tokens -----------------------------------------------------------------------------------

    def token(self, jobs: list[JobId] | None, ttl_s: float | None) -> str:
        """A token for these jobs, or for all, made on a machine of the fleet that shows its own time."""
        machine: Machine = self.rng.choice(self.world.apis).machine
        names = "*" if jobs is None else "+".join(job.hex() for job in jobs)
        return f"sim/{names}/{'-' if ttl_s is None else machine.wall() + ttl_s}"

    def _granted(self, token: str | None, node: "Node") -> Granted:
        if token is None or not token.startswith("sim/"):
            return Granted(0, None)
        _, names, expires = token.split("/")
        jobs = frozenset[JobId]() if names == "*" else frozenset(map(bytes.fromhex, names.split("+")))
        if expires == "-":
            return Granted(0, Grant(names == "*", jobs))
        left_s = float(expires) - node.clock.wall()
        if left_s <= 0:
            return Granted(0, None, "token-expired")
        return Granted(0, Grant(names == "*", jobs, node.clock.now() + left_s))


def draw_limits(rng: random.Random, pace_s: float) -> SessionLimits:
    """Bounds that are met: small ones, and such as real ones."""
    return SessionLimits(
        connect_s=10.0 * pace_s,
        heartbeat_s=rng.choice((3.0, 10.0)) * pace_s,
        write_s=rng.choice((3.0, 10.0)) * pace_s,
        age_s=rng.choice((20.0, 60.0, 120.0)) * pace_s,
        retry_s=rng.choice((0.2, 1.0)) * pace_s,
        topics_max=rng.choice((2, 100, 100)),
        queued_bytes_max=rng.choice((400, 2_000, 20_000, 256 * 1024)),
        frames_burst=60,
        frames_per_s=20.0 / pace_s,
        page=rng.choice((3, 100)),
    )


HALF, SELDOM = 0.5, 0.05
