import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.model import (
    AttemptOutcome,
    Cancelled,
    Cause,
    Failed,
    Failure,
    GivenBack,
    Outcome,
    Retried,
    Snoozed,
    Succeeded,
    Suspicion,
)
from headrace.core.outcomes import CRASH_DELAY_MAX_S, Verdict, judge, judge_crash
from headrace.core.states import JobEvent, JobState, transition

NONE, SHARED, ALONE = Suspicion
BOOM = Failure("app.Boom", "it broke")
OUTCOMES: list[Outcome] = [
    Succeeded(),
    Failed(BOOM),
    Cancelled("why"),
    Retried(BOOM),
    Retried(BOOM, 5),
    Snoozed(5),
    GivenBack(started=True),
    GivenBack(started=False),
]


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Succeeded("1"), Verdict(JobEvent.SUCCEED, AttemptOutcome.SUCCEEDED)),
        (Failed(BOOM), Verdict(JobEvent.FAIL, AttemptOutcome.FAILED, failures=1, failure=BOOM)),
        (Cancelled("why"), Verdict(JobEvent.CANCEL, AttemptOutcome.CANCELLED, reason="why")),
        (Retried(BOOM), Verdict(JobEvent.RETRY, AttemptOutcome.RETRY, failures=1, failure=BOOM)),
        (Retried(BOOM, -1), Verdict(JobEvent.RETRY, AttemptOutcome.RETRY, failures=1, failure=BOOM)),
        (Retried(BOOM, 5), Verdict(JobEvent.RETRY_LATER, AttemptOutcome.RETRY, 5, failures=1, failure=BOOM)),
        (Snoozed(5, "shut"), Verdict(JobEvent.SNOOZE, AttemptOutcome.SNOOZED, 5, snoozes=1, reason="shut")),
        (Snoozed(-5), Verdict(JobEvent.SNOOZE, AttemptOutcome.SNOOZED, 0, snoozes=1)),
        (GivenBack(started=True), Verdict(JobEvent.GIVE_BACK, AttemptOutcome.GIVEN_BACK, suspect=None)),
        (
            GivenBack(started=False),
            Verdict(JobEvent.GIVE_BACK, AttemptOutcome.GIVEN_BACK, attempt=-1, suspect=None),
        ),
    ],
    ids=repr,
)
def test_verdicts(outcome: Outcome, verdict: Verdict) -> None:
    assert judge(outcome, cancelling=False) == verdict


@pytest.mark.parametrize("outcome", OUTCOMES, ids=repr)
def test_what_was_asked_to_cancel_never_waits_again(outcome: Outcome) -> None:
    calm, asked = judge(outcome, cancelling=False), judge(outcome, cancelling=True)
    assert transition(JobState.RUNNING, asked.event).terminal
    if transition(JobState.RUNNING, calm.event).terminal:
        assert asked == calm
    else:
        assert asked.event is JobEvent.CANCEL
        assert (asked.outcome, asked.failures, asked.failure) == (calm.outcome, calm.failures, calm.failure)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=repr)
def test_only_errors_are_failures(outcome: Outcome) -> None:
    assert judge(outcome, cancelling=False).failures == isinstance(outcome, Failed | Retried)


def crash(*, suspect: Suspicion, crashes: int = 0, cancelling: bool = False, limit: int = 3) -> Verdict:
    return judge_crash(suspect=suspect, crashes=crashes, cancelling=cancelling, crashes_max=limit, backoff_s=1.0)


@pytest.mark.parametrize(("before", "after"), [(NONE, SHARED), (SHARED, ALONE)])
def test_a_crash_beside_others_makes_a_suspect_and_counts_nothing(before: Suspicion, after: Suspicion) -> None:
    assert crash(suspect=before, limit=1) == Verdict(JobEvent.CRASH, AttemptOutcome.CRASHED, suspect=after)


def test_crashes_alone_back_off_then_quarantine() -> None:
    first, second, third = (crash(suspect=ALONE, crashes=n) for n in range(3))
    assert (first.event, first.delay_s, first.crashes) == (JobEvent.CRASH_ALONE, 1.0, 1)
    assert (second.event, second.delay_s, second.crashes) == (JobEvent.CRASH_ALONE, 2.0, 1)
    assert (third.event, third.delay_s, third.crashes) == (JobEvent.QUARANTINE, 0.0, 1)
    assert third.failure is not None
    assert third.failure.cause is Cause.CRASHED
    assert "3 times" in third.failure.message
    assert {verdict.suspect for verdict in (first, second, third)} == {ALONE}


@given(st.sampled_from(Suspicion), st.integers(0, 100), st.integers(1, 100))
def test_a_crash_of_what_was_asked_to_cancel_ends_it(suspect: Suspicion, crashes: int, limit: int) -> None:
    verdict = crash(suspect=suspect, crashes=crashes, cancelling=True, limit=limit)
    assert (verdict.event, verdict.failure) == (JobEvent.CANCEL, None)


@given(st.integers(0, 10_000), st.floats(0, 1e6))
def test_the_back_off_is_bounded(crashes: int, backoff_s: float) -> None:
    verdict = judge_crash(suspect=ALONE, crashes=crashes, cancelling=False, crashes_max=10**6, backoff_s=backoff_s)
    assert 0 <= verdict.delay_s <= CRASH_DELAY_MAX_S


def test_what_is_no_outcome_is_refused() -> None:
    with pytest.raises(AssertionError):
        judge("succeeded", cancelling=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdict", "counted"),
    [
        (judge(Succeeded(), cancelling=False), (0, 0, 0, 0, NONE)),
        (judge(Failed(BOOM), cancelling=False), (1, 0, 0, 0, NONE)),
        (judge(Cancelled(), cancelling=False), (0, 0, 0, 0, NONE)),
        (judge(Retried(BOOM), cancelling=False), (1, 0, 0, 0, NONE)),
        (judge(Snoozed(5), cancelling=False), (0, 0, 1, 0, NONE)),
        (judge(GivenBack(started=True), cancelling=False), (0, 0, 0, 0, None)),
        (judge(GivenBack(started=False), cancelling=False), (0, 0, 0, -1, None)),
        (crash(suspect=NONE), (0, 0, 0, 0, SHARED)),
        (crash(suspect=SHARED, crashes=2), (0, 0, 0, 0, ALONE)),
        (crash(suspect=ALONE), (0, 1, 0, 0, ALONE)),
        (crash(suspect=ALONE, crashes=2), (0, 1, 0, 0, ALONE)),
    ],
    ids=lambda case: case.outcome.value if isinstance(case, Verdict) else None,
)
def test_what_each_end_of_an_attempt_counts(
    verdict: Verdict, counted: tuple[int, int, int, int, Suspicion | None]
) -> None:
    told = (verdict.failures, verdict.crashes, verdict.snoozes, verdict.attempt, verdict.suspect)
    assert told == counted


def test_a_retry_after_any_time_at_all_is_scheduled() -> None:
    verdict = judge(Retried(BOOM, 0.001), cancelling=False)
    assert (verdict.event, verdict.delay_s) == (JobEvent.RETRY_LATER, 0.001)


def test_suspects_wait_a_minute_at_most() -> None:
    assert [crash(suspect=ALONE, crashes=n, limit=10**6).delay_s for n in (5, 6, 10**5)] == [32.0, 60.0, 60.0]
