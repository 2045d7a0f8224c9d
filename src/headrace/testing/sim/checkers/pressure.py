"""Live feeds give up what a late loop asks for, step by step, and nothing but time."""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.testing.sim import events as e
from headrace.testing.sim import strain_events as s
from headrace.testing.sim.checkers.base import Checker, Hearing

if TYPE_CHECKING:
    from headrace.testing.sim.node import Node
    from headrace.testing.sim.world import World

# As the docs tell them: of each level, how late for how long enters it, and how late for how long leaves it.
LEVELS = ((0.2, 1.0, 0.05, 5.0), (1.0, 3.0, 0.2, 5.0))
LOOK_S = 0.25
PACE_S = 3.0  # how seldom readers are told of news at worst
DRIFT = 1.05
TURNS = 3  # of a loop, from news to the frame that tells it
SLACK_S = 1e-6


@dataclass(slots=True)
class Climb:
    """What a process has told of itself."""

    node: "Node"
    level: int = 0
    moved_at: float = 0.0
    looks: deque[tuple[float, float]] = field(default_factory=deque[tuple[float, float]])
    idle: int = 0  # looks at level 0 without a reader

    def lasted_s(self, now: float, least: float, most: float = float("inf")) -> float:
        """For how long lateness has been within these without a break; negative: it is not."""
        began = None
        for at, late_s in reversed(self.looks):
            if not least <= late_s < most:
                break
            began = at
        return -1.0 if began is None else now - began


class PressureIsLawful(Checker):
    """A level comes after its lateness for its time, not sooner nor later, and goes one at a time.

    A loop that is in time again is at level 0 after the falls of all levels. Readers are turned away at the last level
    only. A process looks how late it is only while somebody reads.
    """

    name = "live feeds give up step by step, and take it back"

    def __init__(self, world: "World") -> None:
        """Nobody reads."""
        super().__init__(world)
        self._climbs: dict[str, Climb] = {}
        self._lines: dict[int, str] = {}

    def hears(self) -> Hearing:
        """Looks, and readers that come and go."""
        return {
            s.Pressed: self._pressed,
            s.TurnedAway: self._turned_away,
            e.Linked: self._linked,
            e.Unlinked: self._unlinked,
        }

    def _linked(self, event: e.Linked) -> None:
        self._lines[event.line] = event.node
        if event.node in self._climbs:
            self._climbs[event.node].idle = 0

    def _unlinked(self, event: e.Unlinked) -> None:
        del self._lines[event.line]

    def _turned_away(self, event: s.TurnedAway) -> None:
        climb = self._climbs.get(event.node)
        if climb is None or climb.level < len(LEVELS):
            self.fail(f"{event.node} turns connection {event.line} away at level {climb.level if climb else 0}")

    def _pressed(self, event: s.Pressed) -> None:
        climb = self._climbs.get(event.node)
        if climb is None:
            node = next(api.node for api in self.world.apis if api.node.name == event.node)
            climb = self._climbs[event.node] = Climb(node)
        now, before = climb.node.clock.now(), climb.level
        if climb.looks and now - climb.looks[-1][0] > event.late_s + LOOK_S + SLACK_S:
            climb.looks.clear()  # nobody read meanwhile
        climb.looks.append((now, event.late_s))
        while len(climb.looks) > LOOKS_MAX:
            climb.looks.popleft()
        self._judge(climb, event, now)
        self._judge_end(climb, event)
        if event.level != before:
            climb.level, climb.moved_at = event.level, now

    def _judge(self, climb: Climb, event: s.Pressed, now: float) -> None:
        lasting = [level for level, (enter, rise_s, *_) in enumerate(LEVELS, 1) if climb.lasted_s(now, enter) >= rise_s]
        called = max(lasting, default=0)
        lawful = max(called, climb.level)
        if called <= climb.level > 0:
            _, _, leave, fall_s = LEVELS[climb.level - 1]
            under_s = min(climb.lasted_s(now, -LOOK_S, leave), now - climb.moved_at)
            lawful = climb.level - (under_s >= fall_s)
        if event.level != lawful:
            was = f"and was at level {climb.level} since {now - climb.moved_at:.2f} s"
            self.fail(f"{event.node} is at level {event.level}, not {lawful}: it is {event.late_s:.2f} s late, {was}")

    def _judge_end(self, climb: Climb, event: s.Pressed) -> None:
        """From the world's own knowledge of when it could not run."""
        well_s = self.world.timeline.now - climb.node.paused_until
        if event.level and well_s > DRIFT * sum(fall_s + 2 * LOOK_S for _, _, _, fall_s in LEVELS):
            self.fail(f"{event.node} was in time for {well_s:.1f} s and is at level {event.level}")
        climb.idle = 0 if event.level or climb.level or event.node in self._lines.values() else climb.idle + 1
        if climb.idle > 1:
            self.fail(f"{event.node} looks how late it is, and nobody reads")


class NewsComesLate(Checker):
    """A browser that reads is told of news a few seconds later at most, however late its process's loop is.

    Judged where nothing else goes wrong: between two frames of a connection that was there before the news.
    """

    name = "news comes late under pressure, and comes"

    def __init__(self, world: "World") -> None:
        """Nobody follows."""
        super().__init__(world)
        strain, scenario = world.scenario.strain, world.scenario
        blocks_s = 0.0 if strain is None or strain.block_s is None else TURNS * strain.block_s
        self._judged = strain is not None and not scenario.faults
        self._most_s = PACE_S + 2 * scenario.pace_s + blocks_s + SPARE_S
        self._stood_at: dict[str, float] = {}

    def hears(self) -> Hearing:
        """What readers are told."""
        return {e.Stood: self._stood, e.Saw: self._saw} if self.world.scenario.strain is not None else {}

    def _stood(self, event: e.Stood) -> None:
        self._stood_at[event.reader] = self.world.server.wall()

    def _saw(self, event: e.Saw) -> None:
        now, at = self.world.server.wall(), event.update.at
        if not self._judged or not event.reader.startswith("browser") or at < self._stood_at.get(event.reader, now):
            return
        if now - at > self._most_s:
            offset = event.update.offset
            self.fail_of(event.job, f"{event.reader} was told of update {offset} after {now - at:.1f} s")


LOOKS_MAX = 100  # of 0.25 s: more than any level takes to come or go
SPARE_S = 1.0
