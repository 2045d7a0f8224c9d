"""What the doctor says of upstreams."""

import pytest

from headrace.cli.checks import Check, Grade
from headrace.cli.checks_fleet import check_upstreams
from headrace.core.breaker import CallCounts
from headrace.core.fleet import BreakerState
from headrace.core.fleet_record import UpstreamRecord
from headrace.core.model import WorkerRecord

NOW = 1_000.0


def upstream(
    state: BreakerState,
    *,
    reason: str = "",
    since_at: float = NOW - 5,
    retry_at: float | None = None,
    definitions: int = 1,
    tasks: tuple[str, ...] = ("pay",),
) -> UpstreamRecord:
    return UpstreamRecord(
        "bank", state, 3, reason, since_at, retry_at, None, CallCounts(), CallCounts(2), 0, 0, 1, tasks, definitions
    )


def worker(*tasks: str, alive: bool = True) -> WorkerRecord:
    return WorkerRecord("w", "h", 1, "worker", "1", None, dict.fromkeys(tasks, ""), 10, 0.0, alive=alive)


def said(one: UpstreamRecord, *workers: WorkerRecord) -> list[Check]:
    return list(check_upstreams([one], list(workers), NOW))


def test_none_and_closed_ones_are_fine() -> None:
    assert list(check_upstreams([], [], NOW)) == [Check("upstreams", Grade.OK, "none")]
    assert said(upstream(BreakerState.CLOSED)) == [Check("upstreams", Grade.OK, "1, all closed")]


@pytest.mark.parametrize(
    ("one", "saw", "mend"),
    [
        (
            upstream(BreakerState.OPEN, reason="9 of 10 failed", retry_at=NOW + 30),
            "bank is open, for 5.0s (9 of 10 failed); tried in 30s; it holds pay",
            "`headrace upstreams close bank`, if it is known to work again",
        ),
        (
            upstream(BreakerState.OPEN, retry_at=NOW - 30, tasks=()),
            "bank is open, for 5.0s; tried by the next call, or job that needs it",
            "`headrace upstreams close bank`, if it is known to work again",
        ),
        (
            upstream(BreakerState.FORCED_OPEN, reason="by hand"),
            "bank is open by hand, for 5.0s; it holds pay",
            "`headrace upstreams close bank`",
        ),
        (
            upstream(BreakerState.FORCED_OPEN, reason="it answered 410 Gone"),
            "bank is open until somebody closes it, for 5.0s (it answered 410 Gone); it holds pay",
            "`headrace upstreams close bank`",
        ),
        (
            upstream(BreakerState.DISABLED),
            "bank is disabled by hand, for 5.0s: its failures stop nothing",
            "`headrace upstreams close bank`",
        ),
    ],
    ids=["open", "due", "by hand", "gone", "disabled"],
)
def test_what_is_not_closed_comes_with_the_command_that_closes(one: UpstreamRecord, saw: str, mend: str) -> None:
    assert said(one, worker("pay")) == [Check("upstreams", Grade.WARN, saw, mend)]


def test_half_open_is_fine_for_a_minute_and_then_wants_somebody_to_probe() -> None:
    (young,) = said(upstream(BreakerState.HALF_OPEN))
    assert young.grade is Grade.OK
    old = upstream(BreakerState.HALF_OPEN, since_at=NOW - 90)
    (check,) = said(old, worker("other"), worker("pay", alive=False))
    assert check.grade is Grade.WARN
    assert check.mend == "no living worker knows these tasks: `headrace worker APP`"
    (check,) = said(old, worker("pay"))
    assert "2 probes have ended" in check.saw
    assert "`headrace upstreams close bank`" in check.mend


def test_two_definitions_are_fine_during_a_deploy() -> None:
    check, _ = said(upstream(BreakerState.CLOSED, definitions=2))
    assert (check.grade, check.saw) == (
        Grade.WARN,
        "bank has 2 definitions among the processes that were heard of lately",
    )
    assert "fine for a minute during a deploy" in check.mend
