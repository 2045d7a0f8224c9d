"""What a refusal is called on the wire, and what it must not tell."""

import json

import pytest

from headrace.core.errors import (
    Conflict,
    DuplicateTask,
    Full,
    HeadraceError,
    InvalidArguments,
    InvalidConfig,
    JobFailed,
    LeaseLost,
    NotEncodable,
    NotifierError,
    PositionLost,
    Rejected,
    Shed,
    SlowConsumer,
    StoreUnavailable,
    UnknownJob,
    UnknownTask,
    UsageError,
)
from headrace.core.problems import KINDS, TYPE_PREFIX, Problem, problem_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownJob("no"), 404),
        (UnknownTask("no"), 422),
        (InvalidArguments("no"), 422),
        (NotEncodable("no"), 422),
        (UsageError("no"), 422),
        (Conflict("no", b"id"), 409),
        (StoreUnavailable("no"), 503),
        (Rejected("no"), 503),
        (Full("no"), 429),
        (Shed("no", retry_in=7.0), 429),
    ],
    ids=lambda case: type(case).__name__,
)
def test_a_refusal_that_the_caller_can_act_on_is_told_as_it_is(error: HeadraceError, status: int) -> None:
    problem = problem_of(error)
    assert (problem.code, problem.detail, problem.status) == (error.code, "no", status)


@pytest.mark.parametrize(
    "kind",
    [DuplicateTask, InvalidConfig, LeaseLost, NotifierError, JobFailed, PositionLost, SlowConsumer, HeadraceError],
    ids=lambda kind: kind.__name__,
)
def test_an_error_that_is_nobody_elses_business_is_told_without_its_words(kind: type[HeadraceError]) -> None:
    problem = problem_of(kind("/var/lib/headrace/jobs.db"))
    assert problem == Problem("internal", "Something went wrong here")
    assert "jobs.db" not in json.dumps(problem.members())


def test_arguments_that_do_not_fit_say_which_and_why() -> None:
    problem = problem_of(InvalidArguments("they do not fit", (("args.0", "not an int"), ("size", "too large"))))
    assert problem.members() == {
        "type": "urn:headrace:problem:invalid-arguments",
        "title": "The arguments do not fit the task",
        "status": 422,
        "detail": "they do not fit",
        "errors": [{"field": "args.0", "reason": "not an int"}, {"field": "size", "reason": "too large"}],
    }


def test_members_that_say_nothing_are_left_out_and_further_ones_stand_beside_the_others() -> None:
    assert "errors" not in Problem("full", "no room").members()
    assert Problem("full", "no room", extra={"retry_after": 3}).members() == {
        **Problem("full", "no room").members(),
        "retry_after": 3,
    }


@pytest.mark.parametrize("code", KINDS)
def test_every_kind_is_a_refusal_with_a_type_and_a_title_of_its_own(code: str) -> None:
    members = Problem(code, "why").members()
    assert members["type"] == TYPE_PREFIX + code
    assert members["status"] in range(400, 600)
    assert [kind.title for kind in KINDS.values()].count(str(members["title"])) == 1
