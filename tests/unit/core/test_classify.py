from typing import Any

import pytest

from headrace.core.classify import FAILURE_STATUSES, Classify
from headrace.core.errors import BreakerOpen, InvalidConfig, LeaseLost


class Down(Exception):
    pass


class Worse(Down):
    pass


def test_by_default_every_exception_but_our_own() -> None:
    classify = Classify()
    assert classify.is_failure(Down())
    assert classify.is_failure(ValueError())
    assert not classify.is_failure(LeaseLost())
    assert not classify.is_failure(BreakerOpen())
    assert not classify.is_failure(KeyboardInterrupt())
    assert not classify.is_listed(Down())


def test_what_is_listed_counts_and_what_is_ignored_never() -> None:
    classify = Classify(failure_exceptions=(Down,), ignore_exceptions=(Worse,))
    assert classify.is_failure(Down())
    assert classify.is_listed(Down())
    assert not classify.is_failure(Worse())
    assert not classify.is_listed(Worse())
    assert not classify.is_failure(ValueError())
    assert classify.is_ignored(Worse())


def test_the_statuses() -> None:
    assert {429, 500, 502, 503, 504, 599} <= FAILURE_STATUSES
    assert not {200, 400, 404, 501} & FAILURE_STATUSES
    assert Classify(failure_statuses={404}).failure_statuses == frozenset({404})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_exceptions": ValueError},
        {"failure_exceptions": [ValueError]},
        {"failure_exceptions": (BaseException,)},
        {"ignore_exceptions": None},
        {"ignore_exceptions": ("ValueError",)},
        {"failure_statuses": frozenset({99})},
        {"failure_statuses": frozenset({600})},
        {"failure_statuses": frozenset({"503"})},
        {"failure_statuses": 503},
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig, match="Classify"):
        Classify(**wrong)
