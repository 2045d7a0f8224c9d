"""Jobs and outcomes as JSON."""

import json

import pytest

from headrace.core.model import (
    Cancelled,
    Cause,
    ClaimedJob,
    Failed,
    Failure,
    GivenBack,
    Outcome,
    Retried,
    Snoozed,
    Succeeded,
    Suspicion,
)
from headrace.runtime.cpu_wire import job_from_wire, job_to_wire, outcome_from_wire, outcome_to_wire

FAILURE = Failure("ValueError", "bad", Cause.DEADLINE, "Traceback…", "f00")


def test_a_job_survives_the_way() -> None:
    job = ClaimedJob(
        id=bytes(range(16)), fence=3, task="t", queue="q", args='{"a":1}', attempt=2, failures=1, crashes=0, snoozes=4,
        max_attempts=5, timeout_s=60.0, deadline_in_s=12.5, tags=("x", "y"), signature="abcd", offset=7,
        suspect=Suspicion.SHARED,
        traceparent="00-aa", emitted=frozenset({"k"}),
    )  # fmt: skip
    assert job_from_wire(json.loads(json.dumps(job_to_wire(job)))) == job


@pytest.mark.parametrize(
    "outcome",
    [
        Succeeded('{"a":1}'),
        Retried(FAILURE, 2.5),
        Failed(FAILURE),
        Snoozed(60.0, "later"),
        Snoozed(60.0, "later", FAILURE),
        Cancelled("why"),
        GivenBack(started=True),
    ],
)
def test_an_outcome_survives_the_way(outcome: Outcome) -> None:
    back = outcome_from_wire(json.loads(json.dumps(outcome_to_wire(outcome))))
    assert back == outcome
    assert type(back) is type(outcome)
    if isinstance(back, Failed | Retried | Snoozed) and back.failure is not None:
        assert isinstance(back.failure.cause, Cause)
