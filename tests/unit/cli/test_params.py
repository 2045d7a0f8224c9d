"""Job ids and instants as people write them."""

import uuid

import click
import pytest

from headrace.cli.params import Which, ago, job_id
from headrace.core.model import JobFilter
from headrace.core.states import JobState

ID = uuid.UUID("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")


@pytest.mark.parametrize("text", [str(ID), ID.hex, str(ID).upper()])
def test_a_job_id_is_a_uuid(text: str) -> None:
    assert job_id(text) == ID.bytes


@pytest.mark.parametrize("text", ["", "7", "not-a-job", str(ID)[:-1]])
def test_other_text_is_no_job_id(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no job id"):
        job_id(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h30m", 9000), ("1.5d", 129_600), ("1w", 604_800)]
)
def test_a_duration_is_counted_back_from_now(text: str, seconds: float) -> None:
    assert ago(text).at(1_000_000.0) == 1_000_000.0 - seconds


def test_an_instant_stands_for_itself() -> None:
    assert ago("2023-11-14T22:13:20Z").at(5.0) == 1_700_000_000.0
    assert ago("2023-11-14T23:13:20+01:00").at(5.0) == 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "why"),
    [("soon", "neither"), ("10", "neither"), ("2023-11-14T22:13:20", "no time zone"), ("-5m", "neither")],
)
def test_what_is_neither_is_refused(text: str, why: str) -> None:
    with pytest.raises(click.BadParameter, match=why):
        ago(text)


def test_filters_become_the_stores() -> None:
    which = Which("a.b", "q", JobState.FAILED, None, ago("10s"), None)
    assert which.given
    assert which.filter(100.0) == JobFilter("a.b", "q", JobState.FAILED, None, 90.0, None)
    assert not Which(None, None, None, None, None, None).given
