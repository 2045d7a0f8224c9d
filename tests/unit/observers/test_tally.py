"""What one process counts: under which labels, how it is handed on, and that its labels are bounded."""

import json
import logging
from collections.abc import Callable

import pytest

from headrace.core.model import (
    Cancelled,
    ClaimedJob,
    Enqueued,
    Exchanged,
    Failed,
    Failure,
    GivenBack,
    NewJob,
    Outcome,
    Retried,
    SettleResult,
    Snoozed,
    Succeeded,
)
from headrace.core.states import JobState
from headrace.observers.tally import (
    ATTEMPT,
    ATTEMPTS,
    CRASHES,
    ENQUEUED,
    EXCHANGE,
    EXCHANGE_FAILURES,
    FAMILIES,
    LABELS_MAX,
    OTHER,
    SETTLES,
    WAIT,
    Tally,
)
from headrace.ports.observer import SILENT

NO = Failure("E", "no")


def claimed(task: str = "charge", queue: str = "billing", waited_s: float | None = 0.003) -> ClaimedJob:
    return ClaimedJob(b"0" * 16, 1, task, queue, "{}", 1, 0, 0, 0, 1, 60.0, None, (), "", 1, waited_s=waited_s)


def new(task: str = "charge") -> NewJob:
    return NewJob(b"0" * 16, task, "billing", "{}")


def landed(*, created: bool = True) -> Enqueued:
    return Enqueued(b"0" * 16, JobState.READY, 1, created)


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def tally(hand: Hand) -> Tally:
    return Tally(hand)


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Succeeded(), "succeeded"),
        (None, "succeeded"),
        (Retried(NO), "retry"),
        (Failed(NO), "failed"),
        (Snoozed(1.0), "snoozed"),
        (Cancelled(), "cancelled"),
        (GivenBack(started=True), "given_back"),
    ],
)
def test_attempts_by_task_and_outcome(tally: Tally, outcome: Outcome | None, word: str) -> None:
    tally.attempt_ended(claimed(), outcome, tally.mark(), lost=False)
    assert tally.totals(ATTEMPTS) == {("charge", word): 1}


def test_an_attempt_whose_lease_is_lost_is_told_apart(tally: Tally) -> None:
    tally.attempt_ended(claimed(), Succeeded(), tally.mark(), lost=True)
    assert tally.totals(ATTEMPTS) == {("charge", "lost"): 1}


def test_how_long_they_ran(tally: Tally, hand: Hand) -> None:
    for ran_s in (0.005, 0.02, 700.0):
        mark = tally.mark()
        hand.at += ran_s
        tally.attempt_ended(claimed(), Succeeded(), mark, lost=False)
    ((counts, total),) = tally.spreads(ATTEMPT).values()
    assert total == pytest.approx(700.025)
    assert counts[ATTEMPT.bounds.index(0.005)] == 1  # a bound belongs to its bucket
    assert counts[ATTEMPT.bounds.index(0.025)] == 1
    assert counts[-1] == 1
    assert sum(counts) == 3


def test_an_exchange_its_settles_and_the_waits_of_its_claims(tally: Tally, hand: Hand) -> None:
    mark = tally.mark()
    hand.at += 0.002
    settled = (SettleResult.SETTLED, SettleResult.LOST, SettleResult.SETTLED)
    tally.exchanged(Exchanged(settled, (claimed(), claimed(queue="mail"), claimed(waited_s=None))), mark)
    tally.exchanged(None, mark)
    assert tally.totals(SETTLES) == {("settled",): 2, ("lost",): 1}
    assert tally.totals(EXCHANGE_FAILURES) == {(): 1}
    assert sum(tally.spreads(EXCHANGE)[()][0]) == 1
    assert {key: sum(counts) for key, (counts, _) in tally.spreads(WAIT).items()} == {("billing",): 1, ("mail",): 1}


def test_only_new_jobs_are_enqueued_and_crashes_are_by_role(tally: Tally) -> None:
    tally.enqueued([new(), new("mail"), new()], [landed(), landed(), landed(created=False)])
    tally.worker_crashed("worker")
    assert tally.totals(ENQUEUED) == {("charge",): 1, ("mail",): 1}
    assert tally.totals(CRASHES) == {("worker",): 1}


def test_names_are_bounded_and_nothing_is_left_uncounted(tally: Tally) -> None:
    for n in range(LABELS_MAX + 50):
        for _ in range(2):
            job = claimed(f"task-{n}", f"queue-{n}")
            tally.attempt_ended(job, Succeeded(), tally.mark(), lost=False)
            tally.exchanged(Exchanged((), (job,)), tally.mark())
            tally.enqueued([new(job.task)], [landed()])
    for lines in (tally.totals(ATTEMPTS), tally.totals(ENQUEUED), tally.spreads(ATTEMPT), tally.spreads(WAIT)):
        assert len(lines) == LABELS_MAX + 1
    assert tally.totals(ATTEMPTS)[OTHER, "succeeded"] == tally.totals(ENQUEUED)[OTHER,] == 100
    assert sum(tally.totals(ATTEMPTS).values()) == 2 * (LABELS_MAX + 50)


def test_a_task_that_is_called_like_the_rest_is_counted_with_it(tally: Tally) -> None:
    for name in (OTHER, *map(str, range(LABELS_MAX))):
        tally.attempt_ended(claimed(name), Succeeded(), tally.mark(), lost=False)
    assert tally.totals(ATTEMPTS)[OTHER, "succeeded"] == 2
    assert sum(tally.totals(ATTEMPTS).values()) == LABELS_MAX + 1


# -- handed on ---------------------------------------------------------------------------------------


def everything(tally: Tally) -> list[object]:
    return [tally.spreads(family) if family.bounds else tally.totals(family) for family in FAMILIES]


def some(tally: Tally, hand: Callable[[], float]) -> None:
    for task in ("charge", "mail"):
        tally.attempt_ended(claimed(task), Failed(NO), hand() - 0.25, lost=False)
    tally.exchanged(Exchanged((SettleResult.REPEATED,), (claimed(),)), hand() - 0.5)
    tally.exchanged(None, hand())
    tally.enqueued([new()], [landed()])


def test_what_a_child_takes_is_what_its_supervisor_has(hand: Hand) -> None:
    child, supervisor, alone = Tally(hand), Tally(hand), Tally(hand)
    for _ in range(3):
        some(child, hand)
        some(alone, hand)
        supervisor.counted(json.loads(json.dumps(child.take())))
        assert child.take() is None
    assert everything(supervisor) == everything(alone)


def test_many_children_stay_within_the_bound(hand: Hand) -> None:
    supervisor = Tally(hand)
    for child in range(3):
        told = Tally(hand)
        for n in range(LABELS_MAX):
            told.attempt_ended(claimed(f"task-{child}-{n}"), Succeeded(), hand(), lost=False)
        taken = told.take()
        assert taken is not None
        supervisor.counted(taken)
    assert len(supervisor.totals(ATTEMPTS)) == len(supervisor.spreads(ATTEMPT)) == LABELS_MAX + 1
    assert sum(supervisor.totals(ATTEMPTS).values()) == 3 * LABELS_MAX


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"totals": {"headrace_attempts": [["charge", 1]]}, "spreads": {}},
        {"totals": {"headrace_attempts": [["charge", "succeeded", "many"]]}, "spreads": {}},
        {"totals": {}, "spreads": {"headrace_attempt_seconds": [["charge", [1, 2], 0.5]]}},
        {"totals": {"headrace_attempts": [[["charge"], "succeeded", 1]]}, "spreads": {}},
        {"totals": [], "spreads": []},
    ],
)
def test_what_another_version_says_is_left_out_and_told_once(
    tally: Tally, told: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        tally.counted(told)
    assert caplog.text.count("its version is another") == 1
    assert tally.take() is None


def test_a_family_of_another_version_is_no_fault(tally: Tally, caplog: pytest.LogCaptureFixture) -> None:
    tally.counted({"totals": {"headrace_news": [["x", 1]], "headrace_enqueued": [["charge", 2]]}, "spreads": {}})
    assert tally.totals(ENQUEUED) == {("charge",): 2}
    assert caplog.text == ""


def test_the_silent_one_counts_nothing() -> None:
    assert SILENT.mark() == 0.0
    SILENT.attempt_ended(claimed(), None, 0.0, lost=False)
    SILENT.exchanged(None, 0.0)
    SILENT.enqueued([], [])
    SILENT.worker_crashed("worker")
    SILENT.counted({})
