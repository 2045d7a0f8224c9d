"""Admission in a small world: a fleet that starts so many jobs a second, and whoever wants to enqueue."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.admission import RETRY_S_MAX, RETRY_S_MIN, Admission, QueuePolicy, Reason, Refusal
from headrace.core.load import LoadAsked, QueueLoad, TaskLoad

TARGET_S = 10.0
POLICY = QueuePolicy(age_target_s=TARGET_S, interval_s=2.0)
STEP_S = 0.1


@dataclass
class World:
    """One queue, strict by priority, and the process that admits to it."""

    policy: QueuePolicy = POLICY
    workers: float = 20.0  # jobs that are started in a second
    now: float = 1_000.0
    waiting: dict[int, list[float]] = field(default_factory=dict[int, list[float]])  # since when, by priority
    waits: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    refused: dict[int, int] = field(default_factory=dict[int, int])
    offered: dict[int, int] = field(default_factory=dict[int, int])
    paused: bool = False

    def __post_init__(self) -> None:
        self.rng = random.Random(7)
        self.admission = Admission("billing", self.policy)
        self._room = 0.0
        self._owed: dict[int, float] = {}
        self._look_at = self.now

    def load(self, asked: LoadAsked) -> QueueLoad:
        left, tasks = asked.jobs_max, []
        for priority, since in sorted(self.waiting.items(), reverse=True):
            counted = since[: max(left, 0)]
            if since:
                older = sum(self.now - at >= asked.since_s - 1e-9 for at in counted)
                tasks.append(TaskLoad("charge", priority, len(counted), older, self.now - since[0]))
            left -= len(counted)
        return QueueLoad("billing", self.paused, 0, tuple(tasks))

    def look(self) -> None:
        asked = self.admission.question(self.now)
        self.admission.looked(self.load(asked), asked, self.now)

    def run(self, seconds: float, rates: dict[int, float]) -> "World":
        """So long, with so many enqueues a second of each priority; what it counted before is forgotten."""
        self.waits, self.refused, self.offered = {}, dict.fromkeys(rates, 0), dict.fromkeys(rates, 0)
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            if self.now >= self._look_at:
                self._look_at = self.now + 1.0
                self.look()
            self._enqueue(rates)
            self._start()
        return self

    def _enqueue(self, rates: dict[int, float]) -> None:
        for priority, rate in rates.items():
            self._owed[priority] = self._owed.get(priority, 0.0) + rate * STEP_S
            while self._owed[priority] >= 1:
                self._owed[priority] -= 1
                self.offered[priority] += 1
                if self.admission.refuse(priority, self.now, self.rng.random()) is not None:
                    self.refused[priority] += 1
                else:
                    self.admission.admitted(priority)
                    self.waiting.setdefault(priority, []).append(self.now + 0.001)

    def _start(self) -> None:
        if self.paused:
            return
        self._room = min(self._room + self.workers * STEP_S, max(1.0, self.workers * STEP_S))
        for priority in sorted(self.waiting, reverse=True):
            while self._room >= 1 and self.waiting[priority]:
                self._room -= 1
                self.waits.setdefault(priority, []).append(self.now - self.waiting[priority].pop(0))

    def share(self, priority: int) -> float:
        return self.refused[priority] / self.offered[priority]


def test_what_the_workers_can_do_is_never_refused() -> None:
    world = World().run(120, {0: 10, 5: 9})
    assert world.refused == {0: 0, 5: 0}


def seen(admission: Admission, at: float, ready: int, older: int = 0, oldest_s: float = 0.0) -> None:
    """One look, while somebody enqueues."""
    admission.heard(0, at)
    tasks = (TaskLoad("charge", 0, ready, older, oldest_s),) if ready else ()
    admission.looked(QueueLoad("billing", tasks=tasks), admission.question(at), at)


def test_workers_that_had_nothing_left_to_do_tell_no_rate() -> None:
    admission = Admission("billing", POLICY)
    for at in range(10):
        seen(admission, float(at), ready=1)
    seen(admission, 10.0, ready=150)
    assert (admission.late_s(0), admission.rooms(0)) == (0.0, [])
    seen(admission, 11.0, ready=200, older=100, oldest_s=1.0)
    assert admission.late_s(0) == pytest.approx(200 / 50)


def test_it_goes_on_refusing_until_it_was_not_late_for_a_whole_interval() -> None:
    admission = Admission("billing", POLICY)
    seen(admission, 0.0, ready=1, older=1, oldest_s=30.0)
    shares = []
    for at in (1.0, 1.5, 2.0, 2.5, 3.0):
        seen(admission, at, ready=1, older=1, oldest_s=1.0)
        seen(admission, at + 0.25, ready=1, older=1, oldest_s=25.0 if at < 1.5 else 1.0)
        shares.append(admission.share(-1))  # of what is below the level, while there is one
    assert shares == [1.0, 1.0, 1.0, 1.0, 1.0]
    seen(admission, 3.5, ready=1, older=1, oldest_s=1.0)
    assert admission.share(-1) == 0.0


def test_a_burst_that_is_worked_off_in_time_is_not_refused() -> None:
    world = World().run(20, {0: 5})
    assert world.run(1, {0: 150}).refused == {0: 0}
    assert world.run(30, {0: 5}).refused == {0: 0}


def test_a_quiet_queue_whose_workers_pause_for_a_deploy_refuses_nobody() -> None:
    world = World().run(60, {0: 10})
    world.workers = 0
    assert world.run(6, {0: 10}).refused == {0: 0}
    world.workers = 20
    assert world.run(30, {0: 10}).refused == {0: 0}


@pytest.mark.parametrize("times", [1.5, 3, 10, 30])
def test_under_overload_workers_stay_busy_and_waits_stay_near_the_target(times: float) -> None:
    world = World().run(60, {0: 10})
    world.run(40, {0: 20 * times})
    world.run(60, {0: 20 * times})
    assert world.share(0) == pytest.approx(1 - 1 / times, abs=0.1)
    assert max(world.waits[0]) < 2 * TARGET_S + 3 * times  # what came in the interval before any was refused
    assert len(world.waits[0]) > 0.95 * 60 * 20
    world.run(20, {0: 10})
    assert world.run(60, {0: 10}).refused == {0: 0}
    assert max(world.waits[0]) < TARGET_S


def test_the_lowest_priority_is_refused_first_and_the_highest_is_untouched() -> None:
    world = World().run(60, {0: 5, 5: 5, 9: 5}).run(120, {0: 50, 5: 50, 9: 5})
    assert world.refused[9] == 0
    assert max(world.waits[9]) < 1
    assert world.share(0) > world.share(5) > 0.5
    world.run(60, {0: 50, 5: 50, 9: 5})
    assert (world.share(0), world.refused[9]) == (1.0, 0)
    world.run(60, {0: 5, 5: 5, 9: 5})
    assert world.run(30, {0: 5, 5: 5, 9: 5}).refused == {0: 0, 5: 0, 9: 0}


def test_low_priority_that_suffices_is_all_that_is_refused() -> None:
    world = World().run(60, {0: 5, 9: 5}).run(120, {0: 200, 9: 15})
    assert world.refused[9] == 0
    assert world.run(120, {0: 200, 9: 15}).refused[9] == 0
    assert world.share(0) > 0.9


def test_dead_workers_are_an_overload_too_once_the_oldest_job_is_too_old() -> None:
    world = World().run(60, {0: 10})
    world.workers = 0
    assert world.run(5, {0: 10}).refused == {0: 0}
    assert world.run(60, {0: 10}).share(0) > 0.7
    assert world.admission.share(0) == 1
    world.workers = 20
    world.run(30, {0: 10})
    assert world.run(30, {0: 10}).refused == {0: 0}


def test_a_paused_queue_waits_on_purpose() -> None:
    world = World(paused=True).run(100, {0: 10})
    assert world.refused == {0: 0}


def test_a_task_that_is_held_does_not_age_its_queue() -> None:
    admission = Admission("billing", POLICY, lambda task: task == "held")
    for at in range(60):
        asked = admission.question(float(at))
        tasks = (TaskLoad("held", 0, 100, 100, float(at)), TaskLoad("charge", 0, 1, 0, 0.1))
        admission.looked(QueueLoad("billing", tasks=tasks), asked, float(at))
        assert admission.refuse(0, float(at), 0.0) is None


def test_who_enqueues_seldom_is_refused_by_what_the_oldest_job_proves() -> None:
    admission = Admission("billing", POLICY)
    for at in (0.0, 100.0, 200.0):
        admission.heard(0, at)
        asked = admission.question(at)
        admission.looked(QueueLoad("billing", tasks=(TaskLoad("charge", 0, 50, 50, 25.0),)), asked, at)
        refusal = admission.refuse(0, at, 0.5)
        assert refusal == Refusal(Reason.AGE, 15.0 * 1.25)


def test_an_overload_that_is_over_refuses_nobody_where_jobs_come_seldom() -> None:
    admission = Admission("billing", POLICY)
    for at in (0.0, 1.0, 2.0, 3.0):
        admission.heard(-5, at)
        seen(admission, at, ready=50, older=50, oldest_s=30.0 + at)
    assert admission.share(-5) == 1.0
    for at in (10.0, 20.0, 30.0):
        admission.heard(-5, at)
        seen(admission, at, ready=0)
        assert admission.refuse(-5, at, 0.0) is None
    for at in (40.0, 50.0):
        admission.heard(-5, at)
        seen(admission, at, ready=50, older=50, oldest_s=30.0)
        assert admission.refuse(-5, at, 0.9) is not None


def test_depth_bounds_all_alike_and_counts_what_was_admitted_since() -> None:
    admission = Admission("billing", QueuePolicy(depth_max=10))
    asked = admission.question(0.0)
    assert asked.jobs_max >= 11
    admission.looked(QueueLoad("billing", False, 4, (TaskLoad("charge", 0, 3, 3, 500.0),)), asked, 0.0)
    assert admission.refuse(0, 0.0, 0.0, count=3) is None
    admission.admitted(0, count=2)
    admission.admitted(0, later=True)
    refusal = admission.refuse(9, 0.0, 0.0, by_age=False, later=True)
    assert refusal is not None
    assert (refusal.reason, admission.depth) == (Reason.DEPTH, 10)
    (room,) = admission.rooms(0)
    assert (room.quota, room.left) == (10, 0)


def test_retry_after_is_how_long_the_workers_need_for_what_is_too_much() -> None:
    world = World().run(60, {0: 10}).run(30, {0: 200})
    refusal = world.admission.refuse(0, world.now, 0.0)
    assert refusal is not None
    assert refusal.retry_in_s == pytest.approx(len(world.waiting[0]) / 20, rel=0.2)
    (room,) = world.admission.rooms(0)
    assert room.left == 0
    assert room.quota == pytest.approx(200, rel=0.1)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.dictionaries(st.sampled_from([0, 3, 7]), st.floats(0, 150), min_size=1), min_size=1, max_size=5),
    st.lists(st.sampled_from([0.0, 1.0, 20.0]), min_size=1, max_size=5),
    st.sampled_from([POLICY, QueuePolicy(30, TARGET_S, 1.0), QueuePolicy(depth_max=30)]),
)
def test_whatever_comes_lower_priorities_go_first_and_answers_are_bounded(
    loads: list[dict[int, float]], fleets: list[float], policy: QueuePolicy
) -> None:
    world = World(policy)
    for rates, workers in zip(loads, fleets * 5, strict=False):
        world.workers = workers
        for _ in range(6):
            world.run(1.5, rates)
            shares = [world.admission.share(priority) for priority in (-1, 0, 3, 5, 7, 8)]
            assert shares == sorted(shares, reverse=True)
            assert sum(0 < share < 1 for share in shares) <= 1
            for priority in rates:
                refusal = world.admission.refuse(priority, world.now, world.rng.random())
                assert refusal is None or RETRY_S_MIN <= refusal.retry_in_s <= RETRY_S_MAX
            if policy.depth_max is not None:
                assert sum(len(since) for since in world.waiting.values()) <= policy.depth_max
            assert all(room.left >= 0 for room in world.admission.rooms(3))
    world.workers = 20.0
    world.run(max(90.0, 2 * sum(map(len, world.waiting.values())) / 20), {0: 5})
    assert world.run(5, {0: 5}).refused == {0: 0}
