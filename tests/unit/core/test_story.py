import json
from dataclasses import replace

import pytest

from headrace.core.model import AttemptOutcome, Cause, Failure, Update, UpdateKind
from headrace.core.states import JobState
from headrace.core.story import Story, end_data, former_end, plain_updates, state_data, tell

BOOM = Failure("app.Boom", 'say "é"', Cause.TIMEOUT, "secret traceback", "f1")
READY = Story(
    state=JobState.READY,
    attempt=0,
    offset=1,
    created_at=10.0,
    first_due_at=None,
    first_claimed_at=None,
    first_claim_offset=None,
    finished_at=None,
    result=None,
    failure=None,
)
RUNNING = replace(READY, state=JobState.RUNNING, attempt=1, offset=2, first_claimed_at=11.0, first_claim_offset=2)
SUCCEEDED = replace(RUNNING, state=JobState.SUCCEEDED, offset=3, finished_at=12.0, result='{"a": 1}')


def words(updates: list[Update] | tuple[Update, ...]) -> list[tuple[int, str, int, str, float]]:
    return [(u.offset, u.kind.value, u.attempt, json.loads(u.data)["state"], u.at) for u in updates]


def test_a_job_that_waits() -> None:
    assert words(plain_updates(READY)) == [(1, "state", 0, "ready", 10.0)]


def test_a_job_that_waits_for_its_time() -> None:
    (update,) = plain_updates(replace(READY, state=JobState.SCHEDULED, first_due_at=12.3456))
    assert json.loads(update.data) == {"state": "scheduled", "attempt": 0, "due_in_s": 2.346}


def test_how_it_began_is_told_whatever_it_is_now() -> None:
    assert words(plain_updates(replace(SUCCEEDED, first_due_at=10.5)))[0] == (1, "state", 0, "scheduled", 10.0)


def test_a_job_that_runs_and_ends() -> None:
    assert words(plain_updates(RUNNING)) == [(1, "state", 0, "ready", 10.0), (2, "state", 1, "running", 11.0)]
    assert words(plain_updates(SUCCEEDED))[2:] == [(3, "end", 1, "succeeded", 12.0)]


def test_the_first_claim_stays_the_first_in_later_attempts() -> None:
    third = replace(SUCCEEDED, attempt=3, offset=9)
    assert words(plain_updates(third))[1:] == [(2, "state", 1, "running", 11.0), (9, "end", 3, "succeeded", 12.0)]


def test_a_revived_job_has_no_end_yet() -> None:
    assert len(plain_updates(replace(SUCCEEDED, state=JobState.READY, finished_at=None))) == 2
    assert len(plain_updates(replace(SUCCEEDED, state=JobState.READY))) == 2


@pytest.mark.parametrize(
    ("story", "data"),
    [
        (SUCCEEDED, {"state": "succeeded", "result": {"a": 1}}),
        (replace(SUCCEEDED, result=None), {"state": "succeeded", "result": None}),
        (replace(SUCCEEDED, result_expired=True), {"state": "succeeded", "result": None, "result_expired": True}),
        (replace(SUCCEEDED, state=JobState.CANCELLED, result=None), {"state": "cancelled", "result": None}),
        (
            replace(SUCCEEDED, state=JobState.FAILED, result=None, failure=BOOM),
            {
                "state": "failed",
                "result": None,
                "error": {"type": "app.Boom", "message": 'say "é"', "cause": "timeout"},
            },
        ),
    ],
)
def test_ends(story: Story, data: dict[str, object]) -> None:
    assert json.loads(end_data(story)) == data


def test_state_data_says_only_what_there_is_to_say() -> None:
    assert state_data(JobState.READY, 0) == '{"state":"ready","attempt":0}'
    told = state_data(
        JobState.SCHEDULED, 2, outcome=AttemptOutcome.RETRY, failure=BOOM, due_in_s=0.0, reason="it was shut"
    )
    assert json.loads(told) == {
        "state": "scheduled",
        "attempt": 2,
        "outcome": "retry",
        "cause": "timeout",
        "error": {"type": "app.Boom", "message": 'say "é"'},
        "due_in_s": 0.0,
        "reason": "it was shut",
    }
    assert "é" in told


def test_a_former_end_keeps_its_place() -> None:
    failed = replace(SUCCEEDED, state=JobState.FAILED, result=None, failure=BOOM)
    update = former_end(failed)
    assert (update.offset, update.kind, update.attempt, update.at) == (3, UpdateKind.STATE, 1, 12.0)
    assert json.loads(update.data)["state"] == "failed"
    assert "traceback" not in update.data


def test_what_is_kept_and_what_is_plain_interleave() -> None:
    kept = [Update(offset, UpdateKind.ITEM, 1, "1", 11.5) for offset in (5, 3, 4)]
    story = replace(SUCCEEDED, offset=6)
    assert [update.offset for update in tell(story, kept, 0, 100)] == [1, 2, 3, 4, 5, 6]
    assert [update.offset for update in tell(story, kept, 2, 3)] == [3, 4, 5]
    assert tell(story, kept, 6, 3) == ()
    assert tell(story, kept, 0, 0) == ()


def test_the_attempt_that_an_update_tells_of_is_also_in_its_data() -> None:
    scheduled = replace(SUCCEEDED, first_due_at=10.5)
    told = [*plain_updates(RUNNING), plain_updates(scheduled)[0]]
    assert [(u.attempt, json.loads(u.data)["attempt"]) for u in told] == [(0, 0), (1, 1), (0, 0)]


def test_a_claim_without_its_instant_or_its_offset_is_not_told() -> None:
    for story in (replace(RUNNING, first_claimed_at=None), replace(RUNNING, first_claim_offset=None)):
        assert words(plain_updates(story)) == [(1, "state", 0, "ready", 10.0)]


def test_an_end_without_its_instant_is_not_told_and_keeps_its_place_by_that_of_the_enqueue() -> None:
    story = replace(SUCCEEDED, finished_at=None)
    assert [update.kind for update in plain_updates(story)] == [UpdateKind.STATE, UpdateKind.STATE]
    assert former_end(story).at == 10.0
