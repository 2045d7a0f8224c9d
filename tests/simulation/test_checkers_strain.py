"""What is judged under strain: each checker bites on a broken promise, and lets the lawful neighbour pass."""

import random
from types import SimpleNamespace
from typing import Any

from headrace.core.admission import QueuePolicy, Reason
from headrace.core.feed import Position
from headrace.core.ladder import Climber
from headrace.core.load import QueueLoad, TaskLoad
from headrace.core.model import NewJob, Update, UpdateKind
from headrace.runtime.pressure import LADDER
from headrace.testing.sim import events as e
from headrace.testing.sim import strain_events as s
from headrace.testing.sim.checkers import Checker
from headrace.testing.sim.checkers.admission import LowestGoesFirst, QueuesAreBounded, WhoComesAgainGetsIn
from headrace.testing.sim.checkers.pressure import NewsComesLate, PressureIsLawful
from headrace.testing.sim.strain import Strain
from tests.simulation.court import JOB, Court

NODE = "api-1"
POLICIES = {"q": QueuePolicy(2, 1.0, 1.0)}
EMPTY = (QueueLoad("q"),)
BUSY = (QueueLoad("q", tasks=(TaskLoad("t", 0, 2, 2, 9.0),)),)


class Crowd(Court):
    """A court with a bounded queue, and a process that lets in."""

    def __init__(self, make: type[Checker]) -> None:
        super().__init__(make)
        self.scenario.strain = Strain(POLICIES, rush=True, nested=0.0, block_s=1.0, spell_s=5.0)
        self.node = SimpleNamespace(name=NODE, paused_until=0.0, clock=SimpleNamespace(now=lambda: self.timeline.now))
        self.apis = [SimpleNamespace(node=self.node, door=SimpleNamespace(callers={}))]
        self.checker = make(self)  # type: ignore[arg-type]

    def look(self, loads: tuple[QueueLoad, ...] | None = EMPTY, node: str = NODE) -> None:
        self.tell(s.Looked(node, self.timeline.now, loads))

    def let_in(self, number: int, node: str = NODE, **fields: Any) -> bytes:
        """Let a job in, which is not enqueued yet."""
        new = job(number, **fields)
        self.tell(s.Admitted(node, (new,), nested=False))
        return new.id

    def refusal(self, reason: Reason, retry_in_s: float | None = 1.0, **fields: Any) -> s.Refused:
        return s.Refused(NODE, (job(99, **fields),), nested=False, queue="q", reason=reason, retry_in_s=retry_in_s)

    def keeps(self) -> bool:
        kept, self.broken = self.broken == [], []
        return kept


def job(number: int, **fields: Any) -> NewJob:
    return NewJob(**{"id": bytes(15) + bytes([number]), "task": "t", "queue": "q", "args": "{}", **fields})


# -- admission ------------------------------------------------------------------------------------


def test_no_more_waits_than_could_not_be_known_of() -> None:
    court = Crowd(QueuesAreBounded)
    court.look()
    for number in (1, 2):
        court.enqueue(court.let_in(number))
    assert court.keeps()
    court.enqueue(court.let_in(3))
    assert not court.keeps(), "its process has let two in before"
    court.wait(1.0)
    court.look(node="api-2")
    court.register()
    court.claim(limit=2)
    court.enqueue(court.let_in(4))
    assert court.keeps(), "two of the three are claimed"


def test_what_others_enqueue_meanwhile_cannot_be_known_of() -> None:
    court = Crowd(QueuesAreBounded)
    court.look()
    court.look(node="api-2")
    ids = [court.let_in(1), court.let_in(2), court.let_in(3, "api-2"), court.let_in(4, "api-2")]
    for each in ids:
        court.enqueue(each)
    assert court.keeps()
    court.wait(1.0)
    court.look(BUSY)
    court.enqueue(court.let_in(5))
    assert not court.keeps(), "it has counted since"


def test_nobody_gets_in_without_being_let_in() -> None:
    court = Crowd(QueuesAreBounded)
    court.enqueue()
    assert not court.keeps()
    court.enqueue(court.let_in(2))
    assert court.keeps(), "before the first count there is no bound"


def test_a_queue_is_full_by_a_fresh_count_only() -> None:
    court = Crowd(QueuesAreBounded)
    court.look(BUSY)
    assert not court.breaks(court.refusal(Reason.DEPTH))
    assert court.breaks(court.refusal(Reason.DEPTH, None))
    assert court.breaks(court.refusal(Reason.DEPTH, 0.0))
    court.look(None)
    assert court.breaks(court.refusal(Reason.DEPTH))
    court.look(BUSY)
    court.wait(0.5)
    assert court.breaks(court.refusal(Reason.DEPTH))
    court.node.paused_until = 0.45
    assert not court.breaks(court.refusal(Reason.DEPTH)), "it stood still meanwhile"


def test_lower_priorities_are_refused_first() -> None:
    court = Crowd(LowestGoesFirst)
    court.look(BUSY)
    court.let_in(1, priority=5)
    court.let_in(2, priority=-5, delay_s=60.0)
    assert not court.breaks(court.refusal(Reason.AGE, priority=0))
    court.let_in(3, priority=-5)
    assert not court.keeps()
    court.look(BUSY)
    court.let_in(4, priority=-5)
    assert court.keeps(), "it has asked again since"
    assert court.breaks(court.refusal(Reason.AGE, priority=0))
    assert court.breaks(court.refusal(Reason.AGE, delay_s=60.0)), "it is not for now"


def test_an_empty_queue_refuses_nobody_for_long() -> None:
    court = Crowd(LowestGoesFirst)
    court.look(BUSY)
    for _ in range(4):
        court.look()
        court.wait(1.2)
        court.look()
    assert court.breaks(court.refusal(Reason.AGE))
    court.look(BUSY)
    assert not court.breaks(court.refusal(Reason.AGE))


def test_who_comes_again_is_let_in_in_the_end() -> None:
    court = Crowd(WhoComesAgainGetsIn)
    assert court.drains()
    court.apis[0].door.callers[JOB] = None
    assert not court.drains()


# -- pressure -------------------------------------------------------------------------------------


class Feed(Crowd):
    """A process whose loop is late, with a reader."""

    def __init__(self) -> None:
        super().__init__(PressureIsLawful)
        self.tell(e.Linked(1, NODE))

    def passes(self, seconds: float, late_s: float, level: int) -> None:
        """So long its loop is so late, and it says that it is at this level."""
        until = self.timeline.now + seconds
        while self.timeline.now < until:
            self.wait(0.25 + late_s)
            self.node.paused_until = self.timeline.now if late_s else self.node.paused_until
            self.tell(s.Pressed(NODE, late_s, level))


def test_levels_come_and_go_as_the_ladder_says() -> None:
    court, climber, rng = Feed(), Climber(LADDER), random.Random(1)
    told: set[int] = set()
    for _ in range(60):
        late_s, looks = rng.choice((0.0, 0.0, 0.1, 0.3, 1.5)), rng.randrange(40)
        for _ in range(looks):
            court.wait(0.25 + late_s)
            court.node.paused_until = court.timeline.now if late_s else court.node.paused_until
            told.add(climber.observe(court.timeline.now, late_s))
            court.tell(s.Pressed(NODE, late_s, climber.level))
        assert court.keeps()
    assert told == {0, 1, 2}


def test_a_level_that_stays_or_is_skipped_is_found() -> None:
    court = Feed()
    court.passes(1.6, 0.3, 0)
    court.broken.clear()
    court.passes(0.3, 0.3, 1)
    assert court.keeps()
    court.passes(5.0, 0.0, 1)
    assert court.keeps()
    court.passes(1.0, 0.0, 1)
    assert not court.keeps()


def test_readers_are_turned_away_at_the_last_level_only() -> None:
    court = Feed()
    assert court.breaks(s.TurnedAway(2, NODE))
    court.checker._climbs[NODE] = SimpleNamespace(level=2)  # type: ignore[attr-defined]
    assert not court.breaks(s.TurnedAway(2, NODE))


def test_nobody_is_watched_for_who_is_gone() -> None:
    court = Feed()
    court.passes(1.0, 0.0, 0)
    court.tell(e.Unlinked(1, ""))
    court.passes(0.2, 0.0, 0)
    assert court.keeps(), "the look that was under way"
    court.passes(0.2, 0.0, 0)
    assert not court.keeps()


def test_news_that_comes_too_late_is_found() -> None:
    court = Crowd(NewsComesLate)
    reader = "browser-1.1"
    court.wait(1.0)
    court.tell(e.Stood(reader, JOB, Position("e", 0), recovered=True))
    at = court.server.wall()
    court.wait(8.0)
    assert not court.breaks(e.Saw(reader, JOB, Update(1, UpdateKind.STATE, 0, "{}", at)))
    court.wait(8.0)
    assert court.breaks(e.Saw(reader, JOB, Update(1, UpdateKind.STATE, 0, "{}", at)))
    assert not court.breaks(e.Saw(reader, JOB, Update(1, UpdateKind.STATE, 0, "{}", at - 2))), "it came back since"
    assert not court.breaks(e.Saw("reader-1", JOB, Update(1, UpdateKind.STATE, 0, "{}", at)))
