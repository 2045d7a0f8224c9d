"""Options are checked when they are given, and every refusal names the option."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace import Headrace, UsageError
from headrace.app.options import PLAIN, changed, from_json

SOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


def test_durations_are_seconds_or_timedeltas_and_instants_are_aware() -> None:
    options = changed(PLAIN, delay=timedelta(minutes=1), timeout=1.5, deadline=60, tags=["a", "b", "a"], key="k")
    assert (options.delay_s, options.timeout_s, options.deadline_s) == (60.0, 1.5, 60.0)
    assert (options.tags, options.key) == (("a", "b"), "k")
    assert changed(PLAIN, run_at=SOON, deadline=SOON).run_at == SOON.timestamp()
    assert changed(PLAIN, run_at=SOON, deadline=SOON).deadline_at == SOON.timestamp()


def test_the_latest_word_counts_and_the_earlier_view_stays_as_it_was() -> None:
    first = changed(PLAIN, delay=5, deadline=5, priority=1)
    second = changed(first, run_at=SOON, deadline=SOON)
    assert (first.delay_s, first.run_at, first.deadline_s) == (5.0, None, 5.0)
    assert (second.delay_s, second.deadline_s, second.priority) == (0.0, None, 1)
    assert changed(second, delay=3).run_at is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"delay": -1}, "delay is between 0 and"),
        ({"delay": timedelta(days=367)}, "delay is between"),
        ({"delay": float("nan")}, "delay is between"),
        ({"delay": "60"}, "delay is a number of seconds or a timedelta, not '60'"),
        ({"delay": True}, "delay is a number"),
        ({"delay": 1, "run_at": SOON}, "delay and run_at both say"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at needs a time zone"),  # noqa: DTZ001 - what is refused
        ({"run_at": 12.5}, "run_at is a datetime"),
        ({"deadline": datetime(2030, 1, 1)}, "deadline needs a time zone"),  # noqa: DTZ001 - what is refused
        ({"timeout": 0}, "timeout is between"),
        ({"timeout": timedelta(days=8)}, "timeout is between"),
        ({"priority": 1001}, "priority is between -1000 and 1000"),
        ({"priority": 1.5}, "priority is a whole number"),
        ({"priority": True}, "priority is a whole number"),
        ({"key": ""}, "key has 1 to 256"),
        ({"key": "k" * 257}, "key has 1 to 256"),
        ({"key": "a\nb"}, "printable"),
        ({"key": 7}, "key is a text"),
        ({"queue": "q" * 65}, "queue has 1 to 64"),
        ({"tags": "urgent"}, "tags is several texts"),
        ({"tags": 7}, "tags is several texts"),
        ({"tags": [["a"]]}, "a tag is a text"),
        ({"tags": [str(n) for n in range(21)]}, "at most 20 tags"),
        ({"tags": ["t" * 65]}, "a tag has 1 to 64"),
    ],
)
def test_what_cannot_work_is_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        changed(PLAIN, **given)


def test_options_of_json() -> None:
    options = from_json({"run_at": "2030-01-31T12:00:00Z", "tags": ["a"], "deadline": 5, "queue": "mail"})
    assert (options.run_at, options.tags, options.deadline_s, options.queue) == (SOON.timestamp(), ("a",), 5.0, "mail")
    assert from_json({"deadline": "2030-01-31T13:00:00+01:00"}).deadline_at == SOON.timestamp()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"colour": 1}, "there is no option colour; there are deadline, delay, key, priority"),
        ({"using": 1}, "there is no option using"),
        ({"delay_s": 1}, "there is no option delay_s"),
        ({"run_at": "tomorrow"}, "run_at is an instant as in 2030-01-31T12:00:00Z"),
        ({"run_at": "2030-01-31T12:00:00"}, "run_at needs a time zone"),
        ({"tags": "a"}, "tags is a list"),
        ({"tags": {"a": 1}, "delay": []}, "delay is a number"),
    ],
)
def test_bad_options_of_json_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        from_json(given)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"timeout": 0}, "timeout"),
        ({"queue": ""}, "queue"),
        ({"priority": 5000}, "priority"),
        ({"memory_limit": 10}, "for cpu=True tasks"),
        ({"cpu": True, "memory_limit": 0}, "above 0"),
    ],
)
def test_a_tasks_policies_are_checked_too(policy: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Headrace("memory://").task(**policy)


def test_the_parentheses_are_not_forgotten() -> None:
    def work() -> None: ...

    with pytest.raises(UsageError, match=r"@hr.task\(\) with parentheses"):
        Headrace("memory://").task(work)  # type: ignore[arg-type]
