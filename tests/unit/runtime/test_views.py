from dataclasses import replace
from typing import Any

import pytest

from headrace.app.addresses import rabbitmq
from headrace.core.breaker import CallCounts
from headrace.core.feed import Position
from headrace.core.fleet import BreakerState
from headrace.core.fleet_record import UpstreamRecord
from headrace.core.model import (
    AttemptOutcome,
    AttemptRecord,
    Cause,
    Failure,
    JobRecord,
    QueueRecord,
    Suspicion,
    Update,
    UpdateKind,
    WorkerRecord,
)
from headrace.core.states import JobState
from headrace.runtime.reader import Snapshot
from headrace.runtime.views import (
    AHEAD_MAX,
    Surroundings,
    attempt_view,
    explain,
    item_view,
    job_view,
    queue_view,
    snapshot_view,
    target_text,
    upstream_view,
    worker_view,
)

ID = bytes.fromhex("01932c079f3a7b318d526a1f0c9e4b77")
TEXT = "01932c07-9f3a-7b31-8d52-6a1f0c9e4b77"
NOW = 1_800_000_000.0
READY = JobRecord(
    id=ID,
    task="shop.charge",
    queue="billing",
    state=JobState.READY,
    args='{"invoice":7}',
    priority=3,
    key="k",
    tags=("a",),
    attempt=0,
    failures=0,
    crashes=0,
    snoozes=0,
    max_attempts=5,
    fence=0,
    offset=1,
    timeout_s=600.0,
    created_at=NOW,
    run_at=None,
    started_at=None,
    finished_at=None,
    deadline_at=None,
    worker=None,
    suspect=Suspicion.NONE,
    cancelling=False,
    result=None,
    failure=None,
)
FAILURE = Failure("builtins.ValueError", "no", Cause.ERROR, "Traceback: /srv/secret.py", "f1")
WORKER = WorkerRecord("w_1", "host", 7, "worker", "0.1.0", None, {"shop.charge": "s"}, 2, NOW)


def view(record: JobRecord, **more: Any) -> dict[str, Any]:
    return job_view(record, "k3x9", "/headrace", **more)


def test_a_job() -> None:
    seen = view(READY)
    assert seen["id"] == TEXT
    assert seen["args"] == {"invoice": 7}
    assert seen["position"] == "k3x9:1"
    assert seen["created_at"] == "2027-01-15T08:00:00.000Z"
    assert seen["started_at"] is None
    assert seen["links"]["self"] == f"/headrace/api/jobs/{TEXT}"
    assert "why" not in seen


def test_a_traceback_is_for_those_who_may_see_inside() -> None:
    failed = replace(READY, state=JobState.FAILED, failure=FAILURE)
    assert "secret.py" not in str(view(failed))
    assert view(failed, traceback=True)["error"]["traceback"] == FAILURE.traceback
    attempt = AttemptRecord(1, 1, "w_1", NOW, NOW + 1, AttemptOutcome.FAILED, FAILURE)
    assert "secret.py" not in str(attempt_view(attempt))
    assert attempt_view(attempt, traceback=True)["outcome"] == "failed"
    snapshot = Snapshot(Position("k3x9", 3), failed, (), 0, (attempt,))
    assert "secret.py" not in snapshot_view(snapshot, "")
    assert "secret.py" in snapshot_view(snapshot, "", traceback=True)


def test_a_result_and_one_that_expired() -> None:
    done = replace(READY, state=JobState.SUCCEEDED, result='{"n":1}')
    assert view(done)["result"] == {"n": 1}
    expired = view(replace(done, result_expired=True))
    assert (expired["result"], expired["result_expired"]) == (None, True)


def test_an_item_a_queue_a_worker() -> None:
    item = item_view(Update(4, UpdateKind.ITEM, 2, '{"key":"a","data":[1]}', NOW), "k3x9")
    told = {"position": "k3x9:4", "attempt": 2, "at": "2027-01-15T08:00:00.000Z", "key": "a", "data": [1]}
    assert item == told
    queue = queue_view(QueueRecord("q", paused=True, counts={JobState.READY: 2}, oldest_ready_s=1.23456))
    assert queue["oldest_ready_s"] == 1.235
    assert queue["counts"] == {state.value: 2 if state is JobState.READY else 0 for state in JobState}
    assert worker_view(WORKER)["tasks"] == ["shop.charge"]


def test_a_limit_that_is_used_up_is_a_hold() -> None:
    held, why = kinds(READY, workers=(WORKER,), limit="2 attempts of 'charge' run, which is its limit")
    assert held == ["limit"]
    assert why == "it is held: 2 attempts of 'charge' run, which is its limit"


def kinds(record: JobRecord, **around: Any) -> tuple[list[str], str]:
    holds, why = explain(record, Surroundings(NOW, **around))
    assert all(hold["reason"] in why for hold in holds) or record.state is JobState.SCHEDULED
    return [hold["kind"] for hold in holds], why


@pytest.mark.parametrize(
    ("workers", "hold"),
    [
        ((), "no-worker"),
        ((replace(WORKER, alive=False),), "no-worker"),
        ((replace(WORKER, draining=True),), "no-worker"),
        ((replace(WORKER, role="standby"),), "no-worker"),
        ((replace(WORKER, tasks={"other": "s"}),), "unknown-task"),
        ((replace(WORKER, queues=("mail",)),), "queue-untaken"),
    ],
)
def test_what_holds_a_ready_job(workers: tuple[WorkerRecord, ...], hold: str) -> None:
    assert kinds(READY, workers=workers)[0] == [hold]


def test_a_paused_queue_holds_its_own_jobs_alone() -> None:
    queues = (QueueRecord("billing", paused=True), QueueRecord("mail", paused=False))
    assert kinds(READY, queues=queues, workers=(WORKER,)) == (
        ["queue-paused"],
        "it is held: the queue 'billing' is paused",
    )
    assert kinds(replace(READY, queue="mail"), queues=queues, workers=(WORKER,))[0] == []


BANK = UpstreamRecord(
    "bank", BreakerState.OPEN, 2, "9 of 10 calls failed", NOW - 60, NOW + 30, None, CallCounts(), CallCounts(3, 1), 2,
    0, 1, ("shop.charge",), 1,
)  # fmt: skip
SINCE = "2027-01-15T07:59:00.000Z"


@pytest.mark.parametrize(
    ("state", "retry_at", "next_try", "said"),
    [
        (BreakerState.OPEN, NOW + 30, "2027-01-15T08:00:30.000Z", "open since"),
        (BreakerState.OPEN, NOW - 30, "2027-01-15T07:59:30.000Z", "it is tried next as soon as a worker is free"),
        (BreakerState.HALF_OPEN, None, None, "half open since"),
        (BreakerState.FORCED_OPEN, None, None, "it was opened by hand, and stays so until somebody closes it"),
    ],
)
def test_an_upstream_holds_the_tasks_that_need_it(
    state: BreakerState, retry_at: float | None, next_try: str | None, said: str
) -> None:
    by_hand = state is BreakerState.FORCED_OPEN
    bank = replace(BANK, state=state, retry_at=retry_at, reason="by hand" if by_hand else BANK.reason)
    (hold,), why = explain(READY, Surroundings(NOW, workers=(WORKER,), upstreams=(bank,)))
    fields = {name: value for name, value in hold.items() if name != "reason"}
    asked = {} if next_try is None else {"next_try": next_try}
    assert fields == {"kind": "upstream", "upstream": "bank", "state": state.value, "since": SINCE, **asked}
    assert said in hold["reason"]
    assert ("9 of 10 calls failed" in hold["reason"]) == (not by_hand)
    assert why == f"it is held: {hold['reason']}"


def test_one_that_a_rule_of_ours_has_opened_says_why() -> None:
    gone = replace(BANK, state=BreakerState.FORCED_OPEN, retry_at=None, reason="it answered 410 Gone")
    (hold,), _ = explain(READY, Surroundings(NOW, workers=(WORKER,), upstreams=(gone,)))
    words = f"the upstream 'bank' is open since {SINCE} (it answered 410 Gone); it stays so until somebody closes it"
    assert hold["reason"] == words


def test_an_upstream_holds_no_others_and_none_while_calls_go_through() -> None:
    assert kinds(replace(READY, task="mail"), workers=(WORKER,), upstreams=(BANK,))[0] == ["unknown-task"]
    for state in (BreakerState.CLOSED, BreakerState.DISABLED):
        assert kinds(READY, workers=(WORKER,), upstreams=(replace(BANK, state=state),))[0] == []


def test_an_upstream_as_shown() -> None:
    shown = upstream_view(BANK, NOW)
    assert (shown["since"], shown["retry_in_s"], shown["ramp_s"]) == (SINCE, 30.0, None)
    assert (shown["calls"], shown["failures"]) == (0, 0)
    probed = upstream_view(replace(BANK, state=BreakerState.HALF_OPEN, retry_at=None), NOW)
    assert (probed["calls"], probed["failures"], probed["permits"], probed["retry_in_s"]) == (3, 1, 2, None)


@pytest.mark.parametrize(
    ("ahead", "running", "why"),
    [
        (None, 0, "it is ready: it is first in line; 1 worker knows its task"),
        (0, 2, "it is ready: it is first in line; 1 worker knows its task, all of them busy"),
        (1, 0, "it is ready: 1 job is ahead of it; 1 worker knows its task"),
        (AHEAD_MAX, 0, f"it is ready: {AHEAD_MAX} or more jobs are ahead of it; 1 worker knows its task"),
    ],
)
def test_a_place_in_line(ahead: int | None, running: int, why: str) -> None:
    assert kinds(READY, ahead=ahead, workers=(replace(WORKER, running=running),)) == ([], why)


@pytest.mark.parametrize(
    ("due_in_s", "said"),
    [(-1, "due now"), (30, "in 30 seconds"), (300, "in 5 minutes"), (7_200, "in 2 hours"), (500_000, "in 6 days")],
)
def test_a_scheduled_job_says_when(due_in_s: float, said: str) -> None:
    later = replace(READY, state=JobState.SCHEDULED, run_at=NOW + due_in_s, failures=2)
    why = kinds(later, workers=(WORKER,))[1]
    assert why.endswith(f"{said}; 2 of 5 attempts have failed")


def test_the_others_say_what_they_are() -> None:
    running = replace(READY, state=JobState.RUNNING, attempt=2, worker="w_1")
    assert kinds(running)[1] == "it is running: attempt 2 on worker w_1"
    assert kinds(replace(running, cancelling=True))[1].endswith("it was asked to stop")
    failed = replace(READY, state=JobState.FAILED, failure=FAILURE)
    assert kinds(failed)[1] == "it failed (error): builtins.ValueError: no"
    assert kinds(replace(READY, state=JobState.CANCELLED))[1] == "it has ended: cancelled"


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (rabbitmq("orders").target, "orders"),
        (rabbitmq(exchange="shop", routing_key="order.paid").target, "shop order.paid"),
        ("orders", "orders"),
        ("7", "7"),
        ("[a", "[a"),
    ],
)
def test_where_an_event_goes_is_told_for_people(target: str, shown: str) -> None:
    assert target_text(target) == shown
