"""Modules written for Celery: what they say does here what it did there, or is refused with what to say instead."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from headrace import Headrace, InvalidConfig, Job, JobFailed, JobState, UsageError
from headrace.core.retry import Retry
from headrace.runtime.context import RetryAfter
from headrace.testing import ManualClock, drain, memory, sync_context

BACKING_OFF = Retry(4, 2, 2, 60, jitter=False)


@pytest.fixture
async def hr() -> AsyncIterator[Headrace]:
    headrace = Headrace("memory://")
    with memory(headrace, clock=ManualClock()):
        yield headrace


async def blocking(call: Any, *args: Any, **kwargs: Any) -> Any:
    """As a `def` endpoint or a script calls it."""
    return await asyncio.to_thread(call, *args, **kwargs)


async def test_a_module_moves_by_one_line(hr: Headrace) -> None:
    app = hr.celery_compat

    @app.task
    def add(x: int, y: int = 2) -> int:
        return x + y

    assert add.name.endswith("test_celery_compat.add")
    assert add(1, 2) == 3
    result = await blocking(add.delay, 1)
    assert await blocking(lambda: (result.state, result.ready(), result.result)) == ("PENDING", False, None)
    await drain(hr)
    assert await blocking(result.get, 5) == 3
    assert await blocking(lambda: (result.status, result.successful(), result.failed())) == ("SUCCESS", True, False)
    again = await blocking(app.AsyncResult, result.id)
    assert await blocking(lambda: again.result) == 3
    job: Job[Any] = await add.enqueue(3, y=4)  # the words of Headrace are there too
    await drain(hr)
    assert await job.result() == 7


async def test_options_of_a_call(hr: Headrace) -> None:
    @hr.celery_compat.task(queue="mail", priority=3, expires=60, soft_time_limit=20, acks_late=True, name="send")
    def send(to: str) -> str:
        return to

    at = datetime.fromtimestamp(hr.clock.wall() + 3600, UTC)
    plain = await blocking(send.delay, "a")
    given = await blocking(
        send.apply_async, ("b",), {}, task_id="one", eta=at, expires=120, queue="fast", priority=9, time_limit=5
    )
    later = await blocking(send.apply_async, kwargs={"to": "c"}, countdown=30, ignore_result=True)
    twice = await blocking(send.apply_async, ("b",), task_id="one")
    assert twice.id == given.id
    jobs = [await each.job.refresh() for each in (plain, given, later)]
    records = [job.record for job in jobs]
    assert [record and (record.queue, record.priority, record.timeout_s) for record in records] == [
        ("mail", 3, 20.0),
        ("fast", 9, 5.0),
        ("mail", 3, 20.0),
    ]
    assert [job.state for job in jobs] == [JobState.READY, JobState.SCHEDULED, JobState.SCHEDULED]
    await blocking(later.revoke, terminate=True)
    assert await blocking(lambda: later.state) == "REVOKED"
    await drain(hr, until=4000)
    assert await blocking(lambda: given.state) == "FAILURE", "it had expired"


async def test_self_in_a_bound_task(hr: Headrace) -> None:
    seen: list[Any] = []

    @hr.celery_compat.task(bind=True, max_retries=2, default_retry_delay=7)
    def flaky(self: Any, n: int) -> str:
        seen.append((self.request.id, self.request.retries))
        self.update_state(state="PROGRESS", meta={"current": n, "total": 9, "status": "on its way"})
        if self.request.retries < 2:
            raise self.retry(exc=ConnectionError("no line"), countdown=None if self.request.retries else 3)
        return self.name.rpartition(".")[2]

    result = await blocking(flaky.delay, 4)
    began = hr.clock.wall()
    await drain(hr, until=20)
    assert await blocking(result.get, 5) == "flaky"
    assert seen == [(result.id, 0), (result.id, 1), (result.id, 2)]
    assert 10 <= hr.clock.wall() - began < 21
    ctx = sync_context()
    with pytest.raises(RetryAfter, match="no line"):
        flaky.task(ctx, 4)
    assert ctx.recorded.progressed == [{"done": 4, "total": 9, "message": "on its way"}]


async def test_after_max_retries_it_has_failed_with_its_exception(hr: Headrace) -> None:
    attempts: list[int] = []

    @hr.celery_compat.task(bind=True, max_retries=1, default_retry_delay=1)
    def never(self: Any) -> None:
        attempts.append(self.request.retries)
        self.retry(exc=ConnectionError("no line"))

    result = await blocking(never.delay)
    await drain(hr, until=10)
    assert attempts == [0, 1]
    assert await blocking(lambda: result.state) == "FAILURE"
    with pytest.raises(JobFailed, match="ConnectionError: no line"):
        await blocking(result.get, 5)
    with pytest.raises(ConnectionError):
        never()  # no worker, no retry
    with pytest.raises(UsageError, match="a worker runs"):
        never.retry()


async def test_only_what_is_listed_is_tried_again(hr: Headrace) -> None:
    runs: list[str] = []

    @hr.celery_compat.task(autoretry_for=(OSError,), dont_autoretry_for=(TimeoutError,), max_retries=2)
    def raises(kind: str) -> None:
        runs.append(kind)
        raise {"listed": ConnectionError, "never": TimeoutError, "other": ValueError}[kind](kind)

    for kind in ("listed", "never", "other"):
        await raises.enqueue(kind)
    await drain(hr, until=1000)
    assert sorted(runs) == ["listed"] * 3 + ["never", "other"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Retry(4, 180, 1, 180, jitter=False, give_up_on=(Exception,))),
        ({"max_retries": None}, Retry(1000, 180, 1, 180, jitter=False, give_up_on=(Exception,))),
        (
            {"autoretry_for": (Exception,), "retry_kwargs": {"max_retries": 5, "countdown": 9}},
            Retry(6, 9, 1, 9, jitter=False, rules={Exception: Retry(6, 9, 1, 9, jitter=False)}),
        ),
        (
            {"autoretry_for": (OSError,), "retry_backoff": 2, "retry_backoff_max": 60, "retry_jitter": False},
            replace(BACKING_OFF, give_up_on=(Exception,), rules={OSError: BACKING_OFF}),
        ),
    ],
)
async def test_the_policy_of_retries(hr: Headrace, options: dict[str, Any], expected: Retry) -> None:
    @hr.celery_compat.task(**options)
    def task() -> None: ...

    assert task.task.definition.retry == expected


@pytest.mark.parametrize(
    ("limit", "n", "per"), [("10/m", 10, 60.0), ("2/h", 2, 3600.0), (5, 5, 1.0), ("0.5/s", 1, 2.0), (0, None, None)]
)
async def test_rate_limits(hr: Headrace, limit: Any, n: int | None, per: float | None) -> None:
    @hr.celery_compat.task(rate_limit=limit)
    def task() -> None: ...

    found = task.task.definition.limit
    assert (found and found.rate and (found.rate.n, found.rate.per)) == (None if n is None else (n, per))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"base": object}, "write what the class did into the function"),
        ({"serializer": "pickle"}, "arguments are JSON, not pickle"),
        ({"rate_limit": "often"}, "is not like '10/s'"),
        ({"after_return": print}, "from-celery.md"),
    ],
)
async def test_what_a_task_cannot_have(hr: Headrace, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        hr.celery_compat.task(**options)(lambda: None)


async def test_what_moves_in_no_way_says_what_does(hr: Headrace) -> None:
    app = hr.celery_compat

    @app.shared_task(serializer="json", track_started=True, pydantic=True)
    def task(n: int) -> None: ...

    with pytest.raises(AttributeError, match="a task enqueues the next one where it ends"):
        task.s(1)
    with pytest.raises(AttributeError, match="settings are HEADRACE_"):
        app.conf.update(task_serializer="json")
    with pytest.raises(UsageError, match="enqueue the next task where this one ends"):
        await blocking(task.apply_async, (1,), link=task)
    with pytest.raises(UsageError, match=r"await task\.enqueue"):
        task.delay(1)
    with pytest.raises(InvalidConfig, match="async def"):
        app.task(test_rate_limits)
